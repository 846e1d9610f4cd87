# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Ends calls: they are sent a signal, then SIGKILL, and are given up if even that does nothing."""

from __future__ import annotations

import signal

from ansible_collections.background.jobs.plugins.module_utils._supervisor import timers
from ansible_collections.background.jobs.plugins.module_utils._system import processes

_KILL_AGAIN_AFTER = 1.0
_LOOK_AGAIN = 0.05  # seconds between looks at processes that were told to end
# Seconds that a killed process may stay (in an uninterruptible call) before its call is regarded as ended.
_GIVE_UP = 5.0


class Stopper:
    """Ends calls, one per job, and watches what is left of them."""

    def __init__(self, now, snapshot=processes.Snapshot):
        """now(): seconds of a clock that only goes forward; snapshot(): the processes of this host."""
        self._now, self._snapshot = now, snapshot
        self._calls = {}  # index of a job: its ModuleCall
        self._kills = timers.Timers()  # by index
        self._look_at = 0.0

    def stop(self, index, call, stopping, grace, number):
        """End a call. stopping: the (state, reason) for that; grace: seconds until SIGKILL; number: the signal until then."""
        call.stopping, call.number, call.untold = stopping, number, True
        self._calls[index] = call
        self._kills.set(index, self._now() + grace)
        self.look_soon()

    def forget(self, index):
        """Stop watching the call of a job."""
        self._calls.pop(index, None)
        self._kills.clear(index)

    def look_soon(self):
        """Have `look` not wait, because there is news of a call."""
        self._look_at = 0.0

    def next(self):
        """Return when `look` has something to do, None if never."""
        times = [self._look_at, self._kills.next()] if self._calls else []
        return min((time for time in times if time is not None), default=None)

    def look(self, now):
        """Send all signals that are due, and check all calls, with a single snapshot of the host's processes.

        Return the indexes of the jobs whose calls are over.
        """
        for index in iter(lambda: self._kills.pop(now), None):
            self._begin_to_kill(index, now)
        if not self._calls or now < self._look_at:
            return []
        snapshot = self._snapshot()
        over = [index for index in sorted(self._calls) if _is_over(self._calls[index], snapshot, now)]
        # with very many processes on the host a snapshot takes long: leave most of the time to other work
        cost = self._now() - now
        self._look_at = now + max(_LOOK_AGAIN, 10 * cost)
        return over

    def _begin_to_kill(self, index, now):
        call = self._calls[index]
        call.to_kill = True
        call.give_up = call.give_up or now + _GIVE_UP
        self._kills.set(index, now + _KILL_AGAIN_AFTER)
        self.look_soon()


def _is_over(call, snapshot, now):
    """Send a call the signals that are due, and say whether it is over."""
    if call.untold:
        call.untold = False
        call.ask_to_end(snapshot, now)
    call.insist(snapshot, now)
    if call.to_kill:
        call.to_kill = False
        call.signal(signal.SIGKILL, snapshot)
    return call.is_over(snapshot, now)
