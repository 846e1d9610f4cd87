# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.template import Templar

from ansible_collections.background.jobs.plugins.plugin_utils._host import codec
from ansible_collections.background.jobs.plugins.plugin_utils._host.codec import Decoded
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import report
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import WaitOutcome


def view(
    name: str, state: str = "succeeded", result: dict[str, t.Any] | None = None, **more: t.Any
) -> dict[str, t.Any]:
    job = {
        "name": name,
        "ansible_job_id": "j1.0",
        "state": state,
        "finished": state not in ("queued", "running"),
        "source": "background.jobs",
        "attempts": 1,
    }
    return {**job, "result": None if result is None else json.dumps(result), **more}


def build(
    *views: dict[str, t.Any], on_timeout: str = "fail", timeout: float = 0.0, **outcome: t.Any
) -> dict[str, t.Any]:
    return report.build(WaitOutcome(views=list(views), **outcome), report.Entries(decode), on_timeout, timeout)


def decode(text: str, state: str) -> Decoded:
    return Decoded(json.loads(text))


MAKE = {"rc": 2, "stderr": "make: x\nmake: *** No targets\n", "msg": "non-zero return code", "changed": True}


def test_the_message_of_the_design() -> None:
    result = build(view("nginx", "failed", MAKE), *[view(f"n{index}", result={"changed": False}) for index in range(9)])
    assert result["msg"] == "1 of 10 jobs failed: nginx (rc 2: make: *** No targets). 9 succeeded."
    assert (result["failed"], result["changed"], result["failed_jobs"]) == (True, True, ["nginx"])
    assert (result["counts"]["failed"], result["counts"]["succeeded"], result["counts"]["lost"]) == (1, 9, 0)
    assert "results" not in result and "ansible_facts" not in result


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([], "There were no jobs to wait for."),
        ([view("a")], "1 job succeeded."),
        ([view("a"), view("b")], "2 jobs succeeded."),
        (
            [view("a", "queued", pool="p", in_line=True, msg="waits for a place in pool p"), view("b", "queued")],
            "2 of 2 jobs did not finish yet: a (waits for a place in pool p), b. Running jobs continue.",
        ),
        ([view("a"), view("b", "skipped")], "1 job succeeded. 1 skipped."),
        ([view("b", "skipped")], "1 job skipped."),
        ([view("a", "failed", MAKE, ignore_errors=True), view("b")], "1 failed and is ignored. 1 succeeded."),
        (
            [view("a", "timed_out", msg="it ran longer than 5 s."), view("b", "lost", msg="gone")],
            "1 of 2 jobs timed out: a (it ran longer than 5 s). 1 lost: b (gone).",
        ),
        (
            [view(f"j{index}", "failed", {"msg": "boom"}) for index in range(7)],
            "7 of 7 jobs failed: j0 (boom), j1 (boom), j2 (boom), j3 (boom), j4 (boom) and 2 more.",
        ),
    ],
)
def test_messages(views: list[dict[str, t.Any]], message: str) -> None:
    assert build(*views)["msg"] == message


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (MAKE, "rc 2: make: *** No targets"),
        ({"rc": 3, "stdout": "said so\n\n", "msg": "non-zero return code"}, "rc 3: said so"),
        ({"rc": 3, "stderr": "", "stdout": "", "msg": "non-zero return code"}, "rc 3"),
        ({"rc": 1, "msg": "no package"}, "rc 1: no package"),
        ({"msg": "Could not find the requested service x: host"}, "Could not find the requested service x: host"),
        ({"msg": ["a", "b"]}, "['a', 'b']"),
        ({}, "failed"),
        (None, "failed"),
    ],
)
def test_why_a_job_failed(result: dict[str, t.Any] | None, expected: str) -> None:
    assert build(view("a", "failed", result))["jobs"][0]["msg"] == expected


def test_what_the_host_says_for_us_alone_stays_out() -> None:
    (job,) = build(
        view(
            "a", "running", running_for=1.0, deferred=True, no_log=False, batch_id="b", module="m", ignore_errors=False
        )
    )["jobs"]
    assert set(job) == {"name", "ansible_job_id", "state", "finished", "attempts", "changed"}


def test_skipped_is_no_failure_and_ignored_is_not_listed() -> None:
    result = build(
        view("a", "skipped", msg="its condition was false: x"), view("b", "failed", MAKE, ignore_errors=True)
    )
    assert (result["failed"], result["failed_jobs"], result["counts"]["failed"]) == (False, [], 1)


@pytest.mark.parametrize(("on_timeout", "failed"), [("fail", True), ("return", False)])
def test_time_out(on_timeout: str, failed: bool) -> None:
    result = build(view("a"), view("b", "running"), timed_out=True, on_timeout=on_timeout, timeout=600.0)
    assert result["failed"] is failed
    assert result["msg"] == "1 of 2 jobs did not finish within 10m00s: b. Running jobs continue. 1 succeeded."


def test_unreachable_gives_the_ids() -> None:
    result = build(view("a", "running"), unreachable="timed out")
    assert result["unreachable"] is True
    assert "j1.0" in result["msg"] and "timed out" in result["msg"]


