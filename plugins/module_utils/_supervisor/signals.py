# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Signals as events, so that a supervisor can wait for them along with everything else."""

from __future__ import annotations

import os
import signal


class Signals:
    """Becomes readable when one of the signals has arrived. Only one per process, in its main thread."""

    def __init__(self, numbers):
        self._out, into = os.pipe()
        for fd in (self._out, into):
            os.set_blocking(fd, False)
        for number in numbers:
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(into, warn_on_full_buffer=False)

    def fileno(self):
        return self._out

    def take(self):
        """Return the numbers of those that have come since the last time, each once."""
        try:
            return set(os.read(self._out, 65536))
        except BlockingIOError:
            return set()
