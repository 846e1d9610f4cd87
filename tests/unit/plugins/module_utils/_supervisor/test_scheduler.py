# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._supervisor import scheduler as _scheduler
from ansible_collections.background.jobs.plugins.module_utils._supervisor.scheduler import Holds, Job, Scheduler


def job(name="job", timeout=0, **settings):
    return Job(name, timeout, **settings)


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
    scheduler.ended(1, "succeeded", 0.0)
    assert started(scheduler) == [2]
    scheduler.ended(0, "failed", 0.0)
    assert started(scheduler) == [3]
    assert started(scheduler) == []
    scheduler.ended(2, "succeeded", 0.0)
    assert not scheduler.done
    scheduler.ended(3, "succeeded", 0.0)
    assert scheduler.done
    assert scheduler.states == ["failed", "succeeded", "succeeded", "succeeded"]


def test_an_empty_batch_is_done():
    assert Scheduler([]).done


def test_skipped_jobs_never_start_and_take_no_slot():
    scheduler = Scheduler([job(skip=True), job(), job(skip=True)], 1)
    assert started(scheduler) == [1]
    scheduler.ended(1, "succeeded", 0.0)
    assert scheduler.done
    assert scheduler.states == ["skipped", "succeeded", "skipped"]


def test_a_timeout_counts_from_the_start_of_its_job():
    scheduler = Scheduler([job(timeout=10), job(timeout=10)], 1)
    assert started(scheduler, 100.0) == [0]
    assert scheduler.next_due(103.0) == 7.0
    assert scheduler.expire(109.9) is None
    scheduler.ended(0, "succeeded", 109.0)
    assert started(scheduler, 109.0) == [1]
    assert scheduler.expire(118.9) is None
    assert scheduler.expire(119.0) == 1
    assert scheduler.expire(119.0) is None


def test_what_passes_before_a_job_has_a_process_is_not_its_time_unless_it_never_has_one():
    scheduler = Scheduler([job(timeout=10), job(timeout=10)])
    assert [scheduler.start(0.0), scheduler.start(0.0)] == [0, 1]
    scheduler.began(0, 8.0)
    assert scheduler.expire(17.9) is None
    assert scheduler.expire(18.0) == 0
    assert scheduler.expire(10.0 + _scheduler.START_PATIENCE) == 1


def test_nothing_is_due_without_timeouts():
    scheduler = Scheduler([job()])
    started(scheduler)
    assert scheduler.next_due(5.0) is None


def test_a_queued_job_that_is_cancelled_never_starts():
    scheduler = Scheduler([job(), job(), job()], 1)
    started(scheduler)
    assert scheduler.cancel(1) is False
    assert scheduler.states[1] == "cancelled"
    scheduler.ended(0, "succeeded", 0.0)
    assert started(scheduler) == [2]


def test_a_running_job_that_is_cancelled_has_to_be_stopped():
    scheduler = Scheduler([job()])
    started(scheduler)
    assert scheduler.cancel(0) is True
    assert scheduler.states == ["running"]


def test_a_finished_job_cannot_be_cancelled():
    scheduler = Scheduler([job()])
    started(scheduler)
    scheduler.ended(0, "succeeded", 0.0)
    assert scheduler.cancel(0) is False
    assert scheduler.states == ["succeeded"]


def test_a_job_starts_when_all_that_it_depends_on_succeeded():
    scheduler = Scheduler([job("a"), job("b"), job("c", depends_on=[0, 1])])
    assert started(scheduler) == [0, 1]
    scheduler.ended(0, "succeeded", 0.0)
    assert scheduler.settle(0) == []
    assert started(scheduler) == []
    scheduler.ended(1, "succeeded", 0.0)
    assert scheduler.settle(1) == []
    assert started(scheduler) == [2]


def test_what_depends_on_a_failure_is_skipped_down_the_line_with_the_culprit_named():
    scheduler = Scheduler([job("a"), job("b", depends_on=[0]), job("c", depends_on=[1]), job("d")])
    started(scheduler)
    scheduler.ended(0, "failed", 0.0)
    assert scheduler.settle(0) == [(1, "depends on a, which is failed"), (2, "depends on b, which is skipped")]
    scheduler.ended(3, "succeeded", 0.0)
    assert scheduler.done


