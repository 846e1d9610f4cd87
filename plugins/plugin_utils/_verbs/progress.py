# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The lines that a wait prints."""

from __future__ import annotations

import typing as t

from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.plugin_utils._errors import shorten
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import estimate

_SHOWN = 3
_NAME_WIDTH = 40
_LEAST_TOLD = 1.0  # seconds left that are worth a mention
_WORDS = (
    (states.FAILED, "failed"),
    (states.TIMED_OUT, "timed out"),
    (states.CANCELLED, "cancelled"),
    (states.LOST, "lost"),
    (states.SKIPPED, "skipped"),
)


class Progress:
    """Decides when a line is due, and makes it. `poll` 0: no lines."""

    def __init__(self, host: str, poll: float) -> None:
        self._host = host
        self._poll = poll
        self._last: float | None = None
        self._changed = False
        self._width = 0  # the most jobs that were seen running at once

    def line(self, views: list[dict[str, t.Any]], now: float, changed: bool) -> str | None:
        """Return the line that is due: at most one in `poll` seconds, or if something changed, one in 15."""
        self._changed = self._changed or changed
        self._width = max(self._width, sum(view["state"] == states.RUNNING for view in views))
        if not self._poll:
            return None
        if self._last is not None and now - self._last < (min(self._poll, 15.0) if self._changed else self._poll) * 0.9:
            return None
        self._last = now
        self._changed = False
        left = estimate.time_left(views, self._width)
        about = f", about {duration(left)} left" if left is not None and left >= _LEAST_TOLD else ""
        return f"[{self._host}] {summary(views)}{about}"

    def lost(self, why: str, pause: float) -> str:
        return f"[{self._host}] connection lost, trying again in {pause:.0f}s ({shorten(why, 100)})"


def summary(views: list[dict[str, t.Any]]) -> str:
    """Return the progress of the jobs: 7/10 finished, 1 failed, 2 running (nginx 41s, redis 12s)."""
    counts: dict[str, int] = {}
    for view in views:
        counts[view["state"]] = counts.get(view["state"], 0) + 1
    finished = sum(counts.get(state, 0) for state in states.TERMINAL)
    parts = [f"{finished}/{len(views)} finished"]
    parts += [f"{counts[state]} {word}" for state, word in _WORDS if counts.get(state)]
    running = [view for view in views if view["state"] == states.RUNNING]
    if running:
        # The longest first: people wonder about that one.
        running.sort(key=lambda view: -(view.get("running_for") or 0.0))
        names = [
            f"{shorten(view['name'], _NAME_WIDTH)} {duration(view.get('running_for') or 0.0)}"
            for view in running[:_SHOWN]
        ]
        names += ["…"] if len(running) > _SHOWN else []
        parts.append(f"{len(running)} running ({', '.join(names)})")
    if counts.get(states.QUEUED):
        parts.append(f"{counts[states.QUEUED]} queued{_in_line(views)}")
    return ", ".join(parts)


def _in_line(views: list[dict[str, t.Any]]) -> str:
    """Return how many queued jobs wait for places in pools: (2 for pool downloads)."""
    pools = [str(view.get("pool")) for view in views if view["state"] == states.QUEUED and view.get("in_line")]
    told = [f"{pools.count(pool)} for pool {pool}" for pool in sorted(set(pools))[:_SHOWN]]
    told += ["…"] if len(set(pools)) > _SHOWN else []
    return f" ({', '.join(told)})" if told else ""


def duration(seconds: float) -> str:
    """Return a time span as people write it: 41s, 3m20s, 2h05m."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
