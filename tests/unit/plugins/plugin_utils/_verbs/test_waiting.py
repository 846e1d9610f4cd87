# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import requests
from ansible_collections.background.jobs.plugins.modules import async_wait
from ansible_collections.background.jobs.plugins.plugin_utils._host.transport import ConnectionLost
from ansible_collections.background.jobs.plugins.plugin_utils._options import WaitOptions
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.selection import Target
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import (
    Begun,
    Surroundings,
    Waiter,
    WaitOutcome,
    first_request,
)


class FakeHost:
    """A host whose jobs end at given times of a clock that only moves when somebody waits."""

    def __init__(self, ends: dict[str, float], **more: t.Any) -> None:
        self.now = 0.0
        self.ends = ends
        self.cancelled: set[str] = set()
        self.outages: list[tuple[float, float]] = more.get("outages", [])
        self.page: int = more.get("page", 1000)
        self.states: dict[str, str] = more.get("states", {})
        self.unknown: set[str] = more.get("unknown", set())
        self.requests: list[dict[str, t.Any]] = []
        self.lines: list[str] = []
        self.resets = 0
        self.prepared: list[list[str]] = []

    def surroundings(self) -> Surroundings:
        return Surroundings(
            call=self.call,
            reset=self.reset,
            clock=lambda: self.now,
            sleep=self.sleep,
            say=lambda line, views: self.lines.append(line),
            prepare=lambda views: self.prepared.append([view["state"] for view in views]),
        )

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def reset(self) -> None:
        self.resets += 1

    def finished(self, jid: str) -> bool:
        return jid in self.cancelled or self.now >= self.ends[jid]

    def call(self, request: dict[str, t.Any]) -> dict[str, t.Any]:
        requests.check(request, async_wait.HANDLERS)
        self.requests.append({**request})
        if any(start <= self.now < end for start, end in self.outages):
            raise ConnectionLost("no route to host")
        jids = [job["jid"] for job in request["jobs"]]
        if request["op"] == "cancel":
            self.cancelled.update(jids)
        if request["op"] == "wait" and not any(jid in self.unknown for jid in jids):
            ends = sorted(self.ends[jid] for jid in jids)
            until = ends[0] if request["mode"] == "any" else ends[-1]
            self.now = max(self.now, min(until, self.now + request["block"]))
        sent = 0
        jobs = []
        for jid in jids:
            job: dict[str, t.Any] = {
                "jid": jid,
                "dir": "/d",
                "state": "running",
                "finished": False,
                "started_at": 0.0,
                "result": None,
            }
            if jid in self.unknown:
                job = {"jid": jid, "error": "not_found", "msg": "no record"}
            elif self.finished(jid):
                state = "cancelled" if jid in self.cancelled else self.states.get(jid, "succeeded")
                job |= {"state": state, "finished": True}
                if sent < self.page:
                    job["result"] = "{}"
                    sent += 1
                else:
                    job["deferred"] = True
            else:
                job["revision"] = "running, attempt 1"
            known = next(asked.get("revision") for asked in request["jobs"] if asked["jid"] == jid)
            unchanged = known is not None and known == job.get("revision")
            jobs.append({"jid": jid, "dir": "/d", "unchanged": True} if unchanged else job)
        return {"now": self.now, "user": "root", "async_dir": "/d", "jobs": jobs}


def wait(host: FakeHost, targets: list[Target] | None = None, **options: t.Any) -> WaitOutcome:
    chosen = (
        targets
        if targets is not None
        else [Target(where=f"jobs[{index}]", jid=jid) for index, jid in enumerate(host.ends)]
    )
    return Waiter(chosen, WaitOptions(**options), host.surroundings(), "web1").run()


def states(outcome: WaitOutcome) -> list[str]:
    return [view["state"] for view in outcome.views]


def test_all_jobs_are_waited_for_in_bounded_calls() -> None:
    host = FakeHost({"j1.1": 5.0, "j1.2": 40.0})
    outcome = wait(host, poll=60.0)
    assert states(outcome) == ["succeeded", "succeeded"]
    assert host.now == pytest.approx(40.0)
    assert outcome.elapsed == pytest.approx(40.0)
    assert max(request["block"] for request in host.requests) == 15.0
    # What has ended is not asked for again.
    assert [len(request["jobs"]) for request in host.requests] == [2, 1, 1]


def test_what_has_ended_can_be_prepared_while_others_run() -> None:
    host = FakeHost({"j1.1": 5.0, "j1.2": 40.0})
    wait(host, [Target(where="jobs", jid="j1.1"), Target(where="jobs", jid="j1.2")])
    assert host.prepared[:2] == [["queued", "queued"], ["succeeded", "running"]]


def test_nothing_to_wait_for_asks_nobody() -> None:
    host = FakeHost({})
    known = {"name": "s", "state": "skipped", "finished": True}
    assert wait(host, [Target(where="jobs", jid=None, known=known)]).views == [known]
    assert host.requests == []