GOOD, BAD = "succeeded", "failed"


@pytest.mark.parametrize(
    ("run_when", "before", "expected"),
    [
        ("success", [GOOD, GOOD], "starts"),
        ("success", [GOOD, BAD], "depends on b, which is failed"),
        ("success", [GOOD, "cancelled"], "depends on b, which is cancelled"),
        ("failure", [GOOD, BAD], "starts"),
        ("failure", [BAD, BAD], "starts"),
        ("failure", [GOOD, "lost"], "starts"),
        ("failure", [GOOD, GOOD], "it runs only if a job that it depends on fails, and none did"),
        ("always", [GOOD, GOOD], "starts"),
        ("always", [BAD, "timed_out"], "starts"),
    ],
)
def test_a_job_runs_when_those_before_it_have_ended_as_it_asks(run_when, before, expected):
    scheduler = Scheduler([job("a"), job("b"), job("c", depends_on=[0, 1], run_when=run_when)])
    started(scheduler)
    skipped = []
    for index, state in enumerate(before):
        assert started(scheduler) == []
        scheduler.ended(index, state, 0.0)
        skipped += scheduler.settle(index)
    if expected == "starts":
        assert (started(scheduler), skipped) == ([2], [])
    else:
        assert (started(scheduler), skipped) == ([], [(2, expected)])


def test_what_waits_for_a_failure_hears_of_one_further_up_but_not_of_a_false_condition():
    chain = [job("a"), job("b", depends_on=[0]), job("c", depends_on=[1], run_when="failure")]
    scheduler = Scheduler(chain)
    started(scheduler)
    scheduler.ended(0, BAD, 0.0)
    assert scheduler.settle(0) == [(1, "depends on a, which is failed")]
    assert started(scheduler) == [2]
    scheduler = Scheduler([job("a", skip=True), *chain[1:]])
    assert scheduler.settle(0) == [
        (1, "depends on a, which is skipped"),
        (2, "it runs only if a job that it depends on fails, and none did"),
    ]


def test_a_failure_that_is_ignored_does_not_hold_up_what_depends_on_it():
    scheduler = Scheduler([job("a", ignore_errors=True), job("b", depends_on=[0])], max_failures=0)
    started(scheduler)
    scheduler.ended(0, BAD, 0.0)
    assert (scheduler.settle(0), scheduler.halt()) == ([], [])
    assert started(scheduler) == [1]


def test_a_long_chain_is_followed_to_its_end():
    count = 20000
    scheduler = Scheduler([job(str(n), depends_on=[n - 1] if n else []) for n in range(count)])
    started(scheduler)
    scheduler.ended(0, BAD, 0.0)
    assert len(scheduler.settle(0)) == count - 1
    assert scheduler.done


def test_a_failed_job_is_tried_again_after_a_delay_that_grows():
    scheduler = Scheduler([job(retries=3, delay=5.0, backoff=2.0)])
    now, delays = 0.0, []
    for dummy in range(3):
        assert started(scheduler, now) == [0]
        again = scheduler.ended(0, BAD, now)
        assert scheduler.states == ["queued"]
        assert started(scheduler, again - 0.1) == []
        assert scheduler.next_due(now) == again - now
        delays.append(again - now)
        now = again
    assert delays == [5.0, 10.0, 20.0]
    assert started(scheduler, now) == [0]
    assert scheduler.ended(0, BAD, now) is None
    assert (scheduler.states, scheduler.attempts) == (["failed"], [4])


@pytest.mark.parametrize(
    ("state", "again"), [("timed_out", True), ("failed", True), ("cancelled", False), ("lost", False), (GOOD, False)]
)
def test_what_is_tried_again(state, again):
    scheduler = Scheduler([job(retries=1, delay=1.0)])
    started(scheduler)
    assert (scheduler.ended(0, state, 0.0) is not None) is again


def test_a_job_that_waits_to_be_tried_again_leaves_its_slot_to_others_and_can_be_cancelled():
    scheduler = Scheduler([job(retries=1, delay=5.0), job(), job()], 1)
    assert started(scheduler) == [0]
    scheduler.ended(0, BAD, 0.0)
    assert started(scheduler) == [1]
    assert scheduler.next_due(0.0) is None
    assert scheduler.cancel(0) is False
    scheduler.ended(1, GOOD, 9.0)
    assert started(scheduler, 9.0) == [2]
    assert scheduler.states == ["cancelled", GOOD, "running"]


