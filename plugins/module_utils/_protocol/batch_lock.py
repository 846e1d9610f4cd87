# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The lock of an async directory: it keeps recording a batch and looking for one apart."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import ids, place
from ansible_collections.background.jobs.plugins.module_utils._system import files

FOLDER = place.FOLDER
_LOOK_AGAIN = 0.02  # seconds: flock(2) waits for ever or not at all

_held: set[tuple] = set()  # (thread, folder) of those who hold a lock exclusively


@contextlib.contextmanager
def lock(async_dir, alone, patience=None):
    """Keep others from recording a batch, and from looking for one (`alone`), or only from looking (`not alone`).

    Yields a file descriptor: a process that inherits it keeps the lock until it closes it, whatever becomes of this
    one. The kernel releases the lock when the last of them is gone. Whoever holds it alone may take it again, and gets None.
    async_dir: its path, or the Place. BlockingIOError if others hold it for `patience` seconds (None: wait without
    limit); UnsafePath or OSError if there can be no lock.
    """
    folder = place.at(async_dir).make_batches()
    me = threading.get_ident(), folder.path
    if me in _held:
        yield None
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open("lock", flags, 0o600, dir_fd=folder.fd)
    try:
        _take(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, patience)
        if alone:
            _held.add(me)
        yield fd
    finally:
        _held.discard(me)
        os.close(fd)


def _take(fd, kind, patience):
    if patience is None:
        fcntl.flock(fd, kind)
        return
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_LOOK_AGAIN)


def is_begun(async_dir, batch_id):
    """Say whether a batch has a folder of ours, but not all of its records. async_dir: its path, or the Place.

    Whoever holds the lock alone can be sure that nobody is writing them.
    """
    try:
        return place.at(async_dir).batches.enter(batch_id).look("batch.json") is None
    except (files.UnsafePath, OSError):
        return False


def clear(async_dir, batch_id):
    """Remove all of a batch of which nothing has started."""
    where = place.at(async_dir)
    for name in where.jobs.names():
        parsed = ids.parse_jid(name)
        if parsed and parsed[0] == batch_id:
            files.remove(name, where.jobs)
    files.remove_tree(batch_id, where.batches)
