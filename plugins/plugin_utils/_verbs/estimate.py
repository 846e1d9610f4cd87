# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Estimates how long jobs will still take from how long the ended ones took."""

from __future__ import annotations

import bisect
import heapq
import typing as t
from collections.abc import Sequence

from ansible_collections.background.jobs.plugins.module_utils._protocol import states

_FEWEST = 2  # the fewest jobs that must have run to their end
_RAN = (states.SUCCEEDED, states.FAILED, states.TIMED_OUT)


def time_left(views: Sequence[dict[str, t.Any]], width: int) -> float | None:
    """Return in how many seconds all jobs will have ended, None if there is no estimate yet.

    views: what is known of each job; width: how many run at once.

    A third of the jobs, and at least two, must have ended. A running job is assumed to take the average time of those
    that took longer than it has taken so far; a waiting one, the average time of all.
    """
    ended = [view for view in views if view["state"] in states.TERMINAL]
    samples = sorted(float(view["duration"]) for view in ended if view["state"] in _RAN and view.get("duration"))
    if len(ended) * 3 < len(views) or len(samples) < _FEWEST:
        return None
    running = [_rest(samples, view.get("running_for") or 0.0) for view in views if view["state"] == states.RUNNING]
    known = [rest for rest in running if rest is not None]
    queued = sum(view["state"] == states.QUEUED for view in views)
    if not queued and not known:
        return None  # all running jobs have taken longer than any other
    slots = known + [0.0] * max(0, width - len(running), 0 if known else 1)
    return _end_of(slots, queued, sum(samples) / len(samples))


def _rest(samples: Sequence[float], so_far: float) -> float | None:
    """Return how long a job will still run; None if no other took as long as this one has so far."""
    longer = samples[bisect.bisect_right(samples, so_far) :]
    if not longer:
        return None
    return sum(longer) / len(longer) - so_far


def _end_of(slots: list[float], queued: int, each: float) -> float:
    """Return when the last job ends, if each waiting job takes the first free slot."""
    heapq.heapify(slots)
    last = max(slots)
    for dummy in range(queued):
        end = heapq.heappop(slots) + each
        last = max(last, end)
        heapq.heappush(slots, end)
    return last