def go_on(host: FakeHost, **options: t.Any) -> WaitOutcome:
    """Wait for the jobs of a host that were launched by a call that began to wait for them."""
    request = first_request(list(host.ends), WaitOptions(**options))
    before = host.now
    begun = Begun(host.call(request), host.now - before)
    targets = [Target(where=f"jobs[{index}]", jid=jid) for index, jid in enumerate(host.ends)]
    waiter = Waiter(targets, WaitOptions(**options), host.surroundings(), "web1")
    waiter.take(begun)
    return waiter.run()


def test_what_the_launch_has_brought_is_not_asked_for_again() -> None:
    host = FakeHost({"j1.1": 0.5, "j1.2": 1.5})
    outcome = go_on(host)
    assert states(outcome) == ["succeeded", "succeeded"]
    assert [request["block"] for request in host.requests] == [5.0]
    assert outcome.elapsed == pytest.approx(1.5)
    assert host.lines == []


def test_a_wait_goes_on_where_the_launch_stopped() -> None:
    host = FakeHost({"j1.1": 1.0, "j1.2": 30.0})
    outcome = go_on(host, poll=10.0)
    assert states(outcome) == ["succeeded", "succeeded"]
    assert outcome.elapsed == pytest.approx(30.0)
    assert [len(request["jobs"]) for request in host.requests] == [2, 1, 1, 1]
    assert host.lines[0] == "[web1] 1/2 finished, 1 running (j1.2 15s)"


def test_the_time_of_a_wait_counts_from_its_launch() -> None:
    host = FakeHost({"j1.1": 30.0})
    outcome = go_on(host, timeout=8.0)
    assert outcome.timed_out
    assert outcome.elapsed == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("options", "block"), [({"timeout": 1.0}, 1.0), ({"poll": 0.5}, 0.5), ({"poll": 0.0}, 5.0), ({}, 5.0)]
)
def test_a_launch_waits_no_longer_than_it_may(options: t.Any, block: float) -> None:
    assert first_request(["j1.1"], WaitOptions(**options))["block"] == block


def test_results_that_the_answer_to_a_launch_had_no_room_for_are_fetched() -> None:
    host = FakeHost({"j1.1": 0.1, "j1.2": 0.1, "j1.3": 0.1}, page=2)
    outcome = go_on(host)
    assert [view.get("result") for view in outcome.views] == ["{}"] * 3
    assert [len(request["jobs"]) for request in host.requests] == [3, 1]


def test_a_call_blocks_no_longer_than_until_the_next_line() -> None:
    host = FakeHost({"j1.1": 12.0})
    wait(host, poll=5.0)
    assert [request["block"] for request in host.requests] == [5.0, 5.0, 5.0]
    assert host.lines == ["[web1] 0/1 finished, 1 running (j1.1 5s)", "[web1] 0/1 finished, 1 running (j1.1 10s)"]


def test_poll_0_prints_nothing() -> None:
    host = FakeHost({"j1.1": 100.0})
    wait(host, poll=0.0)
    assert host.lines == []


def test_any_returns_at_the_first() -> None:
    host = FakeHost({"j1.1": 50.0, "j1.2": 3.0})
    outcome = wait(host, mode="any")
    assert states(outcome) == ["running", "succeeded"]
    assert host.now == pytest.approx(3.0)
    assert host.lines == []


def test_time_runs_out() -> None:
    host = FakeHost({"j1.1": 5.0, "j1.2": 1000.0})
    outcome = wait(host, timeout=20.0)
    assert outcome.timed_out and states(outcome) == ["succeeded", "running"]
    assert host.now == pytest.approx(20.0)
    assert not host.cancelled


def test_time_that_ran_out_may_cancel() -> None:
    host = FakeHost({"j1.1": 5.0, "j1.2": 1000.0})
    outcome = wait(host, timeout=20.0, on_timeout="cancel")
    assert outcome.timed_out and states(outcome) == ["succeeded", "cancelled"]
    assert host.cancelled == {"j1.2"}


def test_results_that_did_not_fit_are_fetched_at_once() -> None:
    host = FakeHost({f"j1.{index}": 1.0 for index in range(5)}, page=2)
    outcome = wait(host)
    assert all(view["result"] == "{}" and not view.get("deferred") for view in outcome.views)
    assert [(len(request["jobs"]), request["block"]) for request in host.requests] == [(5, 10.0), (3, 0.0), (1, 0.0)]


def test_results_are_fetched_though_the_time_is_over() -> None:
    host = FakeHost({f"j1.{index}": 9.0 for index in range(3)}, page=1)
    outcome = wait(host, timeout=9.0)
    assert not outcome.timed_out and states(outcome) == ["succeeded"] * 3


