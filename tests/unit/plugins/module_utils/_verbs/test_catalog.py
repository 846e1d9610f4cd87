# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_lock
from ansible_collections.background.jobs.plugins.module_utils._verbs import catalog, launcher

from ..conftest import ask

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

SLEEP = "import time; time.sleep(300)"


def selection(**more):
    nothing = dict.fromkeys(("names", "batch_ids", "states", "older_than", "newer_than"))
    return dict(nothing, core=False, **more)


def listed(directory, **more):
    return ask(directory, "list", select=dict(selection(), **more))


def names(directory, **more):
    return [job["name"] or job["jid"] for job in listed(directory, **more)["jobs"]]


@pytest.fixture
def some(batch):
    """A batch of which one job runs, one is queued, one has succeeded and one has failed, and a job of core's."""
    done = batch(["pass", "result.update(failed=True, msg='no')", SLEEP, SLEEP], concurrency=1)
    while [job["state"] for job in done.serve(block=0.1)] != ["succeeded", "failed", "running", "queued"]:
        pass
    with open(os.path.join(done.async_dir, "j123.45"), "w", encoding="ascii") as stream:
        json.dump({"rc": 0, "changed": True}, stream)
    return done


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["job 0", "job 1", "job 2", "job 3"]),
        ({"core": True}, ["job 0", "job 1", "job 2", "job 3", "j123.45"]),
        ({"names": ["job [12]", "other"]}, ["job 1", "job 2"]),
        ({"names": ["JOB 1"]}, []),
        ({"names": ["j1*"], "core": True}, ["j123.45"]),
        ({"states": ["failed", "queued"]}, ["job 1", "job 3"]),
        ({"batch_ids": ["b000000000000000"]}, []),
        ({"older_than": 100.0}, []),
        ({"newer_than": 100.0, "states": ["succeeded"]}, ["job 0"]),
        ({"older_than": 0.0, "names": ["job 3"]}, ["job 3"]),
    ],
)
def test_what_fits_is_listed(some, asked, found):
    assert names(some.async_dir, **asked) == found


def test_a_batch_is_found_by_its_id_and_the_oldest_comes_first(batch):
    first, second = batch(["pass"]), batch(["pass"])
    assert [job["batch_id"] for job in listed(first.async_dir)["jobs"]] == [first.batch_id, second.batch_id]
    assert [job["batch_id"] for job in listed(first.async_dir, batch_ids=[second.batch_id])["jobs"]] == [
        second.batch_id
    ]


def test_a_job_that_runs_tells_what_it_uses_and_one_that_failed_why(some):
    answers = listed(some.async_dir)["jobs"]
    assert answers[1]["msg"] == "no"
    running = answers[2]
    assert running["processes"] == 1 and running["memory"] > 1 << 20 and running["cpu_seconds"] >= 0
    assert "result" not in running and "pid" not in answers[0]


def test_where_there_is_nothing_nothing_is_found(tmp_path):
    assert listed(tmp_path / "none")["jobs"] == []


def test_a_record_that_is_not_to_be_trusted_is_told_and_others_are_not_affected(some):
    folder = os.path.join(some.async_dir, batch_lock.FOLDER)
    for batch_id, content in (("b000000000000001", "{"), ("b000000000000002", "{}"), ("b000000000000003", "[]")):
        os.mkdir(os.path.join(folder, batch_id))
        with open(os.path.join(folder, batch_id, "batch.json"), "w", encoding="ascii") as stream:
            stream.write(content)
    os.mkdir(os.path.join(folder, "b000000000000004"))
    os.symlink("/etc/passwd", os.path.join(folder, "b000000000000004", "batch.json"))
    os.mkdir(os.path.join(folder, "b000000000000005"))
    reply = listed(some.async_dir)
    assert len(reply["jobs"]) == 4
    assert len(reply["troubles"]) == 4
    assert "symbolic link" in "".join(reply["troubles"])


def test_a_job_is_cancelled_by_its_name_and_told_to_have_been(some):
    fitting = dict(selection(), names=["job [23]"])
    answers = ask(some.async_dir, "cancel", select=fitting, grace=5.0)["jobs"]
    assert [(job["state"], job["asked"]) for job in answers] == [("cancelled", True)] * 2
    again = ask(some.async_dir, "cancel", select=fitting, grace=5.0)["jobs"]
    assert ["asked" in job for job in again] == [False, False]


def test_a_job_gets_the_signal_that_was_asked_for(batch, tmp_path):
    program = (
        "import signal, time; signal.signal(signal.SIGHUP, lambda *args: sys.exit(print(json.dumps({'hup': 1}))));"
        "open(%r, 'w').close(); time.sleep(300)" % str(tmp_path / "ready")
    )
    done = batch([program])
    while not (tmp_path / "ready").exists():
        done.serve(block=0.05)
    (answer,) = done.serve("cancel", signal=1)
    assert json.loads(answer["result"])["hup"] == 1


def test_what_may_run_once_is_found_by_its_very_name(some):
    assert launcher._running("job 2", some.async_dir)["name"] == "job 2"
    assert launcher._running("job 0", some.async_dir) is None
    assert launcher._running("job ?", some.async_dir) is None


@pytest.mark.parametrize(
    ("asked", "at", "fits"),
    [
        ({}, None, True),
        ({"older_than": 5.0}, 95.0, True),
        ({"older_than": 5.0}, 95.1, False),
        ({"older_than": 5.0}, None, False),
        ({"newer_than": 5.0}, 95.0, True),
        ({"newer_than": 5.0}, 94.9, False),
        ({"newer_than": 5.0}, None, False),
        ({"older_than": 5.0, "newer_than": 9.0}, 93.0, True),
    ],
)
def test_ages(asked, at, fits):
    assert catalog.is_of_age(dict(selection(), **asked), at, 100.0) is fits
