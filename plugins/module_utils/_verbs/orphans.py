# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Finds processes that lost jobs have left running: nothing ends them unless somebody asks for these jobs."""

from __future__ import annotations

import os

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_lock, output, states
from ansible_collections.background.jobs.plugins.module_utils._system import files, processes

_MOST_NOTED = 16 * 1024 * 1024  # bytes


def find(lost, snapshot):
    """Return the processes that lost jobs have left, as {key: {pid: Process}}, for those that have left any.

    lost: {key: (BatchReader, index)}. Only processes that provably belong to the job count: those that have its output files
    open; its recorded process; the session of that, as long as its number can't have been reused; and all their descendants.
    """
    if not lost:
        return {}
    boot, numbers = processes.Boot(), processes.Numbers()
    lost = {key: (reader, index) for key, (reader, index) in lost.items() if boot.is_of(reader.header["supervisor"])}
    real = {
        directory: os.path.realpath(directory) for directory in {reader.async_dir for reader, dummy in lost.values()}
    }
    paths = {key: _outputs(real[reader.async_dir], reader, index) for key, (reader, index) in lost.items()}
    holders = processes.holders([path for pair in paths.values() for path in pair])
    found, noted = {}, {}
    for key, (reader, index) in lost.items():
        members = {}
        for path in paths[key]:
            members.update(holders.get(path, ()))
        job = reader.jobs[index]
        known = job.get("pid") and job.get("start")
        reusable = numbers.may_be_reused(reader.header["supervisor"])
        if known and (job["pid"] in snapshot or not reusable):
            members[job["pid"]] = job["start"]
        if not reusable:
            # of the calls that the journal has, only the last counts: earlier ones may have left processes on purpose
            for pid in set(_noted(reader, noted).get(index, ())) - set(reader.pids):
                process = processes.look(pid)
                members.setdefault(pid, process.start if process else None)  # if it is gone, its session counts
        tree = snapshot.tree(members)
        if tree:
            found[key] = tree
    return found


def of_batches(readers):
    """Return those of the given readers of whose batch a lost job has left a process."""
    lost = {
        (reader, index): (reader, index)
        for reader in readers
        for index, job in enumerate(reader.jobs)
        if job["state"] == states.LOST
    }
    return {reader for reader, dummy in find(lost, processes.Snapshot())} if lost else set()


def _noted(reader, noted):
    """Return {index: [pid]} that the template processes of a batch have noted; noted: a cache of these, by reader."""
    if reader not in noted:
        pids = noted[reader] = {}
        try:
            folder = reader.open().enter("run")
            texts = [
                files.read_own(name, _MOST_NOTED, folder=folder)
                for name in folder.names()
                if name.startswith(output.PIDS)
            ]
        except (files.UnsafePath, OSError):
            return pids
        for words in (line.split() for text in texts for line in text.splitlines()):
            if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
                pids.setdefault(int(words[0]), []).append(int(words[1]))
    return noted[reader]


def _outputs(directory, reader, index):
    folder = os.path.join(directory, batch_lock.FOLDER, reader.batch_id, "run")
    return [
        "%s.%s" % (output.run_base(folder, index, hidden), stream)
        for hidden in (False, True)
        for stream in output.STREAMS
    ]
