# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._model import Block, Body, Job, Step
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import preview


def step(check_mode: bool = True, **more: t.Any) -> Step:
    return Step(None, {}, {}, check_mode, False, False, **more)


def job(name: str, *body: Step | Block, **more: t.Any) -> Job:
    steps: Body = list(body) or [step()]
    return Job(name, "tasks[0]", "m", 0.0, False, False, body=steps, **more)


def test_the_jobs_that_would_be_started_are_named() -> None:
    jobs = [job("a"), job("no", skip="its condition was false"), job("b")]
    assert preview.sentence(jobs) == "2 jobs would be started: a, b."
    assert preview.difference(jobs) == {"prepared": "jobs that would be started\n+ a\n+ b\n"}


def test_those_that_really_run_are_told_apart() -> None:
    half = Block([step(False), step(True)])
    whole = Block([step(False)], [step(False)], [step(True, skip="no")])
    jobs = [job("half", half), job("whole", whole), job("one", step(False))]
    assert preview.sentence(jobs) == (
        "1 job would be started: half. 2 jobs have 'check_mode: false' and really run: whole, one."
    )
    assert preview.difference(jobs) == {"prepared": "jobs that would be started\n+ half\n"}


@pytest.mark.parametrize(("modes", "is_real"), [([False, False], True), ([False, True], False), ([], False)])
def test_of_a_job_that_the_host_works_out_all_tasks_count(modes: list[bool], is_real: bool) -> None:
    body: list[t.Any] = [{"kind": "task", "check_mode": mode, "turns": [{"step": step(mode)}]} for mode in modes]
    body.append({"kind": "task", "check_mode": True, "turns": [{"local": "debug"}, {"skip": "no"}]})
    scripted = Job("scripted", "tasks[0]", "block", 0.0, False, False, script={"body": [{"block": body}]})
    told = "1 job has 'check_mode: false' and really runs" if is_real else "1 job would be started"
    assert preview.sentence([scripted]) == f"{told}: scripted."


def test_many_are_told_in_short() -> None:
    jobs = [job(f"job {number}\n" + "x" * 100) for number in range(500)]
    said = preview.sentence(jobs)
    assert said.startswith("500 jobs would be started: job 0 xxx")
    assert said.endswith("… and 490 more.")
    assert len(said) < 1000
    assert preview.difference(jobs)["prepared"].splitlines()[-1] == "+ and 300 more"