def test_errors_come_with_what_to_check_said_once() -> None:
    result = build(view("a", "lost", msg="x"), errors=["jobs[0]: j1.0 is not in /d of user root"], missing=True)
    assert result["failed"] is True
    assert result["msg"].startswith("Cannot wait for 1 of 1 job: jobs[0]: j1.0 is not in /d of user root. Check that")


def test_warnings_are_lifted_once_each() -> None:
    warned = {"warnings": ["careful"], "deprecations": [{"msg": "old"}]}
    result = build(view("a", result=warned), view("b", result=warned), warnings=["own"])
    assert result["warnings"] == ["careful", "own"]
    assert result["deprecations"] == [{"msg": "old"}]


def told(state: str = "succeeded", result: dict[str, t.Any] | None = None, **more: t.Any) -> dict[str, t.Any]:
    return {"name": "one", "section": "block", "state": state, "result": json.dumps(result or {}), **more}


def test_a_block_comes_with_all_of_its_tasks_and_has_changed_where_one_of_them_has() -> None:
    tasks = {
        "rescued": True,
        "results": [told("failed", MAKE), told(result={"changed": False, "warnings": ["careful"]})],
    }
    result = build(view("nginx", result={"changed": False}, tasks=json.dumps(tasks)))
    (job,) = result["jobs"]
    assert [entry["state"] for entry in job["results"]] == ["failed", "succeeded"]
    assert job["results"][0]["result"] == MAKE
    assert job["results"][0]["msg"] == "rc 2: make: *** No targets"
    assert (job["changed"], job["rescued"], result["failed"]) == (True, True, False)
    assert "tasks" not in job
    assert result["warnings"] == ["careful"]


def test_a_last_task_whose_failure_is_ignored_has_its_result_untouched() -> None:
    tasks = {"rescued": False, "results": [told("failed", {**MAKE, "failed": True}, ignored=True)]}
    result = build(view("nginx", result={**MAKE, "failed": False}, tasks=json.dumps(tasks)))
    assert (result["jobs"][0]["state"], result["jobs"][0]["result"]["failed"]) == ("succeeded", True)
    assert not result["failed"]


def test_the_message_names_the_task_that_failed_its_block() -> None:
    tasks = {
        "rescued": False,
        "culprit": 1,
        "results": [told("failed", ignored=True), told("failed", MAKE) | {"name": "make"}],
    }
    result = build(view("nginx", "failed", MAKE, tasks=json.dumps(tasks)))
    assert result["msg"] == "1 of 1 job failed: nginx (make: rc 2: make: *** No targets)."
    assert "rescued" not in result["jobs"][0]


def test_what_is_final_is_decoded_once_and_what_is_not_again() -> None:
    decoded: list[str] = []
    entries = report.Entries(lambda text, state: (decoded.append(text), decode(text, state))[1])
    ended, deferred = view("a", result={"rc": 0}), view("b", deferred=True)
    entries.prepare([ended, deferred, view("c", "running")])
    entries.prepare([ended, deferred, view("c", "running")])
    assert len(decoded) == 1

    views = [ended, view("b", result={"rc": 1}), view("c", "failed", {"rc": 2})]
    jobs = report.build(WaitOutcome(views=views), entries)["jobs"]
    assert [(job["state"], job["result"]["rc"]) for job in jobs] == [("succeeded", 0), ("succeeded", 1), ("failed", 2)]
    assert len(decoded) == 3


def test_what_ansible_does_not_take_has_failed() -> None:
    outcome = WaitOutcome(views=[view("a", result={"a": 1})])
    result = report.build(
        outcome, report.Entries(lambda *dummy: Decoded({"failed": True, "changed": False, "msg": "no text"}))
    )
    assert (result["jobs"][0]["state"], result["failed_jobs"]) == ("failed", ["a"])


def test_nor_does_a_task_of_a_block_that_ansible_does_not_take_succeed() -> None:
    refused = Decoded({"failed": True, "changed": False, "msg": "no text"})
    tasks = {"rescued": False, "results": [told("succeeded", {"own": 1}), told("skipped", {"skipped": True})]}
    outcome = WaitOutcome(views=[view("a", result={"a": 1}, tasks=json.dumps(tasks))])
    entries = report.Entries(lambda text, state: refused if "own" in text else codec.decode_result(text, state))
    result = report.build(outcome, entries)
    first, second = result["jobs"][0]["results"]
    assert (first["state"], first["msg"]) == ("failed", "no text")
    assert (second["state"], second["result"]) == ("skipped", {"skipped": True, "changed": False, "failed": False})


@pytest.mark.parametrize(("word", "changed"), [("no", False), ("yes", True), (0, False), (True, True)])
def test_a_module_may_say_in_a_word_whether_it_changed_something(word: object, changed: bool) -> None:
    assert build(view("a", result={"changed": word}))["changed"] is changed


