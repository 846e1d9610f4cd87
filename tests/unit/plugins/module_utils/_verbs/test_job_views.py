# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of jobs."""

from __future__ import annotations

import json
import os

from ansible_collections.background.jobs.plugins.module_utils._verbs import asked_jobs, job_views

from ..conftest import ask as serve
from ..conftest import named, until
from .conftest import finish


def ask(async_dir, jids, **settings):
    return serve(async_dir, "wait", **dict(named(*jids), **settings))["jobs"]


def test_results_beyond_the_limit_are_deferred_and_a_large_one_comes_alone(tmp_path):
    for name in ("j1.1", "j1.2", "j1.3"):
        finish(tmp_path / name, {"stdout": "x" * 1000})
    answers = ask(tmp_path, ["j1.1", "j1.2", "j1.3"], max_bytes=1500)
    assert ["result" in answer for answer in answers] == [True, True, False]
    assert [answer.get("deferred", False) for answer in answers] == [False, False, True]
    assert "result" in ask(tmp_path, ["j1.3"], max_bytes=1)[0]


def test_results_are_read_as_jobs_end_and_only_once(batch, tmp_path, monkeypatch):
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    some = batch(["result['n'] = 1", "open(%r).read(); result['n'] = 2" % gate])
    until(lambda: some.wait(block=0.1)[0]["finished"])
    asked = asked_jobs.AskedJobs(named(*some.jids()), some.async_dir)
    asked.refresh(look_for_processes=True)
    read, really = [], job_views.result_text
    monkeypatch.setattr(job_views, "result_text", lambda job, state: read.append(job.index) or really(job, state))
    results = job_views.Results(asked, max_bytes=1 << 20)
    results.read_on()
    assert read == [0]
    with open(gate, "w"):
        pass
    some.wait()
    asked.refresh(look_for_processes=True)
    read.clear()
    assert [json.loads(one["result"])["n"] for one in results.views()] == [1, 2]
    assert read == [1]


def test_no_more_is_read_ahead_than_one_answer_may_have(batch, monkeypatch):
    done = batch(["result['n'] = 'x' * 1000"] * 5)
    done.wait()
    asked = asked_jobs.AskedJobs(named(*done.jids()), done.async_dir)
    asked.refresh(look_for_processes=True)
    results = job_views.Results(asked, max_bytes=1500)
    results.read_on()
    results.read_on()
    assert len(results._read) == 2
    assert ["result" in one for one in results.views()] == [True, True, False, False, False]


def test_what_has_not_changed_is_not_told_again(batch, tmp_path):
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    some = batch(["open(%r).read(); result['n'] = 1" % gate, "result['n'] = 2"], concurrency=1)
    until(lambda: some.wait(block=0.1)[0]["state"] == "running")

    def ask_again(answers):
        jobs = [dict(asked, revision=told["revision"]) for asked, told in zip(named(*some.jids())["jobs"], answers)]
        return serve(some.async_dir, "wait", jobs=jobs, block=0)["jobs"]

    first = serve(some.async_dir, "wait", **named(*some.jids()), block=0)["jobs"]
    assert [one["state"] for one in first] == ["running", "queued"]
    again = ask_again(first)
    assert [set(one) for one in again] == [{"jid", "dir", "unchanged"}] * 2
    with open(gate, "w"):
        pass
    some.wait()
    assert [json.loads(one["result"])["n"] for one in ask_again(first)] == [1, 2]


def test_another_attempt_and_a_place_in_line_are_told(tmp_path):
    asked = asked_jobs.AskedJobs(named(), str(tmp_path))
    job = asked_jobs.AskedJob("j1.1", str(tmp_path))
    seen = set()
    for state in (
        {"state": "queued"},
        {"state": "queued", "in_line": True},
        {"state": "running"},
        {"state": "running", "attempts": 2},
    ):
        asked.state = lambda job, state=state: state
        seen.add(job_views._revision(asked, job))
    assert len(seen) == 4
    asked.state = lambda job: {"state": "failed"}
    assert job_views._revision(asked, job) is None


def test_a_wait_reads_ahead(batch, tmp_path, monkeypatch):
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    some = batch(["result['n'] = 1", "open(%r).read()" % gate])
    ended = []

    def read_on(results, really=job_views.Results.read_on):
        really(results)
        if results._read and not ended:
            ended.append([job.index for job in results._read])
            with open(gate, "w"):
                pass

    monkeypatch.setattr(job_views.Results, "read_on", read_on)
    serve(some.async_dir, "wait", **named(*some.jids()), block=60)
    assert ended == [[0]]