@pytest.mark.parametrize(("percent", "halts_at"), [(0, 1), (19.9, 1), (20, 2), (49, 3), (100, None), (None, None)])
def test_a_batch_halts_when_more_than_the_percentage_of_its_jobs_have_failed(percent, halts_at):
    scheduler = Scheduler([job()] * 5, 1, percent)
    halted = None
    for number in range(1, 6):
        for index in started(scheduler):
            scheduler.ended(index, BAD, 0.0)
        if scheduler.halt():
            halted = number
            break
    assert halted == halts_at
    if halts_at:
        assert scheduler.states == [BAD] * halts_at + ["skipped"] * (5 - halts_at)
        assert "%d of 5 jobs failed" % halts_at in scheduler.halted


def test_a_batch_that_halts_leaves_those_that_run_and_those_there_for_a_failure():
    jobs = [job("a"), job("b"), job("c", retries=9), job("d"), job("e", depends_on=[0], run_when="failure")]
    scheduler = Scheduler(jobs, 3, 0)
    assert started(scheduler) == [0, 1, 2]
    assert scheduler.ended(2, BAD, 0.0) is not None
    assert scheduler.ended(0, BAD, 0.0) is None
    assert [(index, reason and "1 of 5" in reason) for index, reason in scheduler.halt()] == [(2, None), (3, True)]
    assert scheduler.settle(0) == []
    assert scheduler.states == [BAD, "running", BAD, "skipped", "queued"]
    assert started(scheduler) == [4]
    assert scheduler.halt() == []
    scheduler.ended(1, BAD, 0.0)
    scheduler.ended(4, GOOD, 0.0)
    assert scheduler.done


@pytest.mark.parametrize(
    ("attempt", "backoff", "seconds"),
    [(1, 2.0, 3.0), (3, 2.0, 12.0), (3, 1.0, 3.0), (99, 2.0, 86400.0), (9999, 9.0, 86400.0)],
)
def test_pauses_grow_by_their_factor_up_to_a_day(attempt, backoff, seconds):
    assert _scheduler.pause(3.0, backoff, attempt) == seconds


class Host:
    """What the scheduler is told of memory and load, and how often it asked."""

    def __init__(self, free=100, load=0.0):
        self.free, self.load, self.looks = free, load, 0

    def look(self):
        self.looks += 1
        return self.free, self.load


def test_two_starts_are_start_delay_apart_and_retries_count_as_starts():
    scheduler = Scheduler([job(retries=1, delay=0.0), job(), job()], 0, None, Holds(start_delay=2.0))
    assert started(scheduler, 10.0) == [0]
    assert scheduler.next_due(10.5) == 1.5
    assert started(scheduler, 11.9) == []
    assert started(scheduler, 12.0) == [1]
    assert scheduler.ended(0, BAD, 12.5) == 12.5
    assert started(scheduler, 12.5) == []
    assert started(scheduler, 14.0) == [2]
    assert scheduler.next_due(14.0) == 2.0
    assert started(scheduler, 16.0) == [0]
    assert scheduler.next_due(16.0) is None


def test_start_delay_counts_from_the_first_process_of_a_job_or_where_there_is_none_from_its_start():
    scheduler = Scheduler([job(), job(), job()], 0, None, Holds(start_delay=2.0))
    assert scheduler.start(10.0) == 0
    assert scheduler.start(13.0) is None  # its module is still being read in
    assert scheduler.next_due(13.0) is None
    scheduler.began(0, 14.0)
    assert scheduler.start(15.9) is None
    assert scheduler.start(16.0) == 1
    scheduler.ended(1, BAD, 16.5)
    assert scheduler.start(17.9) is None
    assert scheduler.next_due(17.5) == 0.5
    assert scheduler.start(18.0) == 2


