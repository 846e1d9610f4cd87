# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import inotify
from ansible_collections.background.jobs.plugins.module_utils._system import processes as _processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import answers as _answers

from ..conftest import gone


def ask(async_dir, jids, **settings):
    request = {
        "op": "wait",
        "mode": "all",
        "block": 20.0,
        "max_bytes": 1 << 20,
        "grace": 5.0,
        "jobs": [{"jid": jid, "dir": None} for jid in jids],
    }
    request.update(settings)
    return _answers.serve(request, str(async_dir))["jobs"]


@pytest.fixture
def core_job(tmp_path):
    """A job as core's async leaves it: a results file, and a process that carries the job id behind async_wrapper."""
    processes = []

    def start(jid="j4242424242.17", wrapper="async_wrapper.py", ignoring=False):
        (tmp_path / jid).write_text(json.dumps({"started": True, "finished": False, "ansible_job_id": jid}))
        program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if ignoring else ""
        program += "import subprocess, time; subprocess.Popen(['sleep', '300'], start_new_session=True); print('up', flush=True); time.sleep(300)"
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", program, "/tmp/x/" + wrapper, jid.split(".")[0], "600", "module"],
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        )
        processes[-1].stdout.readline()
        return jid, processes[-1]

    yield start
    for process in processes:
        root = _processes.look(process.pid)
        if root:
            for member in _processes.Snapshot().tree({root.pid: root.start}).values():
                _processes.send(member, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def finish(path, result):
    temporary = path.with_name(path.name + ".x")
    temporary.write_text(json.dumps(result))
    temporary.rename(path)


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


def test_a_cancelled_core_job_takes_its_descendants_with_it_and_reads_as_cancelled(tmp_path, core_job):
    jid, process = core_job()
    root = _processes.look(process.pid)
    tree = _processes.Snapshot().tree({root.pid: root.start})
    assert len(tree) == 2
    answer = ask(tmp_path, [jid], op="cancel")[0]
    assert answer["state"] == "cancelled"
    assert process.wait() == -signal.SIGTERM
    assert not _processes.Snapshot().tree({member.pid: member.start for member in tree.values()})
    assert json.loads((tmp_path / jid).read_text())["failed"] is True


def test_a_process_that_is_not_proven_to_be_the_jobs_is_left_alone(tmp_path, core_job):
    jid, process = core_job(wrapper="something_else.py")
    (answer,) = ask(tmp_path, [jid], op="cancel", grace=0.0, block=1.5)
    assert answer.get("ending") is None
    assert process.poll() is None


def test_a_call_that_cancels_comes_back_while_core_jobs_have_their_grace_and_another_kills_them(tmp_path, core_job):
    jid, process = core_job(ignoring=True)
    before = time.monotonic()
    (answer,) = ask(tmp_path, [jid], op="cancel", grace=25.0, block=0.5)
    assert time.monotonic() - before < 5
    assert (answer["state"], answer["asked"]) == ("running", True)
    assert process.pid in dict(answer["ending"])
    follow_up = {"jobs": [{"jid": jid, "dir": None, "ending": answer["ending"]}], "told": True}
    (answer,) = ask(tmp_path, [], op="cancel", grace=25.0, block=0.5, **follow_up)
    assert process.pid in dict(answer["ending"]), "it has some of its time left"
    (answer,) = ask(tmp_path, [], op="cancel", grace=0.0, **follow_up)
    assert (answer["state"], "ending" in answer) == ("cancelled", False)
    assert process.wait() == -signal.SIGKILL


def test_what_has_outlived_its_wrapper_is_killed_by_the_next_call_too(tmp_path, core_job):
    jid, process = core_job(ignoring=True)
    (answer,) = ask(tmp_path, [jid], op="cancel", grace=25.0, block=0.0)
    (child,) = (pid for pid, dummy in answer["ending"] if pid != process.pid)
    process.kill()
    process.wait()
    follow_up = {"jobs": [{"jid": jid, "dir": None, "ending": answer["ending"]}], "told": True}
    ask(tmp_path, [], op="cancel", grace=0.0, **follow_up)
    assert gone(child)


def test_live_jobs_are_told_to_end_before_what_lost_ones_have_left_is_looked_for(batch, monkeypatch):
    running = batch(["import time; time.sleep(300)"])
    order = []
    monkeypatch.setattr(_answers.records.BatchReader, "ask", lambda self, request: order.append("told") or True)
    monkeypatch.setattr(_answers._Question, "_find_families", lambda self: order.append("looked") or {})
    running.serve("cancel", block=0.0)
    monkeypatch.undo()
    assert order == ["told", "looked"]


@pytest.mark.parametrize(
    ("jid", "error"), [("../../etc/passwd", "invalid"), ("j1.2", "not_found"), ("j123456789012345.0", "not_found")]
)
def test_a_job_that_is_not_there_says_who_looked_where_and_holds_nobody_up(tmp_path, jid, error):
    before = time.monotonic()
    answer = ask(tmp_path, [jid])[0]
    assert answer["error"] == error
    assert time.monotonic() - before < 5
    if error == "not_found":
        assert str(tmp_path) in answer["msg"]
        assert "searched as user" in answer["msg"]


def test_a_missing_directory_is_not_made(tmp_path):
    assert ask(tmp_path / "no", ["j1.2"])[0]["error"] == "not_found"
    assert not (tmp_path / "no").exists()


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


def test_results_beyond_the_limit_are_deferred_and_a_large_one_comes_alone(tmp_path):
    for name in ("j1.1", "j1.2", "j1.3"):
        finish(tmp_path / name, {"stdout": "x" * 1000})
    answers = ask(tmp_path, ["j1.1", "j1.2", "j1.3"], max_bytes=1500)
    assert ["result" in answer for answer in answers] == [True, True, False]
    assert [answer.get("deferred", False) for answer in answers] == [False, False, True]
    assert "result" in ask(tmp_path, ["j1.3"], max_bytes=1)[0]


def test_any_returns_at_the_first_end(batch):
    jobs = batch(["import time; time.sleep(300)", "pass"])
    assert [answer["state"] for answer in jobs.wait(mode="any")] == ["running", "succeeded"]


def test_records_are_forgotten_when_asked_for_but_never_those_of_unfinished_jobs(batch):
    jobs = batch(["import time; time.sleep(300)", "pass"])
    jobs.wait(mode="any")
    assert [answer["forgotten"] for answer in jobs.serve("forget")] == [False, True]
    answers = jobs.wait(block=0.0)
    assert answers[0]["state"] == "running"
    assert answers[1]["error"] == "not_found"
    jobs.serve("cancel")
    assert jobs.serve("forget", jids=jobs.jids()[:1])[0]["forgotten"] is True
    assert os.listdir(jobs.async_dir) == [".background_jobs"]
    assert os.listdir(os.path.join(jobs.async_dir, ".background_jobs")) == ["lock"]


@pytest.fixture(params=["inotify", "looking again"])
def watcher(request, monkeypatch):
    watcher = inotify.Watcher()
    if request.param == "looking again":
        watcher.close()
    yield watcher
    watcher.close()


def test_a_watcher_tells_of_what_is_appended_and_moved_in(tmp_path, watcher):
    (tmp_path / "journal").write_text("")
    watcher.add(str(tmp_path / "journal"))
    watcher.add(str(tmp_path))
    threading.Timer(0.2, finish, [tmp_path / "j1.1", {}]).start()
    before = time.monotonic()
    while not (tmp_path / "j1.1").exists() and time.monotonic() - before < 20:
        watcher.wait(20)
    assert (tmp_path / "j1.1").exists()
    assert time.monotonic() - before < 10


def test_a_watcher_returns_when_the_time_is_up(tmp_path, watcher):
    watcher.add(str(tmp_path))
    before = time.monotonic()
    watcher.wait(0.05)
    assert time.monotonic() - before < 5
