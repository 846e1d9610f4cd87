# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Waits for changes of files and directories: through inotify(7), or if there is none, by looking again."""

from __future__ import annotations

import os
import select
import struct
import time

_IN_MODIFY = 0x002
_IN_ATTRIB = 0x004
_IN_CLOSE_WRITE = 0x008
_IN_MOVED_TO = 0x080
_IN_DELETE = 0x200
_IN_Q_OVERFLOW = 0x4000
_LOOK_AGAIN = 0.1
_EVENT = struct.Struct("iIII")  # inotify_event, followed by a name


class Watcher:
    """Tells when something happened to one of the paths that were added."""

    def __init__(self):
        self._libc, self._fd = None, None
        try:
            import ctypes

            self._libc = ctypes.CDLL(None, use_errno=True)
            fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except (ImportError, OSError, AttributeError):
            return
        if fd >= 0:
            self._fd = fd

    def add(self, path):
        """Watch a file for what is appended to it, a directory for files that are written, moved in or removed."""
        self._add(path, _IN_MODIFY | _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_DELETE)

    def add_bells(self, path):
        """Watch a directory for files that are rung (see `ring`), closed after writing, moved in or removed."""
        self._add(path, _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_DELETE)

    def _add(self, path, mask):
        if self._fd is not None and self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask) < 0:
            self.close()  # no more watches for this user: look again instead

    def wait(self, seconds):
        """Wait until something happens, for `seconds` at the most."""
        if self._fd is None:
            time.sleep(min(seconds, _LOOK_AGAIN))
            return
        if select.select([self._fd], [], [], seconds)[0]:
            try:
                os.read(self._fd, 65536)
            except BlockingIOError:
                pass

    @property
    def is_blind(self):
        """Whether there are no events, so that one has to look again now and then."""
        return self._fd is None

    def fileno(self):
        """Return a descriptor that is readable when something has happened; not if it is blind."""
        return self._fd

    def take(self):
        """Return the names of the files that something has happened to; None if it may be any."""
        names = set()
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return names
        while data:
            dummy, mask, dummy, length = _EVENT.unpack_from(data)
            name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
            if mask & _IN_Q_OVERFLOW:
                return None
            names.add(os.fsdecode(name))
            data = data[_EVENT.size + length :]
        return names

    def close(self):
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def ring(fd):
    """Wake those who watch the directory of a file by `add_bells`."""
    os.utime(fd)
