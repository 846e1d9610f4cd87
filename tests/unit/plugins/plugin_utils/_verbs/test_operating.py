# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import signal
import typing as t

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import requests
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import operating
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.operating import Selection
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import Surroundings

JID = "j123456789012345.0"


def job(number: int = 0, state: str = "running", **more: t.Any) -> dict[str, t.Any]:
    jid = f"j123456789012345.{number}"
    about = {"jid": jid, "dir": "/d", "name": f"job {number}", "state": state, "batch_id": "b123456789012345"}
    return {**about, "finished": state not in ("queued", "running"), "ignore_errors": False, **more}


OPS = ("wait", "cancel", "list", "forget", "prune")


class Host:
    """Answers each request with the next of its replies."""

    def __init__(self, *replies: list[dict[str, t.Any]], **more: t.Any) -> None:
        self.replies = [{"jobs": jobs, "now": 0.0, "user": "me", "async_dir": "/d", **more} for jobs in replies]
        self.requests: list[dict[str, t.Any]] = []

    def call(self, request: dict[str, t.Any]) -> dict[str, t.Any]:
        requests.check(request, OPS)
        self.requests.append(json.loads(json.dumps(request)))
        return self.replies.pop(0)

    def surroundings(self) -> Surroundings:
        return Surroundings(
            call=self.call, reset=lambda: None, clock=lambda: 0.0, sleep=lambda dummy: None, say=lambda *dummy: None
        )


def select(everything: bool = False, core: bool = False, **options: t.Any) -> Selection:
    return Selection.of(options, everything, core)


def test_a_selection_by_jobs_names_them_one_by_one() -> None:
    request = select(jobs=[JID, {"skipped": True}]).request("list")
    assert request["jobs"] == [{"jid": JID, "dir": None}]
    assert "select" not in request


