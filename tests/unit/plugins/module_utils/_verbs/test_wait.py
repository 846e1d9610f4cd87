# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits, of core's jobs mostly: those of batches are the subject of nearly all other tests."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from ..conftest import ask as serve
from ..conftest import named
from .conftest import finish


def ask(async_dir, jids, **settings):
    return serve(async_dir, "wait", **dict(named(*jids), **settings))["jobs"]


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ({"changed": True, "rc": 0}, "succeeded"),
        ({"changed": True, "rc": 2}, "failed"),
        ({"failed": True, "msg": "x"}, "failed"),
        ({"failed": True, "msg": "Timeout exceeded", "child_pid": 5}, "timed_out"),
        ({"started": 1, "finished": 1, "rc": 0}, "succeeded"),
    ],
)
def test_a_finished_core_job_tells_how_it_ended(tmp_path, result, state):
    finish(tmp_path / "j1.2", result)
    answer = ask(tmp_path, ["j1.2"])[0]
    assert (answer["state"], answer["finished"], answer["source"]) == (state, True, "core")
    assert json.loads(answer["result"]) == result


def test_the_end_of_a_core_job_is_seen_at_once(tmp_path, core_job):
    jid, dummy = core_job()
    threading.Timer(0.3, finish, [tmp_path / jid, {"rc": 0}]).start()
    before = time.monotonic()
    assert ask(tmp_path, [jid])[0]["state"] == "succeeded"
    assert time.monotonic() - before < 10


def test_a_running_core_job_is_running_when_the_time_is_up(tmp_path, core_job):
    jid, dummy = core_job()
    answer = ask(tmp_path, [jid], block=0.0)[0]
    assert (answer["state"], answer["finished"]) == ("running", False)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\xff\xfe", b'{"started": 1, "fini', b"[]", b"[" * 100000, b"null"]
)
def test_a_core_job_without_a_process_and_without_a_result_is_lost(tmp_path, content):
    (tmp_path / "j1.2").write_bytes(content)
    answer = ask(tmp_path, ["j1.2"])[0]
    assert answer["state"] == "lost"
    assert "process is gone" in answer["msg"]


def test_a_core_job_whose_wrapper_is_killed_is_lost(tmp_path, core_job):
    jid, process = core_job()
    process.kill()
    process.wait()
    assert ask(tmp_path, [jid])[0]["state"] == "lost"


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_is_no_results_file_is_not_read(tmp_path, kind):
    path = tmp_path / "j1.2"
    if kind == "link":
        (tmp_path / "secret").write_text('{"rc": 0, "stdout": "s3cret"}')
        path.symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    answer = ask(tmp_path, ["j1.2"])[0]
    assert answer["state"] == "lost"
    assert "can't be read" in answer["msg"]
    assert "s3cret" not in json.dumps(answer)


def test_any_returns_at_the_first_end(batch):
    jobs = batch(["import time; time.sleep(300)", "pass"])
    assert [answer["state"] for answer in jobs.wait(mode="any")] == ["running", "succeeded"]