@pytest.mark.parametrize(
    ("holds", "short", "enough"),
    [
        (Holds(min_free_memory=100), {"free": 99}, {"free": 100}),
        (Holds(max_load=2.0), {"load": 2.0}, {"load": 1.99}),
        (Holds(min_free_memory=100, max_load=2.0), {"free": 99, "load": 1.0}, {"free": 100, "load": 1.0}),
        (Holds(min_free_memory=100, max_load=2.0), {"free": 100, "load": 3.0}, {"free": 100, "load": 1.0}),
    ],
)
def test_jobs_are_held_while_the_host_is_short_even_where_none_runs(holds, short, enough):
    host = Host(**short)
    scheduler = Scheduler([job(), job()], 0, None, holds, host.look)
    assert started(scheduler, 10.0) == []
    assert scheduler.states == ["queued", "queued"]
    assert scheduler.next_due(10.25) == 0.75
    vars(host).update(enough)
    assert started(scheduler, 10.9) == []  # other events are no reason to look again
    assert host.looks == 1
    assert started(scheduler, 11.0) == [0, 1]
    assert scheduler.next_due(11.0) is None


def test_nobody_looks_where_nothing_is_held_or_could_start():
    host = Host()
    unheld = Scheduler([job()], 0, None, Holds(start_delay=1.0), host.look)
    assert started(unheld) == [0]
    scheduler = Scheduler([job(), job()], 1, None, Holds(min_free_memory=100), host.look)
    assert started(scheduler, 1.0) == [0]
    assert host.looks == 1
    host.free = 0
    assert started(scheduler, 5.0) == []
    assert (host.looks, scheduler.next_due(5.0)) == (1, None)
    scheduler.ended(0, GOOD, 6.0)
    assert started(scheduler, 6.0) == []
    assert (host.looks, scheduler.next_due(6.0)) == (2, 1.0)


def test_jobs_that_are_held_can_be_cancelled():
    scheduler = Scheduler([job(), job(depends_on=[0])], 0, None, Holds(min_free_memory=100), Host(free=0).look)
    assert started(scheduler) == []
    assert scheduler.cancel(0) is False
    scheduler.settle(0)
    assert scheduler.done
    assert started(scheduler, 2.0) == []
    assert scheduler.next_due(2.0) is None


def test_jobs_that_run_are_timed_while_others_are_held():
    host = Host()
    scheduler = Scheduler([job(timeout=3), job()], 0, None, Holds(min_free_memory=100), host.look)
    assert scheduler.start(0.0) == 0
    scheduler.began(0, 0.0)
    host.free = 0
    assert started(scheduler, 2.5) == []
    assert scheduler.next_due(2.5) == 0.5
    assert scheduler.expire(3.0) == 0


# ---- pools


class Places:
    """A pool, all of whose other places nobody takes; notes what it is told."""

    def __init__(self, **free):
        self.free = free
        self.told = {name: [] for name in free}

    def take(self, name, waiting):
        self.told[name] = waiting
        if not self.free[name]:
            return False
        self.free[name] -= 1
        (arrived, count), *rest = waiting
        self.told[name] = [[arrived, count - 1], *rest] if count > 1 else rest
        return True

    def publish(self, name, waiting):
        self.told[name] = waiting

    def give_back(self, name):
        self.free[name] += 1


def pooled(names, free, concurrency=0, **settings):
    """Return a scheduler of jobs, one a letter (a dot: of no pool), and the places that are free."""
    places = Places(**free)
    jobs = [job(pool=None if name == "." else name, **settings) for name in names]
    return Scheduler(jobs, concurrency, places=places, now=1.0), places


def test_a_job_starts_only_where_there_is_a_place_for_it():
    scheduler, places = pooled("ppp", {"p": 2})
    assert started(scheduler) == [0, 1]
    assert places.told == {"p": [[1.0, 1]]}
    assert scheduler.newly_in_line() == [2]
    assert scheduler.newly_in_line() == [], "it is told once"
    scheduler.ended(0, "succeeded", 2.0)
    assert started(scheduler) == [2]
    assert places.told == {"p": []}


def test_others_pass_those_that_wait_for_a_place():
    scheduler, dummy = pooled("pp.qp.", {"p": 1, "q": 1})
    assert started(scheduler) == [0, 2, 3, 5]


def test_jobs_start_in_the_order_written_whatever_their_pools():
    scheduler, dummy = pooled("q.pq.p", {"p": 2, "q": 2})
    assert started(scheduler) == [0, 1, 2, 3, 4, 5]


