# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The folder `modules` beside the batches: what one call has brought, so that later ones need not bring it again.

The name of each file contains the SHA-256 of its content (compiled code of the modules of jobs begins with it:
_fork_server/kept_code.py), so that a reader can check it: the file may be half written, changed, another user's, or gone at
any moment, and then it is brought again.
"""

from __future__ import annotations

import os
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import place
from ansible_collections.background.jobs.plugins.module_utils._system import files, hashing

FOLDER = "modules"
LIMIT = 16 * 1024 * 1024  # bytes of a file
_ROOM = 64 * 1024 * 1024  # bytes of all of them
_MOST = 256  # of them
_IN_USE = 600.0  # seconds after its last use during which a call may still be using it
_HALF_WRITTEN = 3600.0  # seconds after which a half-written file will not be completed any more
_BEGUN = ".tmp"


def sha256(data):
    return hashing.sha256(data).hexdigest()


class Store:
    """The files that are kept in an async directory. The folder is made only when something is written."""

    def __init__(self, where):
        """where: the async directory, or its Place. FileNotFoundError if no batch was ever recorded there, UnsafePath
        if others can change it."""
        self._batches = place.at(where).batches
        self._folder = None

    @property
    def path(self):
        return os.path.join(os.path.realpath(self._batches.path), FOLDER)

    def _enter(self):
        if self._folder is None:
            self._folder = self._batches.enter(FOLDER)
        return self._folder

    def names(self):
        try:
            return self._enter().names()
        except (files.UnsafePath, OSError):
            return []

    def read(self, name, digest):
        """Return the bytes of a file if they have this SHA-256, and mark it as used; else None."""
        try:
            data = files.read_own(name, LIMIT, folder=self._enter())
            if sha256(data) != digest:
                return None
            os.utime(name, dir_fd=self._folder.fd)
        except (files.UnsafePath, OSError):
            return None
        return data

    def write(self, name, data):
        """Keep a file; say whether that was done: if not, for lack of room say, no harm is done."""
        if len(data) > LIMIT:
            return False
        try:
            self._folder = self._batches.make(FOLDER)
            if not self._make_room(len(data)):
                return False
            temporary = (self._folder, "%s.%d%s" % (name, os.getpid(), _BEGUN))
            files.write_atomically(name, data, durable=False, folder=self._folder, temporary=temporary)
        except (files.UnsafePath, OSError):
            return False
        return True

    def _make_room(self, size):
        """Remove the least recently used files, and what killed writers have left; say whether there is room then."""
        now, kept = time.time(), []
        for name in self._folder.names():
            found = self._folder.look(name)
            if found and name.endswith(_BEGUN) and found.st_mtime < now - _HALF_WRITTEN:
                files.remove(name, self._folder)
            elif found:
                kept.append((found.st_mtime, found.st_size, name))
        kept.sort()
        taken = sum(one for dummy, one, dummy in kept) + size
        while kept and (taken > _ROOM or len(kept) >= _MOST) and kept[0][0] < now - _IN_USE:
            dummy, freed, name = kept.pop(0)
            files.remove(name, self._folder)
            taken -= freed
        return taken <= _ROOM and len(kept) < _MOST


def forget(async_dir, unused_for):
    """Remove what is kept in async_dir and was not used for so many seconds (None: any time), as far as it can be removed.

    What was used recently stays: another call may be importing from it.
    """
    unused_for = max(unused_for or 0.0, _IN_USE)
    try:
        batches = place.at(async_dir).batches
        folder = batches.enter(FOLDER)
        for name in folder.names():
            found = folder.look(name)
            if found and found.st_mtime < time.time() - unused_for:
                files.remove(name, folder)
        if not folder.names():
            files.remove_tree(FOLDER, batches)
    except (files.UnsafePath, OSError):
        pass  # for example on a read-only disk: only space is lost
