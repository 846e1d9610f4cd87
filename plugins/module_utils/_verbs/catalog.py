# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Finds the jobs of an async directory that fit a selection.

A selection: {"names": [patterns] or None, "batch_ids": [...] or None, "states": [...] or None, "older_than", "newer_than":
seconds or None, "core": whether jobs of core's async count too}. A job has to fit all that is given.
"""

from __future__ import annotations

import fnmatch
import os
import re

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_lock, ids
from ansible_collections.background.jobs.plugins.module_utils._system import files, job_directory

_CORE_JID = re.compile(r"j?[0-9]{1,20}\.[0-9]{1,20}\Z")


def find(selection, directory, get_reader, tell):
    """Return [jid] of the jobs in `directory` that fit by name and batch, those of a batch together, the oldest first.

    get_reader(batch_id): returns its BatchReader, or None; tell(message): called on what could not be looked at.
    FileNotFoundError, UnsafePath or OSError if the directory can't be looked at.
    """
    job_directory.check(directory)
    present = set(os.listdir(directory))
    try:
        known = set(batch_ids(directory))
    except files.UnsafePath as exc:
        tell("the records of batches can't be read: %s" % exc)
        known = set()
    batches = [get_reader(batch_id) for batch_id in known if _fits(batch_id, selection["batch_ids"])]
    batches = sorted((reader for reader in batches if reader), key=lambda reader: reader.header["launched_at"])
    found = []
    for reader in batches:
        for index, job in enumerate(reader.header["jobs"]):
            jid = ids.jid_of(reader.batch_id, index)
            if jid in present and _is_named(job["name"], selection["names"]):
                found.append(jid)
    if selection["core"] and selection["batch_ids"] is None:
        found += sorted(jid for jid in present if _is_core(jid, known) and _is_named(jid, selection["names"]))
    return found


def is_of_age(selection, at, now):
    """Say whether a job fits by its age; at: when it ended, or if it has not, when it was launched; None: not known."""
    age = None if at is None else now - at
    if selection["older_than"] is not None and (age is None or age < selection["older_than"]):
        return False
    return selection["newer_than"] is None or (age is not None and age <= selection["newer_than"])


def batch_ids(directory):
    """Return the ids of all batches that have a folder; UnsafePath if their place is not a directory of this user."""
    folder = os.path.join(directory, batch_lock.FOLDER)
    try:
        files.check_own_directory(folder)
        return [name for name in os.listdir(folder) if ids.is_batch_id(name)]
    except FileNotFoundError:
        return []


def is_core_jid(name):
    """Say whether this has the form of a job id of core's async; ours have that form too."""
    return bool(_CORE_JID.match(name))


def _is_core(name, batch_ids):
    if not is_core_jid(name):
        return False
    parsed = ids.parse_jid(name)
    return parsed is None or parsed[0] not in batch_ids


def _fits(value, allowed):
    return allowed is None or value in allowed


def _is_named(name, patterns):
    return patterns is None or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