def test_a_selection_by_what_fits_is_left_to_the_host() -> None:
    request = select(name=["a*"], state=["failed"], older_than="60.0", core=True).request("list")
    assert request["select"] == {
        "names": ["a*"],
        "batch_ids": None,
        "states": ["failed"],
        "older_than": 60.0,
        "newer_than": None,
        "core": True,
    }
    assert "jobs" not in request


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Say which jobs"),
        ({"jobs": JID, "name": ["a"]}, "Option 'name': 'jobs' already says"),
        ({"jobs": JID, "all": True}, "Option 'all'"),
        ({"state": ["sleeping"]}, "'sleeping' is not a state"),
        ({"jobs": ["x"]}, "is not a job"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(options: dict[str, t.Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        select(**options)


def test_jobs_are_listed_with_what_is_for_the_playbook() -> None:
    host = Host([job(0, "failed", msg="rc 1"), job(1, pid=7, name=None, batch_id=None)], troubles=["a batch"])
    result = operating.info(host.call, select(everything=True))
    assert result["jobs"][0] == {
        "name": "job 0",
        "ansible_job_id": JID,
        "state": "failed",
        "finished": True,
        "msg": "rc 1",
        "batch_id": "b123456789012345",
    }
    assert (result["jobs"][1]["name"], result["jobs"][1]["pid"]) == ("j123456789012345.1", 7)
    assert (result["counts"]["failed"], result["counts"]["running"], result["changed"]) == (1, 1, False)
    assert result["warnings"] == ["a batch"]


def test_the_last_lines_are_asked_for_and_told() -> None:
    printed = {"stdout": "a", "stdout_lines": ["a"], "stderr": "", "stderr_lines": [], "output_size": 2}
    host = Host([job(**printed)], [job()])
    assert printed.items() <= operating.info(host.call, select(everything=True), tail=1)["jobs"][0].items()
    assert "stdout" not in operating.info(host.call, select(everything=True))["jobs"][0]
    assert [request.get("tail") for request in host.requests] == [1, None]


def test_what_cannot_be_found_fails() -> None:
    host = Host([job(error="not_found", msg="could not find it")])
    assert operating.info(host.call, select(jobs=JID))["msg"] == "could not find it"


def test_the_newest_of_jobs_of_one_name_is_waited_for() -> None:
    old, new = (dict(job(number), batch_id=f"b{number}", name="same") for number in (0, 1))
    targets, warnings = operating.targets_of({"name": ["same"]}, Host([old, job(2), new]).call)
    assert [target.jid for target in targets] == ["j123456789012345.2", "j123456789012345.1"]
    assert warnings == []


def test_items_of_one_loop_are_all_waited_for() -> None:
    targets, dummy = operating.targets_of({"batch_id": ["b123456789012345"]}, Host([job(0), job(1)]).call)
    assert len(targets) == 2


def test_to_wait_for_nobody_is_refused_unless_that_is_fine() -> None:
    with pytest.raises(Refused, match=r"no jobs with name 'a', 'b\*' and batch_id 'c'"):
        operating.targets_of({"name": ["a", "b*"], "batch_id": ["c"], "missing_ok": False}, Host([]).call)
    assert operating.targets_of({"name": ["a"], "missing_ok": True}, Host([]).call) == ([], [])
    with pytest.raises(Refused, match="Say which jobs"):
        operating.targets_of({}, Host().call)
    with pytest.raises(Refused, match="'jobs' already says"):
        operating.targets_of({"jobs": JID, "batch_id": ["c"]}, Host().call)


def test_what_has_ended_is_removed_and_nothing_else() -> None:
    ended, running = job(0, "succeeded"), job(1)
    host = Host([ended, running], [dict(ended, forgotten=True)])
    result = operating.prune(host.call, select(everything=True), False)
    assert (result["changed"], [one["name"] for one in result["jobs"]]) == (True, ["job 0"])
    assert result["msg"] == "The record of 1 job was removed."
    assert [(request["op"], request["remove"]) for request in host.requests] == [("prune", False), ("prune", True)]
    assert host.requests[1]["jobs"] == [{"jid": JID, "dir": "/d"}]


def test_what_somebody_else_has_removed_meanwhile_is_no_change() -> None:
    host = Host([job(0, "failed")], [job(0, "failed", forgotten=False)])
    result = operating.prune(host.call, select(everything=True), False)
    assert (result["changed"], result["jobs"]) == (False, [])


def test_in_check_mode_nothing_is_removed() -> None:
    host = Host([job(0, "failed"), job(1, "lost")])
    result = operating.prune(host.call, select(everything=True), True)
    assert (result["changed"], result["msg"], len(host.requests)) == (
        True,
        "The records of 2 jobs would be removed.",
        1,
    )


def test_leftovers_are_removed_and_counted_where_no_job_is_named() -> None:
    host = Host([], [], leftovers=["/d/x", "/d/y"], troubles=["one is left alone"])
    result = operating.prune(host.call, select(everything=True, older_than="9"), False)
    assert (result["changed"], result["leftovers"]) == (True, 2)
    assert result["msg"] == "The records of 0 jobs and 2 leftovers were removed."
    assert result["warnings"] == ["one is left alone"]
    assert [request["leftovers"]["older_than"] for request in host.requests] == [9.0, 9.0]
    checked = operating.prune(Host([], leftovers=["/d/x"]).call, select(everything=True), True)
    assert (checked["changed"], checked["leftovers"]) == (True, 1)
    assert checked["msg"] == "The records of 0 jobs and 1 leftover would be removed."
    host = Host([job(0, "failed")], [job(0, "failed", forgotten=True)])
    assert operating.prune(host.call, select(jobs=JID), False)["leftovers"] == 0
    assert "leftovers" not in host.requests[0] and "leftovers" not in host.requests[1]


def test_the_record_of_a_lost_job_that_still_runs_is_kept_and_told_of() -> None:
    host = Host([job(0, "lost", processes=1), job(1, "lost")], [job(1, "lost", forgotten=True)])
    result = operating.prune(host.call, select(everything=True), False)
    assert [one["name"] for one in result["jobs"]] == ["job 1"]
    assert result["warnings"] == [
        "The record of job 0 is kept: the job is lost, but some of its processes still run. async_cancel ends them."
    ]
    assert len(host.requests[1]["jobs"]) == 1


CANCEL = {"signal": "TERM", "grace": 3.0, "poll": 0.0}


def test_jobs_are_cancelled_and_waited_for() -> None:
    first = [job(0, asked=True), job(1, "succeeded", result='{"changed": true}')]
    host = Host(first, [job(0, "cancelled", msg="cancelled while it ran")])
    result = operating.cancel(host.surroundings(), select(everything=True), CANCEL, "web1", False)
    assert (result["changed"], result["msg"]) == (True, "1 job cancelled.")
    assert [one["state"] for one in result["jobs"]] == ["cancelled", "succeeded"]
    assert "failed" not in result
    assert [(request["op"], request.get("grace")) for request in host.requests] == [("cancel", 3.0), ("wait", None)]
    assert host.requests[0]["signal"] == signal.SIGTERM


def test_what_ended_by_itself_is_no_change() -> None:
    host = Host([job(0, asked=True)], [job(0, "succeeded", result="{}")])
    result = operating.cancel(host.surroundings(), select(everything=True), CANCEL, "web1", False)
    assert (result["changed"], result["msg"]) == (False, "0 jobs cancelled.")


class Slow(Host):
    """Says the same for ever; each call takes as long as it may."""

    now = 0.0

    def call(self, request: dict[str, t.Any]) -> dict[str, t.Any]:
        requests.check(request, OPS)
        self.requests.append(json.loads(json.dumps(request)))
        self.now += request["block"]
        asked = {one["jid"] for one in request.get("jobs", self.replies[0]["jobs"])}
        return {**self.replies[0], "jobs": [one for one in self.replies[0]["jobs"] if one["jid"] in asked]}

    def surroundings(self) -> Surroundings:
        def sleep(seconds: float) -> None:
            self.now += seconds

        return Surroundings(
            call=self.call, reset=lambda: None, clock=lambda: self.now, sleep=sleep, say=lambda *dummy: None
        )


@pytest.mark.parametrize(
    ("state", "limit", "words"),
    [
        ({"supervisor": 4711}, 33.0, "its supervisor, process 4711, may be stopped: 'kill -CONT 4711'"),
        ({"supervisor": 4711, "always_timeout": 100}, 133.0, "process 4711"),
        ({"ending": [[77, 5], [78, 6]]}, 33.0, "what it started survives SIGKILL: process 77, 78"),
    ],
)
def test_what_does_not_end_is_waited_for_no_longer_than_its_time_and_then_named(
    state: dict[str, t.Any], limit: float, words: str
) -> None:
    host = Slow([job(0, asked=True, **state), job(1, "succeeded")])
    result = operating.cancel(host.surroundings(), select(everything=True), CANCEL, "web1", False)
    assert limit <= host.now <= limit + 1
    assert result["failed"] and not result["changed"]
    assert result["msg"].startswith(f"After {limit:g} s, some jobs have not ended: job 0 (")
    assert words in result["msg"] and "job 1" not in result["msg"]
    assert not {"supervisor", "ending", "always_timeout"}.intersection(*result["jobs"])
    assert max(request["block"] for request in host.requests) <= 15


def test_what_has_no_supervisor_is_looked_after_until_it_is_gone() -> None:
    left = job(0, "lost", ended_processes=1, ending=[[77, 5]])
    host = Host([left], [left], [job(0, "lost")])
    result = operating.cancel(host.surroundings(), select(everything=True), CANCEL, "web1", False)
    assert "failed" not in result
    told = [
        (request["op"], request.get("told"), request["grace"], request["jobs"][0]["ending"])
        for request in host.requests[1:]
    ]
    assert told == [("cancel", True, 3.0, [[77, 5]])] * 2


def test_what_still_runs_of_a_lost_job_is_ended_and_that_is_told() -> None:
    host = Host([job(0, "lost", ended_processes=3)], [job(0, "lost")])
    result = operating.cancel(host.surroundings(), select(everything=True), CANCEL, "web1", False)
    assert (result["changed"], result["jobs"][0]["state"]) == (True, "lost")
    assert result["msg"] == "0 jobs cancelled. 3 processes that lost jobs had left were ended."

    host = Host([job(0, "lost", processes=3), job(1, "lost")])
    result = operating.cancel(host.surroundings(), select(everything=True), CANCEL, "web1", True)
    assert (result["changed"], result["msg"]) == (True, "1 job would be cancelled.")


def test_the_record_of_a_lost_job_of_which_something_runs_is_not_pruned() -> None:
    host = Host([job(0, "lost", processes=3), job(1, "lost")], [{**job(1, "lost"), "forgotten": True}])
    result = operating.prune(host.call, select(everything=True), False)
    assert [one["name"] for one in result["jobs"]] == ["job 1"]
    assert [one["jid"] for one in host.requests[1]["jobs"]] == [job(1)["jid"]]


def test_in_check_mode_nothing_is_cancelled() -> None:
    host = Host([job(0), job(1, "failed")])
    result = operating.cancel(host.surroundings(), select(everything=True), CANCEL, "web1", True)
    assert (result["changed"], result["msg"], host.requests[0]["op"]) == (True, "1 job would be cancelled.", "list")


@pytest.mark.parametrize(
    ("value", "number"), [("TERM", 15), ("sigint", 2), ("9", 9), (1, 1), ("HUP", 1), ("SIGUSR1", signal.SIGUSR1)]
)
def test_signals(value: object, number: int) -> None:
    assert operating.signal_number(value) == number


@pytest.mark.parametrize("value", ["NONSENSE", "0", "-9", "99", "", "1.5"])
def test_what_is_no_signal_is_refused(value: str) -> None:
    with pytest.raises(Refused, match="is not a signal"):
        operating.signal_number(value)
