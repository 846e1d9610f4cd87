# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Waits for changes of files and directories: through inotify(7), and by looking again where there is none."""

from __future__ import annotations

import os
import select
import time

_IN_MODIFY = 0x002
_IN_CLOSE_WRITE = 0x008
_IN_MOVED_TO = 0x080
_IN_DELETE = 0x200
_LOOK_AGAIN = 0.1


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
        if self._fd is not None:
            mask = _IN_MODIFY | _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_DELETE
            if self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask) < 0:
                self.close()  # no more watches for this user: look again instead

    def wait(self, seconds):
        """Return when something happened, after `seconds` at the latest."""
        if self._fd is None:
            time.sleep(min(seconds, _LOOK_AGAIN))
            return
        if select.select([self._fd], [], [], seconds)[0]:
            try:
                os.read(self._fd, 65536)
            except BlockingIOError:
                pass

    def close(self):
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
