# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import requests
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import Job
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import resuming

BATCH = "b482910475620183"


def job(name: str, *depends_on: int, **more: t.Any) -> Job:
    return Job(name, "tasks[0]", "m", 0.0, False, False, depends_on=list(depends_on), **more)


def left(jobs: list[Job], **states: str) -> list[Job]:
    return resuming.left(jobs, answer(*({"name": name, "state": state} for name, state in states.items())), BATCH)


def answer(*views: dict[str, t.Any], troubles: t.Sequence[str] = ()) -> dict[str, t.Any]:
    return {"jobs": list(views), "troubles": list(troubles)}


def test_what_did_not_succeed_is_started_again() -> None:
    jobs = [job(state) for state in ("failed", "succeeded", "timed_out", "cancelled", "lost", "skipped")]
    found = left(jobs, **{one.name: one.name for one in jobs})
    assert [one.name for one in found] == ["failed", "timed_out", "cancelled", "lost", "skipped"]


def test_what_has_no_record_any_more_has_succeeded() -> None:
    assert [one.name for one in left([job("a"), job("b")], b="failed")] == ["b"]


def test_where_all_have_succeeded_nothing_is_left() -> None:
    assert left([job("a")], a="succeeded") == []


def test_jobs_depend_on_those_that_are_started_again() -> None:
    jobs = [job("a"), job("b"), job("c", 0, 1), job("d", 2), job("e", 0)]
    found = left(jobs, a="succeeded", b="failed", c="skipped", d="skipped", e="failed")
    assert {one.name: one.depends_on for one in found} == {"b": [], "c": [0], "d": [1], "e": []}
    assert [one.skip for one in found] == [None] * 4


def test_what_is_there_for_a_failure_does_not_run_where_there_was_none() -> None:
    jobs = [job("a"), job("b", 0, run_when="failure"), job("c", 0, run_when="always")]
    found = left(jobs, a="succeeded", b="skipped", c="failed")
    assert [(one.name, one.skip) for one in found] == [("b", "what it depends on had already succeeded"), ("c", None)]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_what_runs_is_not_started_again(state: str) -> None:
    with pytest.raises(Refused, match=f"1 of the jobs of batch {BATCH} have not ended: a[.] Wait"):
        left([job("a"), job("b")], a=state, b="failed")


def test_a_batch_that_is_not_known_is_an_error() -> None:
    with pytest.raises(Refused, match=f"no record of batch {BATCH}"):
        left([job("a")])


def test_a_job_whose_record_cannot_be_read_is_told_as_that() -> None:
    unread = {"jid": "j482910475620183.1", "error": "not_found", "msg": "could not look for job j482910475620183.1: no"}
    with pytest.raises(
        Refused, match=r"is not fully known: could not look for job j482910475620183.1: no. Leave"
    ) as refused:
        resuming.left([job("a"), job("b")], answer({"name": "a", "state": "failed"}, unread), BATCH)
    assert "None" not in str(refused.value)


def test_a_batch_whose_record_cannot_be_read_is_not_said_to_have_none() -> None:
    troubles = [f"the record of batch {BATCH} can't be read: batch.json is damaged"]
    with pytest.raises(Refused, match=r"is not fully known: the record of batch .* damaged"):
        resuming.left([job("a")], answer(troubles=troubles), BATCH)


def test_troubles_with_other_batches_are_no_reason() -> None:
    view = {"name": "a", "state": "failed"}
    assert len(resuming.left([job("a")], answer(view, troubles=["the record of batch b can't be read"]), BATCH)) == 1


def test_what_still_runs_of_a_lost_job_is_no_reason_to_start_another() -> None:
    view = {"name": "a", "state": "lost", "processes": 2}
    with pytest.raises(
        Refused, match=r"1 of the jobs .* were lost, but some of their processes still run: a[.] End them"
    ):
        resuming.left([job("a")], answer(view), BATCH)
    assert len(resuming.left([job("a")], answer({**view, "processes": 0}), BATCH)) == 1


def test_the_request_is_one() -> None:
    requests.check(resuming.request(BATCH), ("list",))
