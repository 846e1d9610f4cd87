# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Finds and removes what launches, batches and jobs have left behind in an async directory:

folders of launches that were killed before their records were complete, with their results files
folders of batches none of whose jobs has a record any more
what only a running batch needs, and parts of records of jobs that were forgotten, if the supervisor is gone
files that a killed writer had begun, this collection's and, if asked for, core's
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import namedtuple

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_lock, ids, output, states
from ansible_collections.background.jobs.plugins.module_utils._system import files, job_directory, processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import catalog, core_async, orphans

# path: the one to report; paths: all that belongs to it, in the order of removal; at: when it was last changed
Leftover = namedtuple("Leftover", "path paths at")

_OF_RUNNING = ("control", "reserve", "staged")
_OF_JOBS = ("results", "tasks", output.FOLDER, "run")


@contextlib.contextmanager
def looking(selection, directory, get_reader, tell, now):
    """Yield the Leftovers in `directory` that fit a selection (_verbs/catalog.py), as if they were lost jobs without a name.

    While the context lasts, no launch can be in the middle of writing records that look like leftovers.
    get_reader(batch_id): returns its refreshed BatchReader, or None; tell(message): called on what is left alone.
    """
    fitting = fits(selection)
    try:
        if fitting:
            job_directory.check(directory)
            batch_ids = [
                batch_id
                for batch_id in catalog.batch_ids(directory)
                if selection["batch_ids"] is None or batch_id in selection["batch_ids"]
            ]
    except FileNotFoundError:
        fitting = False
    except (files.UnsafePath, OSError) as exc:
        tell("could not look for leftovers: %s" % exc)
        fitting = False
    if not fitting:
        yield []
        return
    begun = [batch_id for batch_id in batch_ids if batch_lock.is_begun(directory, batch_id)]
    with contextlib.ExitStack() as stack:
        dead = stack.enter_context(_alone(directory, begun, tell))
        readers = [get_reader(batch_id) for batch_id in sorted(set(batch_ids).difference(begun))]
        present = set(os.listdir(directory))
        found = _of_launches(directory, dead, present) + _of_batches(readers, present, tell)
        found += _half_written(directory, present, set(catalog.batch_ids(directory)), selection)
        yield [one for one in found if one.at is None or catalog.is_of_age(selection, one.at, now)]


def fits(selection):
    """Say whether leftovers, which have no name and count as lost, can fit a selection."""
    return selection["names"] is None and (selection["states"] is None or states.LOST in selection["states"])


def _of_launches(directory, dead, present):
    found = []
    for batch_id in dead:
        jids = [name for name in present if (ids.parse_jid(name) or ("",))[0] == batch_id]
        paths = [os.path.join(directory, jid) for jid in sorted(jids)] + [_folder(directory, batch_id)]
        found.append(_leftover(paths[-1], paths))
    return found


def _of_batches(readers, present, tell):
    readers = [reader for reader in readers if reader and not reader.unfinished]
    in_use = orphans.of_batches(readers)
    found = []
    for reader in readers:
        if reader in in_use:
            tell("batch %s is left alone: processes of one of its lost jobs still run" % reader.batch_id)
        else:
            found += _of_batch(reader, present)
    return found


def remove(leftover, where, tell):
    """Remove what is still there of a leftover in the Place `where`; say whether all of it is gone."""
    for path in leftover.paths:
        try:
            _remove(os.path.relpath(path, where.jobs.path), where)
        except (files.UnsafePath, OSError) as exc:
            tell("%s can't be removed: %s" % (path, exc))
            return False
    return True


def _remove(path, where):
    """Remove what is at a path below the async directory, without following links."""
    parents, name = os.path.split(path)
    folder = where.jobs
    for parent in parents.split("/") if parents else ():
        folder = where.batches if parent == batch_lock.FOLDER else folder.enter(parent)
    files.remove_tree(name, folder)


def _folder(directory, batch_id):
    return os.path.join(directory, batch_lock.FOLDER, batch_id)


@contextlib.contextmanager
def _alone(directory, begun, tell):
    """Yield those of the batches that are only begun whose records nobody writes any more.

    A launch holds the lock until its records are complete.
    """
    if not begun:
        yield []
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(batch_lock.lock(directory, alone=True, patience=0))
        except BlockingIOError:
            tell("what killed launches left behind is kept, because a launch is in progress")
            begun = []
        except (files.UnsafePath, OSError) as exc:
            tell("what killed launches left behind is kept: %s" % exc)
            begun = []
        yield [batch_id for batch_id in begun if batch_lock.is_begun(directory, batch_id)]


def _of_batch(reader, present):
    """Return what a batch whose jobs have all ended has left."""
    recorded = {index for index in range(len(reader.jobs)) if ids.jid_of(reader.batch_id, index) in present}
    if not recorded:
        return [_leftover(reader.path, [reader.path])]
    if not processes.why_gone(reader.header["supervisor"]):
        return []  # the supervisor tidies up itself
    begun = [name for name in _names(reader.path) if name.endswith(".tmp")]
    found = [os.path.join(reader.path, name) for name in (*_OF_RUNNING, *begun)]
    for folder in _OF_JOBS:
        path = os.path.join(reader.path, folder)
        names = [name for name in _names(path) if not _belongs(folder, name, recorded)]
        found += [path] if names and names == _names(path) else [os.path.join(path, name) for name in names]
    found += [
        os.path.join(reader.async_dir, name)
        for name in (ids.jid_of(reader.batch_id, index) + ".tmp" for index in range(len(reader.jobs)))
        if name in present
    ]
    return [_leftover(path, [path]) for path in found if os.path.lexists(path)]


def _names(path):
    try:
        return sorted(os.listdir(path)) if stat.S_ISDIR(os.lstat(path).st_mode) else []
    except OSError:
        return []


def _belongs(folder, name, recorded):
    """Say whether a file of a job (0.json, 0.stdout.1024) is part of a record that is there."""
    index = name.partition(".")[0]
    if folder == "run" and not output.is_kept_in_run(name):
        return False
    return index.isdigit() and int(index) in recorded and not name.endswith(".tmp")


def _half_written(directory, present, batch_ids, selection):
    """Return temporary files for results files that nobody will complete."""
    found, members = [], None
    for name in sorted(present):
        jid, dot, suffix = name.rpartition(".")
        if suffix != "tmp" or not dot:
            continue
        parsed = ids.parse_jid(jid)
        if parsed:
            orphaned = parsed[0] not in batch_ids and selection["batch_ids"] is None
        else:
            orphaned = selection["core"] and selection["batch_ids"] is None and catalog.is_core_jid(jid)
            if orphaned:
                members = members or core_async.Members()
                orphaned = not members.of(jid)
        path = os.path.join(directory, name)
        if orphaned and _is_own_file(path):
            found.append(_leftover(path, [path]))
    return found


def _is_own_file(path):
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid in (0, os.geteuid())


def _leftover(path, paths):
    try:
        at = os.lstat(path).st_mtime
    except OSError:
        at = None
    return Leftover(path, paths, at)
