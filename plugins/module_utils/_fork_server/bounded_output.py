# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Keeps a bounded part of what a call prints: if it is too much, the first half and the last part.

Each such call has a process beside it that reads what it prints."""

from __future__ import annotations

import os
import select
import signal

from ansible_collections.background.jobs.plugins.module_utils._fork_server import kernel

_PIECE = 65536
_MOST_LEFT = 16  # blocks: as much as a pipe can hold


class Kept:
    """A pipe that a job prints into, and the file that gets its output: if too much, the first half and the last part."""

    def __init__(self, pipe, file, most):
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._file = file
        self._most = most
        self._size = 0  # of the file
        self._begin = most // 2  # where in the file the last part begins
        self._left_out = 0
        self._is_full = False  # the disk: from now on the output is read, and lost

    def fileno(self):
        return self._pipe

    def take(self):
        """Keep some of what is there. Return how many bytes that were, None if there is nothing yet."""
        try:
            data = os.read(self._pipe, _PIECE)
        except BlockingIOError:
            return None
        try:
            if not self._is_full:
                self._write(data)
        except OSError:
            self._is_full = True
        return len(data)

    def _write(self, data):
        self._put(data, self._size)
        self._size += len(data)
        if self._size > self._most:
            self._shorten()

    def _put(self, data, at):
        while data:
            written = os.pwrite(self._file, data, at)
            data, at = data[written:], at + written

    def _shorten(self):
        """Leave out what lies between the first half and the last quarter of what may be kept."""
        source = self._size - self._most // 4
        self._left_out += source - self._begin
        mark = b"\n... %d bytes left out ...\n" % self._left_out
        target = self._most // 2
        self._put(mark, target)
        target = self._begin = target + len(mark)
        while source < self._size:
            piece = os.pread(self._file, min(_PIECE, self._size - source), source)
            self._put(piece, target)
            source, target = source + len(piece), target + len(piece)
        os.ftruncate(self._file, target)
        self._size = target


def keep(pipes):
    """Keep what comes out of `pipes` until nobody can write to them any more, or SIGUSR1 says that the job has ended."""
    told_out, told_in = os.pipe()
    for fd in (told_out, told_in):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a job may print while it ends
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    signal.set_wakeup_fd(told_in)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, kernel.HELD_BACK)
    opened = list(pipes)
    while opened:
        ready = select.select([told_out, *opened], [], [])[0]
        for pipe in ready:
            if pipe != told_out and pipe.take() == 0:
                opened.remove(pipe)
        if told_out in ready:
            break
    for pipe in opened:
        for dummy in range(_MOST_LEFT):  # processes that go on may print without end
            if not pipe.take():
                break
