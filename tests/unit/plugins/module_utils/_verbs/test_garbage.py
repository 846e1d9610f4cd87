# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_lock, ids, records

from ..conftest import ask, gone, wait_for_supervisor

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

SLEEP = "import time; time.sleep(300)"
KILLED = "b000000000000007"


def selection(**more):
    nothing = dict.fromkeys(("names", "batch_ids", "states", "older_than", "newer_than"))
    return dict(nothing, core=False, **more)


def prune(directory, check=False, **more):
    """Return the leftovers that were removed, or would be, below the directory, and what was told of others."""
    fitting = dict(selection(), **more)
    about = {"select": fitting} if check else {"jobs": []}
    reply = ask(directory, "prune", remove=not check, leftovers=fitting, **about)
    return sorted(os.path.relpath(path, str(directory)) for path in reply["leftovers"]), reply["troubles"]


def write(*parts):
    path = os.path.join(*[str(part) for part in parts])
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path, "w", encoding="ascii") as stream:
        stream.write('{"failed": true}')


@pytest.fixture
def killed_launch(tmp_path):
    """What a launch leaves whose supervisor is killed while it writes the records: two of them, and no batch.json."""
    directory = tmp_path / "async"
    folder = directory / batch_lock.FOLDER / KILLED
    write(folder, "run", "x")
    os.chmod(folder, 0o700)
    os.mkfifo(folder / "control")
    write(folder, "journal")
    for index in range(2):
        write(directory, ids.jid_of(KILLED, index))
    write(directory, "something.else")
    return directory


def test_the_folder_of_a_killed_launch_goes_with_its_results_files_and_nothing_else(killed_launch):
    path = os.path.join(batch_lock.FOLDER, KILLED)
    assert prune(killed_launch, check=True) == ([path], [])
    assert len(os.listdir(killed_launch)) == 4
    assert prune(killed_launch) == ([path], [])
    assert sorted(os.listdir(killed_launch)) == [".background_jobs", "something.else"]
    assert os.listdir(killed_launch / batch_lock.FOLDER) == ["lock"]
    assert prune(killed_launch) == ([], [])


