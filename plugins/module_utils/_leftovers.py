# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What still runs of jobs that are lost: nobody but whoever asks for them will ever end it."""

from __future__ import annotations

import os

from ansible_collections.background.jobs.plugins.module_utils import _output, _processes


def find(lost, snapshot):
    """Return the processes that lost jobs have left, as {key: {pid: Process}}, for those that have left any.

    lost: {key: (BatchReader, index)}. Only what is proven to be the job's counts: who has the files open that it prints
    into; its recorded process; the session of that, as long as no other can have got its number; and what descends from these.
    """
    lost = {
        key: (reader, index)
        for key, (reader, index) in lost.items()
        if not _processes.has_restarted(reader.header["supervisor"])
    }
    paths = {key: _outputs(reader, index) for key, (reader, index) in lost.items()}
    holders = _processes.holders([path for pair in paths.values() for path in pair])
    reusable = {}
    found = {}
    for key, (reader, index) in lost.items():
        if reader not in reusable:
            reusable[reader] = _processes.may_be_reused(reader.header["supervisor"])
        members = {}
        for path in paths[key]:
            members.update(holders.get(path, ()))
        job = reader.jobs[index]
        if job.get("pid") and job.get("start") and (job["pid"] in snapshot or not reusable[reader]):
            members[job["pid"]] = job["start"]
        tree = snapshot.tree(members)
        if tree:
            found[key] = tree
    return found


def _outputs(reader, index):
    folder = os.path.join(reader.path, "run")
    return [
        "%s.%s" % (_output.run_base(folder, index, hidden), stream)
        for hidden in (False, True)
        for stream in _output.STREAMS
    ]