def test_the_host_knows_best_why_there_is_no_result() -> None:
    outcome = WaitOutcome(views=[view("a", "failed", {"a": 1})])
    killed = Decoded({"failed": True, "msg": "no json", "rc": 137}, "was killed")
    result = report.build(outcome, report.Entries(lambda *dummy: killed))
    assert result["jobs"][0]["msg"] == "was killed"
    assert result["jobs"][0]["result"]["msg"] == "no json"


# As modules print them.
EVENT = {"__ansible_type": "Event", "msg": "old", "formatted_source_context": None, "formatted_traceback": None}
WARNING = {"__ansible_type": "WarningSummary"}
RESULT = {"failed": True, "msg": "why", "of": "the task"}
DEPRECATION = {"__ansible_type": "DeprecationSummary", "version": "9.0.0", "date": None}


def final(**more: t.Any) -> str:
    """Return what a host tells of a job with a script."""
    entries = [
        {"name": "a", "state": "succeeded", "changed": True, "result": json.dumps({"changed": True, "n": 1})},
        {"name": "b", "state": "succeeded", "changed": False, "result": json.dumps({"changed": False, "n": 2})},
        {"name": "c", "state": "failed", "changed": False, "result": json.dumps(RESULT)},
    ]
    told = {
        "final": True,
        "rescued": False,
        "results": entries,
        "registered": {"one": {"entry": 0}, "all": {"entries": [0, 1], "more": {"changed": True}}},
        "facts": {"x": 1, "y": 2},
        "cacheable": ["y"],
        "gathered": ["x"],
        "notified": ["h"],
    }
    return json.dumps({**told, **more})


def test_what_a_job_with_a_script_hands_back() -> None:
    job = report.job_of(view("j", "failed", {"failed": True, "msg": "why"}, tasks=final(culprit=2)), decode)
    assert job["registered"] == {
        "one": {"changed": True, "n": 1},
        "all": {"changed": True, "results": [{"changed": True, "n": 1}, {"changed": False, "n": 2}]},
    }
    assert (job["facts"], job["cacheable"], job["notified"]) == ({"x": 1, "y": 2}, ["y"], ["h"])
    assert job["gathered"] == ["x"]
    assert (job["changed"], job["msg"]) == (True, "c: why")
    assert job["result"] == RESULT  # and not what its results file makes of it
    assert [entry["result"].get("n") for entry in job["results"]] == [1, 2, None]


def test_a_job_of_one_task_is_told_as_that() -> None:
    entry = [{"name": "a", "state": "succeeded", "changed": True, "result": json.dumps({"changed": True, "n": 1})}]
    told = final(results=entry, registered={}, alone=True, facts={}, cacheable=[], notified=[])
    job = report.job_of(view("j", result={"changed": False}, tasks=told), decode)
    assert job["result"] == {"changed": True, "n": 1} and job["changed"]
    assert "results" not in job and "cacheable" not in job


def test_messages_in_what_is_registered_are_those_that_a_task_would_register() -> None:
    said = {
        "warnings": [{**WARNING, "event": {**EVENT, "msg": "odd"}}],
        "deprecations": [{**DEPRECATION, "event": EVENT}],
    }
    entry = {"name": "a", "state": "succeeded", "changed": False, "result": json.dumps({"n": 1, **said})}
    job = report.job_of(view("j", result={}, tasks=final(results=[entry], registered={"one": {"entry": 0}})), decode)
    seen = Templar(variables=job["registered"]).resolve_variable_expression("one")
    assert seen["warnings"] == ["odd"]
    assert [(told["msg"], told["version"]) for told in seen["deprecations"]] == [("old", "9.0.0")]


def test_messages_of_the_items_of_a_loop_may_stand_beside_them_alone() -> None:
    entry = {"name": "a", "state": "succeeded", "changed": False, "result": json.dumps({"n": 1, "warnings": ["odd"]})}
    loop = {"entries": [0], "more": {"warnings": ["odd"]}, "without": ["warnings"]}
    job = report.job_of(view("j", result={}, tasks=final(results=[entry], registered={"all": loop})), decode)
    assert job["registered"] == {"all": {"warnings": ["odd"], "results": [{"n": 1}]}}
    assert job["results"][0]["result"]["warnings"] == ["odd"]


def test_what_jobs_hand_on_to_the_play() -> None:
    jobs = [
        {"facts": {"a": 1, "b": 1}, "notified": ["x", "y"]},
        {},
        {"facts": {"b": 2, "c": 3, "d": 4}, "cacheable": ["c"], "gathered": ["d"], "notified": ["y", "z"]},
    ]
    assert report.to_hand_on(jobs) == ({"a": 1, "b": 2, "c": 3}, {"c": 3, "d": 4}, ["x", "y", "z"])


def test_facts_that_modules_of_a_plain_job_return_are_told() -> None:
    job = report.job_of(view("j", result={"changed": False, "ansible_facts": {"ansible_kernel": "x"}}), decode)
    assert (job["facts"], job["gathered"]) == ({"ansible_kernel": "x"}, ["ansible_kernel"])
    assert "facts" not in report.job_of(view("j", result={"changed": False, "ansible_facts": "odd"}), decode)
