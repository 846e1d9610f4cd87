# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The folder `modules` beside the batches: what one call has brought, and later ones need not bring again.

Each file has in its name the SHA-256 of what is in it, so that whoever reads it knows whether it is still that: it may be
half written, changed, another user's, or gone at any moment, and then it is brought again.
"""

from __future__ import annotations

import hashlib
import os
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import place
from ansible_collections.background.jobs.plugins.module_utils._system import files

FOLDER = "modules"
LIMIT = 16 * 1024 * 1024  # bytes of a file
_ROOM = 64 * 1024 * 1024  # bytes of all of them
_MOST = 256  # of them
_IN_USE = 600.0  # seconds since its last use in which a call that uses it may still go on
_HALF_WRITTEN = 3600.0  # seconds after which nobody will complete a file that somebody has begun
_BEGUN = ".tmp"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Store:
    """The files that are kept in an async directory. It is not made before something is written."""

    def __init__(self, where):
        """where: the async directory, or its Place. FileNotFoundError where no batch was ever recorded there, UnsafePath
        where others can change it."""
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
        """Return the bytes of a file that have this SHA-256, and note that they are in use; None where there are none."""
        try:
            data = files.read_own(name, LIMIT, folder=self._enter())
            if sha256(data) != digest:
                return None
            os.utime(name, dir_fd=self._folder.fd)
        except (files.UnsafePath, OSError):
            return None
        return data

    def write(self, name, data):
        """Keep a file; say whether that was done: for want of room, say, it is not, and no harm is in that."""
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
        """Remove those that were not used for the longest time, and what killed writers have left; say whether that will do."""
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
    """Remove what is kept in async_dir and was not used for so many seconds, None for any; as much as can be removed.

    What was used just now stays: another call may be importing from it.
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
        pass  # on a disk that is read-only, say: it is a matter of room
