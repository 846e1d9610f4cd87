# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The lock of an async directory: a batch is recorded once, and looked for when nobody records it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading

from ansible_collections.background.jobs.plugins.module_utils._protocol import ids
from ansible_collections.background.jobs.plugins.module_utils._system import files

FOLDER = ".background_jobs"

_held: set[tuple] = set()  # (thread, folder) of those who have a lock alone


@contextlib.contextmanager
def lock(async_dir, alone, wait=True):
    """Keep others from recording a batch, and from looking for one (`alone`), or only from looking (`not alone`).

    Yields a file descriptor: a process that inherits it keeps the lock until it closes it, whatever becomes of this
    one. The kernel takes the lock back when the last of them is gone. Who has it alone may take it again, and gets None.
    BlockingIOError where others have it, unless it may `wait`; UnsafePath or OSError where there can be none.
    """
    folder = os.path.join(async_dir, FOLDER)
    me = threading.get_ident(), folder
    if me in _held:
        yield None
        return
    files.private_directory(folder)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(os.path.join(folder, "lock"), flags, 0o600)
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        if alone:
            _held.add(me)
        yield fd
    finally:
        _held.discard(me)
        os.close(fd)


def is_begun(async_dir, batch_id):
    """Say whether a batch has a folder of ours, but not all of its records.

    Held alone, the lock makes sure that nobody writes them.
    """
    path = os.path.join(async_dir, FOLDER, batch_id)
    try:
        files.check_own_directory(path)
    except (files.UnsafePath, OSError):
        return False
    return not os.path.lexists(os.path.join(path, "batch.json"))


def clear(async_dir, batch_id):
    """Remove all that there is of a batch of which nothing has started."""
    for name in os.listdir(async_dir):
        parsed = ids.parse_jid(name)
        if parsed and parsed[0] == batch_id:
            files.remove(os.path.join(async_dir, name))
    files.remove_tree(os.path.join(async_dir, FOLDER, batch_id))
