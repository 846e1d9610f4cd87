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
    return resuming.left(jobs, [{"name": name, "state": state} for name, state in states.items()], BATCH)


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
    assert [(one.name, one.skip) for one in found] == [("b", "what it depends on has succeeded before"), ("c", None)]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_what_runs_is_not_started_again(state: str) -> None:
    with pytest.raises(Refused, match=f"1 of the jobs of batch {BATCH} have not ended: a[.] Wait"):
        left([job("a"), job("b")], a=state, b="failed")


def test_a_batch_that_is_not_known_is_an_error() -> None:
    with pytest.raises(Refused, match=f"no record of batch {BATCH}"):
        left([job("a")])


def test_the_request_is_one() -> None:
    requests.check(resuming.request(BATCH), ("list",))
