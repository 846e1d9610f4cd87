# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._verbs.estimate import time_left

Views = list[dict[str, t.Any]]


def ended(*durations: float | None, state: str = "succeeded") -> Views:
    return [{"state": state, "duration": duration} for duration in durations]


def running(*seconds: float | None) -> Views:
    return [{"state": "running", "running_for": one} for one in seconds]


def queued(number: int) -> Views:
    return [{"state": "queued"}] * number


@pytest.mark.parametrize(
    ("views", "width", "expected"),
    [
        pytest.param([*ended(10, 10), *running(4)], 1, 6.0, id="the rest of one"),
        pytest.param([*ended(10, 10), *running(4, 1)], 2, 9.0, id="the one that ends last"),
        pytest.param([*ended(10, 10), *running(4), *queued(2)], 1, 26.0, id="one after the other"),
        pytest.param([*ended(10, 10), *running(4), *queued(2)], 2, 16.0, id="a slot that is free is taken at once"),
        pytest.param([*ended(10, 10, 10), *running(4, 6), *queued(3)], 2, 24.0, id="each takes the first free slot"),
        pytest.param([*ended(10, 30), *running(12)], 1, 18.0, id="only those count that took longer so far"),
        pytest.param([*ended(10, 30), *running(None)], 1, 20.0, id="begun just now"),
        pytest.param([*ended(10, 10), *queued(3)], 0, 30.0, id="nothing seen to run: one at a time"),
        pytest.param([*ended(10), *ended(20, state="failed"), *running(5)], 1, 10.0, id="failed ones tell as well"),
        pytest.param([*ended(10, 10), *running(50), *queued(1)], 2, 10.0, id="an overdue one holds its slot"),
        pytest.param([*ended(10, 10), *running(50), *queued(1)], 1, 10.0, id="or gives it up at once"),
    ],
)
def test_time_left(views: Views, width: int, expected: float) -> None:
    assert time_left(views, width) == pytest.approx(expected)


@pytest.mark.parametrize(
    "views",
    [
        pytest.param([], id="no jobs"),
        pytest.param([*ended(10, 10), *running(1, 1, 1, 1, 1)], id="less than a third"),
        pytest.param([*ended(10), *running(1, 1)], id="one says nothing of others"),
        pytest.param([*ended(None, None, state="skipped"), *running(1)], id="none has run"),
        pytest.param([*ended(10, 10, state="cancelled"), *running(1)], id="none has run to its end"),
        pytest.param([*ended(10, 10), *running(11)], id="longer than all that ended"),
    ],
)
def test_what_cannot_be_told(views: Views) -> None:
    assert time_left(views, 3) is None


def test_thousands_of_jobs_are_no_work() -> None:
    assert time_left([*ended(*[2.0] * 3000), *running(*[1.0] * 10), *queued(5000)], 10) == pytest.approx(1001.0)
