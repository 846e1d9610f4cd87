# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Timers by key. No clock: times are seconds of any clock that only goes forward, and the caller hands in `now`."""

from __future__ import annotations

import heapq


class Timers:
    """A time for each of many keys; setting one anew replaces it. Keys have to be comparable with each other."""

    def __init__(self):
        self._heap = []  # (time, key); entries that differ from `_times` are out of date
        self._times = {}

    def __contains__(self, key):
        return key in self._times

    def set(self, key, time):
        self._times[key] = time
        heapq.heappush(self._heap, (time, key))

    def clear(self, key):
        self._times.pop(key, None)

    def pop(self, now):
        """Remove and return the key whose time has come, the earliest if there are several; None if there is none."""
        if not self._forward() or self._heap[0][0] > now:
            return None
        dummy, key = heapq.heappop(self._heap)
        del self._times[key]
        return key

    def next(self):
        """Return the earliest time that is set, or None."""
        return self._heap[0][0] if self._forward() else None

    def _forward(self):
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return bool(self._heap)