def test_no_more_stand_in_line_than_could_start_and_they_keep_their_place_in_it():
    scheduler, places = pooled("ppp", {"p": 0}, concurrency=2)
    assert started(scheduler) == []
    assert places.told == {"p": [[1.0, 2]]}
    assert scheduler.newly_in_line() == [0, 1]


def test_a_batch_that_is_full_stands_in_the_way_of_nobody():
    scheduler, places = pooled(".p.", {"p": 0}, concurrency=2)
    assert started(scheduler) == [0, 2]
    assert places.told == {"p": []}
    assert scheduler.newly_in_line() == [1], "it did while there was room"
    scheduler.ended(0, "succeeded", 2.0)
    assert started(scheduler, 2.0) == []
    assert places.told == {"p": [[1.0, 1]]}, "with the time at which it came"


def test_a_place_is_asked_for_again_only_where_something_may_have_changed():
    scheduler, places = pooled("p", {"p": 0})
    assert started(scheduler) == []
    places.free["p"] = 1
    assert started(scheduler) == []
    scheduler.look_again()
    assert started(scheduler) == [0]


def test_who_is_cancelled_in_line_stands_there_no_more():
    scheduler, places = pooled("pp", {"p": 0})
    assert started(scheduler) == []
    scheduler.cancel(0)
    assert started(scheduler) == []
    assert places.told == {"p": [[1.0, 1]]}
    scheduler.cancel(1)
    assert started(scheduler) == []
    assert places.told == {"p": []}
    assert scheduler.newly_in_line() == []


def test_a_place_is_free_between_two_attempts_and_the_next_one_comes_last():
    scheduler, places = pooled("pp", {"p": 1}, retries=1, delay=10.0)
    assert started(scheduler) == [0]
    assert scheduler.ended(0, "failed", 2.0) == 12.0
    assert started(scheduler, 2.0) == [1]
    assert started(scheduler, 12.0) == []
    assert places.told == {"p": [[12.0, 1]]}
    scheduler.ended(1, "succeeded", 13.0)
    assert started(scheduler, 13.0) == [0]


def test_a_job_comes_when_those_that_it_depends_on_have_ended():
    places = Places(p=0)
    scheduler = Scheduler([job(), job(depends_on=(0,), pool="p")], places=places)
    assert started(scheduler, 1.0) == [0]
    assert places.told == {"p": []}
    scheduler.ended(0, "succeeded", 7.0)
    scheduler.settle(0)
    assert started(scheduler, 7.5) == []
    assert places.told == {"p": [[7.0, 1]]}


def test_what_holds_further_starts_takes_no_place():
    places = Places(p=1)
    holds = Holds(min_free_memory=100)
    scheduler = Scheduler([job(pool="p")], 0, None, holds, lambda: (50, 0.0), places=places)
    assert started(scheduler) == []
    assert (places.free, places.told) == ({"p": 1}, {"p": []})


def test_a_batch_that_is_stopped_leaves_its_line():
    scheduler, places = pooled(".pp", {"p": 0})
    scheduler._max_failures = 0.0
    assert started(scheduler) == [0]
    assert places.told == {"p": [[1.0, 2]]}
    scheduler.ended(0, "failed", 2.0)
    assert [index for index, dummy in scheduler.halt()] == [1, 2]
    assert started(scheduler) == []
    assert places.told == {"p": []}


def test_more_or_fewer_may_run_at_once_from_now_on():
    scheduler = Scheduler([job()] * 6, 1)
    assert started(scheduler) == [0]
    assert scheduler.widen(3)
    assert not scheduler.widen(3)
    assert started(scheduler) == [1, 2]
    assert scheduler.widen(1)
    scheduler.ended(0, "succeeded", 1.0)
    scheduler.ended(1, "succeeded", 1.0)
    assert started(scheduler) == [], "what runs goes on"
    scheduler.ended(2, "succeeded", 1.0)
    assert started(scheduler) == [3]
    assert scheduler.widen(0)
    assert started(scheduler) == [4, 5]


def test_thousands_in_line_are_no_work():
    scheduler, dummy = pooled("p" * 20000, {"p": 1})
    began = time.process_time()
    for index in range(20000):
        assert scheduler.start(1.0) == index
        assert scheduler.start(1.0) is None
        scheduler.ended(index, "succeeded", 1.0)
    assert time.process_time() - began < 10