def test_what_a_launch_is_writing_is_left_alone(killed_launch):
    with open(killed_launch / batch_lock.FOLDER / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # as a launch does until its records are complete
        found, troubles = prune(killed_launch)
        assert found == []
        assert "a launch is in progress" in troubles[0]
        assert len(os.listdir(killed_launch)) == 4
    assert len(prune(killed_launch)[0]) == 1


@pytest.mark.parametrize(
    ("asked", "goes"),
    [
        ({"names": ["*"]}, False),
        ({"states": ["succeeded"]}, False),
        ({"states": ["lost"]}, True),
        ({"batch_ids": ["b000000000000001"]}, False),
        ({"batch_ids": [KILLED]}, True),
        ({"older_than": 100.0}, False),
        ({"older_than": 0.0}, True),
        ({"newer_than": 100.0}, True),
    ],
)
def test_leftovers_are_selected_as_lost_jobs_without_a_name(killed_launch, asked, goes):
    assert bool(prune(killed_launch, check=True, **asked)[0]) is goes


def test_what_a_killed_supervisor_left_goes_and_the_records_of_its_jobs_stay(batch):
    ended = batch(["pass", "pass"])
    ended.wait()
    wait_for_supervisor(ended)
    ended.serve("forget", jids=ended.jids()[:1])
    for parts in (
        ("run", "0.stdout.args"),
        ("run", "17.module"),
        ("staged", "1", "0", "secret"),
        ("tasks", "1.json.tmp"),
    ):
        write(ended.path(*parts))
    for folder in ("results", "tasks", "output"):
        write(ended.path(folder, "0.json"))
        write(ended.path(folder, "1.json"))
    os.mkfifo(ended.path("control"))
    write(ended.async_dir, ended.jids()[1] + ".tmp")
    expected = ["control", "output/0.json", "results/0.json", "run", "staged", "tasks/0.json", "tasks/1.json.tmp"]
    expected = [os.path.join(batch_lock.FOLDER, ended.batch_id, path) for path in expected]
    expected.append(ended.jids()[1] + ".tmp")
    assert prune(ended.async_dir, check=True) == (expected, [])
    assert os.path.exists(ended.path("run", "0.stdout.args"))
    assert prune(ended.async_dir) == (expected, [])
    assert sorted(os.listdir(ended.path())) == ["batch.json", "journal", "output", "results", "tasks"]
    assert [os.listdir(ended.path(name)) for name in ("output", "results", "tasks")] == [["1.json"]] * 3
    assert ended.serve(jids=ended.jids()[1:])[0]["state"] == "succeeded"
    assert prune(ended.async_dir) == ([], [])


def test_nothing_of_a_batch_that_runs_is_a_leftover(batch):
    running = batch([SLEEP, "pass"])
    running.wait(mode="any")
    running.serve("forget", jids=running.jids()[1:])
    write(running.async_dir, running.jids()[1] + ".tmp")
    assert prune(running.async_dir) == ([], [])
    assert os.path.exists(running.path("run")) and os.path.exists(running.path("control"))
    assert running.serve(block=0.0)[0]["state"] == "running"


def test_a_folder_of_whose_jobs_none_has_a_record_goes(batch):
    ended = batch(["pass"])
    ended.wait()
    wait_for_supervisor(ended)
    os.unlink(os.path.join(ended.async_dir, ended.jids()[0]))
    assert prune(ended.async_dir, check=True)[0] == [os.path.join(batch_lock.FOLDER, ended.batch_id)]
    assert os.path.exists(ended.path())
    assert len(prune(ended.async_dir)[0]) == 1
    assert not os.path.exists(ended.path())


def test_a_lost_batch_leaves_no_arguments_behind_once_that_is_known(batch):
    running = batch([SLEEP])
    running.serve(block=0.1)
    os.kill(running.reply["pid"], signal.SIGKILL)
    assert gone(running.reply["pid"])
    write(running.path("run", "0.stdout.args"))
    assert running.wait()[0]["state"] == "lost"
    left = os.listdir(running.path("run")) if os.path.exists(running.path("run")) else []
    assert {name for name in left if not name.startswith("pids.")} <= {"0.stderr", "0.stdout"}


def test_the_record_of_a_lost_job_that_still_runs_is_kept_and_so_is_what_it_uses(batch):
    # its own session, with nobody above it: what a killed supervisor and a killed template leave
    running = batch(["import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True).wait()"])
    while running.serve(block=0.05)[0]["state"] != "running":
        pass
    reader = records.BatchReader(running.async_dir, running.batch_id)
    reader.refresh()
    job = reader.jobs[0]
    with open("/proc/%d/stat" % job["pid"], "rb") as stream:
        template = int(stream.read().rpartition(b")")[2].split()[1])
    for pid in (running.reply["pid"], template):
        os.kill(pid, signal.SIGSTOP)
    for pid in (template, running.reply["pid"]):
        os.kill(pid, signal.SIGKILL)
    assert gone(running.reply["pid"]) and gone(template)
    assert running.wait()[0]["state"] == "lost"
    assert running.serve("forget")[0]["forgotten"] is False
    found, troubles = prune(running.async_dir)
    assert found == []
    assert "still run" in troubles[0]
    running.serve("cancel", grace=0.5)
    assert running.serve("forget")[0]["forgotten"] is True


def test_files_that_core_had_begun_go_when_asked_for_but_not_those_of_a_job_that_runs(tmp_path):
    for name in ("j111.1", "j111.1.tmp", "j222.2.tmp", "j333.3.tmp", "notes.tmp", "j444.tmp"):
        write(tmp_path, name)
    os.symlink("/etc/passwd", tmp_path / "j555.5.tmp")
    program = "import time; print('up', flush=True); time.sleep(300)"
    wrapper = subprocess.Popen(
        [sys.executable, "-c", program, "/tmp/x/async_wrapper.py", "j222", "60"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wrapper.stdout.readline()
        assert prune(tmp_path, core=False) == ([], [])
        assert prune(tmp_path, core=True) == (["j111.1.tmp", "j333.3.tmp"], [])
    finally:
        wrapper.kill()
        wrapper.wait()
        wrapper.stdout.close()
    assert sorted(os.listdir(tmp_path)) == ["j111.1", "j222.2.tmp", "j444.tmp", "j555.5.tmp", "notes.tmp"]


def test_a_file_begun_for_a_batch_that_is_no_more_goes(tmp_path):
    write(tmp_path, "j123456789012345.0.tmp")
    assert prune(tmp_path)[0] == ["j123456789012345.0.tmp"]


def test_a_link_in_the_place_of_a_folder_is_not_followed(batch, tmp_path):
    ended = batch(["pass"])
    ended.wait()
    wait_for_supervisor(ended)
    write(tmp_path, "victim", "0.json")
    for name in ("run", "staged", "results", "tasks", "output"):
        os.symlink(tmp_path / "victim", ended.path(name))
    prune(ended.async_dir)
    assert ended.serve("forget")[0]["forgotten"] is True
    assert json.loads((tmp_path / "victim" / "0.json").read_text())