def test_a_dropped_connection_is_made_again() -> None:
    host = FakeHost({"j1.1": 60.0}, outages=[(10.0, 25.0)])
    outcome = wait(host, timeout=100.0)
    assert states(outcome) == ["succeeded"] and outcome.unreachable is None
    assert host.resets >= 3
    assert host.lines[1].startswith("[web1] connection lost, trying again in 1s")


def test_a_host_that_stays_away_is_unreachable_at_the_deadline_with_the_jobs_untouched() -> None:
    host = FakeHost({"j1.1": 60.0}, outages=[(10.0, 9999.0)])
    outcome = wait(host, timeout=100.0, cleanup="ended", on_timeout="cancel")
    assert outcome.unreachable == "no route to host"
    assert states(outcome) == ["running"]
    assert host.now == pytest.approx(100.0)
    assert {request["op"] for request in host.requests} == {"wait"}


def test_a_host_that_never_answered_is_given_up_though_the_wait_has_no_limit() -> None:
    host = FakeHost({"j1.1": 60.0}, outages=[(0.0, 9999.0)])
    assert wait(host).unreachable is not None
    assert host.now == pytest.approx(300.0)


def test_a_job_that_is_not_there_ends_the_wait_and_says_where_was_looked() -> None:
    host = FakeHost({"j1.1": 1000.0, "j1.2": 5.0}, unknown={"j1.2"})
    outcome = wait(host, cleanup="ended")
    assert states(outcome) == ["running", "lost"]
    assert outcome.errors == ["jobs[1]: j1.2 is not in /d of user root"] and outcome.missing
    assert len(host.requests) == 1


@pytest.mark.parametrize(("cleanup", "forgotten"), [("none", []), ("succeeded", ["j1.1"]), ("ended", ["j1.1", "j1.2"])])
def test_cleanup(cleanup: str, forgotten: list[str]) -> None:
    host = FakeHost({"j1.1": 1.0, "j1.2": 2.0}, states={"j1.2": "failed"})
    outcome = wait(host, cleanup=cleanup)
    assert states(outcome) == ["succeeded", "failed"]
    assert [
        job["jid"] for request in host.requests if request["op"] == "forget" for job in request["jobs"]
    ] == forgotten


def test_cleanup_leaves_alone_what_still_runs() -> None:
    host = FakeHost({"j1.1": 1.0, "j1.2": 50.0})
    wait(host, timeout=5.0, cleanup="ended")
    assert [job["jid"] for job in host.requests[-1]["jobs"]] == ["j1.1"]


def test_a_host_that_answers_at_once_is_not_asked_without_a_pause() -> None:
    host = FakeHost({"j1.1": 3.0})
    slow = host.call

    def hasty(request: dict[str, t.Any]) -> dict[str, t.Any]:
        return slow({**request, "block": 0.0})

    surroundings = host.surroundings()
    surroundings.call = hasty
    Waiter([Target(where="jobs", jid="j1.1")], WaitOptions(), surroundings, "web1").run()
    assert len(host.requests) <= 8


@pytest.mark.parametrize("timeout", [0.0, 30.0])
def test_a_host_that_holds_results_back_for_ever_is_given_up(timeout: float) -> None:
    host = FakeHost({"j1.1": 1.0, "j1.2": 2.0}, page=0)
    outcome = wait(host, timeout=timeout)
    assert outcome.errors == [
        f"jobs[{index}]: the host says that j1.{index + 1} has a result, but does not send it" for index in range(2)
    ]
    assert len(host.requests) < 5


def test_results_that_come_one_at_a_time_are_all_fetched_whatever_the_time() -> None:
    host = FakeHost({f"j1.{number}": 1.0 for number in range(9)}, page=1)
    outcome = wait(host, timeout=1.0)
    assert outcome.errors == []
    assert [view.get("deferred") for view in outcome.views] == [None] * 9


def test_a_job_is_called_what_the_controller_calls_it() -> None:
    host = FakeHost({"j1.1": 1.0, "j1.2": 1.0})
    answer = host.call

    def call(request: dict[str, t.Any]) -> dict[str, t.Any]:
        reply = answer(request)
        for job in reply["jobs"]:
            job["name"] = "what the host says"
        return reply

    host.call = call  # type: ignore[method-assign]
    outcome = wait(host, [Target(where="jobs[0]", jid="j1.1", name="mine"), Target(where="jobs[1]", jid="j1.2")])
    assert [view["name"] for view in outcome.views] == ["mine", "what the host says"]


@pytest.mark.parametrize("waited", [-1e9, 1e9])
def test_what_a_launch_says_it_has_waited_does_not_move_the_deadline_far(waited: float) -> None:
    host = FakeHost({"j1.1": 1e6})
    targets = [Target(where="jobs[0]", jid="j1.1")]
    waiter = Waiter(targets, WaitOptions(timeout=60.0), host.surroundings(), "web1")
    waiter.take(Begun(host.call(first_request(["j1.1"], WaitOptions())), waited))
    assert waiter.run().timed_out
    assert 30.0 <= host.now <= 70.0
