# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils import _scheduler
from ansible_collections.background.jobs.plugins.module_utils._scheduler import Job, Scheduler


def job(name="job", timeout=0, depends_on=(), skip=False):
    return Job(name, timeout, list(depends_on), skip)


def started(scheduler, now=0.0):
    """Start all that may start; return their indexes."""
    found = []
    while True:
        index = scheduler.start(now)
        if index is None:
            return found
        scheduler.began(index, now)
        found.append(index)


@pytest.mark.parametrize(
    ("concurrency", "expected"), [(0, [0, 1, 2, 3, 4]), (1, [0]), (3, [0, 1, 2]), (9, [0, 1, 2, 3, 4])]
)
def test_as_many_start_as_the_window_holds_in_the_order_written(concurrency, expected):
    assert started(Scheduler([job()] * 5, concurrency)) == expected


def test_a_slot_is_refilled_as_soon_as_it_is_free():
    scheduler = Scheduler([job()] * 4, 2)
    assert started(scheduler) == [0, 1]
    scheduler.ended(1, "succeeded")
    assert started(scheduler) == [2]
    scheduler.ended(0, "failed")
    assert started(scheduler) == [3]
    assert started(scheduler) == []
    scheduler.ended(2, "succeeded")
    assert not scheduler.done
    scheduler.ended(3, "succeeded")
    assert scheduler.done
    assert scheduler.states == ["failed", "succeeded", "succeeded", "succeeded"]


def test_an_empty_batch_is_done():
    assert Scheduler([]).done


def test_skipped_jobs_never_start_and_take_no_slot():
    scheduler = Scheduler([job(skip=True), job(), job(skip=True)], 1)
    assert started(scheduler) == [1]
    scheduler.ended(1, "succeeded")
    assert scheduler.done
    assert scheduler.states == ["skipped", "succeeded", "skipped"]


def test_a_timeout_counts_from_the_start_of_its_job():
    scheduler = Scheduler([job(timeout=10), job(timeout=10)], 1)
    assert started(scheduler, 100.0) == [0]
    assert scheduler.next_due(103.0) == 7.0
    assert scheduler.expire(109.9) == []
    scheduler.ended(0, "succeeded")
    assert started(scheduler, 109.0) == [1]
    assert scheduler.expire(118.9) == []
    assert scheduler.expire(119.0) == [1]
    assert scheduler.stopping(1) == "timed_out"


def test_what_passes_before_a_job_has_a_process_is_not_its_time_unless_it_never_has_one():
    scheduler = Scheduler([job(timeout=10), job(timeout=10)])
    assert [scheduler.start(0.0), scheduler.start(0.0)] == [0, 1]
    scheduler.began(0, 8.0)
    assert scheduler.expire(17.9) == []
    assert scheduler.expire(18.0) == [0]
    assert scheduler.expire(10.0 + _scheduler.START_PATIENCE) == [1]


def test_a_timed_out_job_is_told_once_then_killed_after_its_grace_again_and_again():
    scheduler = Scheduler([job(timeout=5)], grace=2.0)
    started(scheduler, 0.0)
    assert scheduler.expire(5.0) == [0]
    assert scheduler.expire(5.5) == []
    assert scheduler.kill(6.9) == []
    assert scheduler.next_due(6.0) == 1.0
    assert scheduler.kill(7.0) == [0]
    assert scheduler.kill(7.0) == []
    assert scheduler.kill(7.0 + _scheduler.KILL_AGAIN_AFTER) == [0]
    assert scheduler.ended(0, "succeeded") == "timed_out"
    assert scheduler.done
    assert scheduler.next_due(9.0) is None


def test_nothing_is_due_without_timeouts():
    scheduler = Scheduler([job()])
    started(scheduler)
    assert scheduler.next_due(5.0) is None


def test_a_queued_job_that_is_cancelled_never_starts():
    scheduler = Scheduler([job(), job(), job()], 1)
    started(scheduler)
    assert scheduler.cancel(1, 0.0) is False
    assert scheduler.states[1] == "cancelled"
    scheduler.ended(0, "succeeded")
    assert started(scheduler) == [2]


def test_a_running_job_that_is_cancelled_is_stopped_within_the_grace_asked_for():
    scheduler = Scheduler([job()])
    started(scheduler)
    assert scheduler.cancel(0, 10.0, grace=3.0) is True
    assert scheduler.cancel(0, 10.0, grace=3.0) is False
    assert scheduler.kill(12.9) == []
    assert scheduler.kill(13.0) == [0]
    assert scheduler.ended(0, "failed") == "cancelled"


def test_a_finished_job_cannot_be_cancelled():
    scheduler = Scheduler([job()])
    started(scheduler)
    scheduler.ended(0, "succeeded")
    assert scheduler.cancel(0, 1.0) is False
    assert scheduler.states == ["succeeded"]


def test_a_cancelled_job_does_not_time_out_too():
    scheduler = Scheduler([job(timeout=5)])
    started(scheduler, 0.0)
    scheduler.cancel(0, 4.0)
    assert scheduler.expire(6.0) == []
    assert scheduler.stopping(0) == "cancelled"


def test_a_job_starts_when_all_that_it_depends_on_succeeded():
    scheduler = Scheduler([job("a"), job("b"), job("c", depends_on=[0, 1])])
    assert started(scheduler) == [0, 1]
    scheduler.ended(0, "succeeded")
    assert scheduler.settle(0) == []
    assert started(scheduler) == []
    scheduler.ended(1, "succeeded")
    assert scheduler.settle(1) == []
    assert started(scheduler) == [2]


def test_what_depends_on_a_failure_is_skipped_down_the_line_with_the_culprit_named():
    scheduler = Scheduler([job("a"), job("b", depends_on=[0]), job("c", depends_on=[1]), job("d")])
    started(scheduler)
    scheduler.ended(0, "failed")
    assert scheduler.settle(0) == [(1, "depends on a, which is failed"), (2, "depends on b, which is skipped")]
    scheduler.ended(3, "succeeded")
    assert scheduler.done
