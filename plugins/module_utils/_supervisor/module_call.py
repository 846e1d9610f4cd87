# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""A call that a job makes, as its supervisor knows it, and the clock that tells when."""

from __future__ import annotations

import os
import signal
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import output, results
from ansible_collections.background.jobs.plugins.module_utils._system import files, processes

_MODULE_PATIENCE = 1.0  # seconds from SIGTERM to what a module has started until SIGTERM to the module


class Clock:
    """Seconds that only go forward, and the time of day that they stood for when the batch began."""

    def __init__(self):
        self._epoch = time.time() - time.monotonic()
        self._suspended = self._slept()

    now = staticmethod(time.monotonic)

    def wall(self, now):
        """Return a time of this clock as seconds since 1970, untouched by later changes of the host's clock.

        How long the host was suspended counts, of which `now` knows nothing.
        """
        return round(self._epoch + now + self._slept() - self._suspended, 6)

    @staticmethod
    def _slept():
        try:
            return round(time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic(), 1)
        except (AttributeError, OSError):  # no Linux
            return 0.0


class Run:
    """A call that a job makes: its process and what that prints."""

    def __init__(self, base, started, folder=None):
        """folder: the Folder that the files of `base` are in, if it is open already."""
        self._folder = folder or files.Folder(os.path.dirname(base))
        self.stdout, self.stderr = base + ".stdout", base + ".stderr"
        self.started = started
        self.template = None
        self.most = None  # bytes of a stream that are kept while it prints; None: all, for that is its result
        self.members = {}  # pid: start, of the processes that are known to be its own
        self.status = None
        self.brief = None  # what is known of its result where the disk did not take it
        self.error = None
        self.kills = None  # how many processes of its job the kernel had killed before, where that is counted
        self.give_up = None
        self.pid = None
        self.insist_at = None
        self.number = signal.SIGTERM  # what it is told to end with
        self.untold = False  # whether it is still to be told to end
        self.to_kill = False
        self.stopping = None  # the (state, reason) that it was told to end for
        self.output_begins = None  # {stream: offset} in the output of its job that is kept; None: none is

    @property
    def was_ended(self):
        """Whether it did not end by itself."""
        return self.stopping is not None or (self.status is not None and self.status < 0)

    @property
    def has_ended(self):
        """Whether its main process is gone; its descendants may not be."""
        return self.status is not None or self.error is not None

    def left(self, snapshot):
        """Return the processes of the job that still live."""
        found = snapshot.tree(self.members)
        self.members.update((pid, process.start) for pid, process in found.items())
        return found

    def ask_to_end(self, snapshot, now):
        """Send its signal: first to what the module has started, so that the module can still tell what that printed."""
        started = [process for process in self.left(snapshot).values() if process.pid != self.pid]
        if started and not self.has_ended:
            self.insist_at = now + _MODULE_PATIENCE
            for process in started:
                processes.send(process, self.number)
        else:
            self.signal(self.number, snapshot)

    def insist(self, snapshot, now):
        """Send its signal to all of it where the module did not end when what it had started was told to."""
        if self.insist_at is not None and now >= self.insist_at and not self.has_ended:
            self.insist_at = None
            self.signal(self.number, snapshot)

    def signal(self, number, snapshot):
        for process in self.left(snapshot).values():
            processes.send(process, number)

    def read(self):
        """Return what it printed, as (stdout, stderr), and remove it."""
        printed = []
        for name in map(os.path.basename, (self.stdout, self.stderr)):
            printed.append(self._read(name) if self.most is None else output.of_command(name, self.most, self._folder))
            files.remove(name, self._folder)
        return printed

    def _read(self, name):
        try:
            with open(name, "rb", opener=self._folder.opener) as stream:
                return stream.read(results.LIMIT + 1)
        except FileNotFoundError:
            return b""
