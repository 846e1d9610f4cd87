# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._verbs.progress import Progress, duration, summary


def views(**states: str) -> list[dict[str, t.Any]]:
    return [{"name": name, "state": state} for name, state in states.items()]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (views(a="succeeded"), "1/1 finished"),
        (views(a="queued", b="queued"), "0/2 finished, 2 queued"),
        (
            views(a="failed", b="timed_out", c="lost", d="cancelled", e="skipped"),
            "5/5 finished, 1 failed, 1 timed out, 1 cancelled, 1 lost, 1 skipped",
        ),
        (
            [
                {"name": "redis", "state": "running", "running_for": 12.7},
                {"name": "nginx", "state": "running", "running_for": 41.0},
                *views(a="failed"),
            ],
            "1/3 finished, 1 failed, 2 running (nginx 41s, redis 12s)",
        ),
        (views(a="running", b="running", c="running", d="running"), "0/4 finished, 4 running (a 0s, b 0s, c 0s, …)"),
        (
            [
                {"name": "a", "state": "queued", "pool": "db", "in_line": True},
                {"name": "b", "state": "queued", "pool": "disk", "in_line": True},
                {"name": "c", "state": "queued", "pool": "db", "in_line": True},
                {"name": "d", "state": "queued", "pool": "db"},
            ],
            "0/4 finished, 4 queued (2 for pool db, 1 for pool disk)",
        ),
        (views(**{"two\nlines": "running"}), "0/1 finished, 1 running (two lines 0s)"),
    ],
)
def test_summary(jobs: list[dict[str, t.Any]], expected: str) -> None:
    assert summary(jobs) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (7500, "2h05m")]
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_a_line_is_due_every_poll_seconds_or_sooner_where_something_changed() -> None:
    progress = Progress("web1", 60.0)
    jobs = views(a="running")
    due = [
        now
        for now, changed in [(0, False), (15, False), (30, True), (40, True), (46, False), (95, False), (107, False)]
        if progress.line(jobs, now, changed)
    ]
    assert due == [0, 30, 46, 107]


def test_no_poll_no_lines() -> None:
    assert Progress("web1", 0.0).line(views(a="running"), 100.0, True) is None


def test_the_line_tells_how_long_it_will_still_take() -> None:
    progress = Progress("web1", 10.0)
    done = [{"name": f"done {number}", "state": "succeeded", "duration": 30.0} for number in range(2)]
    running = [{"name": f"run {number}", "state": "running", "running_for": 10.0} for number in range(2)]
    assert progress.line(running + views(a="queued", b="queued"), 0.0, True) == (
        "[web1] 0/4 finished, 2 running (run 0 10s, run 1 10s), 2 queued"
    )
    line = progress.line(done + running[:1] + views(a="queued", b="queued"), 10.0, True)
    assert line == "[web1] 2/5 finished, 1 running (run 0 10s), 2 queued, about 50s left", "two have run at once before"


def test_what_is_done_in_a_moment_is_not_announced() -> None:
    done = [{"name": f"done {number}", "state": "succeeded", "duration": 0.5} for number in range(2)]
    line = Progress("web1", 10.0).line([*done, {"name": "a", "state": "running", "running_for": 0.1}], 0.0, True)
    assert line == "[web1] 2/3 finished, 1 running (a 0s)"
