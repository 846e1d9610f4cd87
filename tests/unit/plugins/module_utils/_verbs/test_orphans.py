# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing, records
from ansible_collections.background.jobs.plugins.module_utils._supervisor import module_call, running_job
from ansible_collections.background.jobs.plugins.module_utils._supervisor.runner import Runner
from ansible_collections.background.jobs.plugins.module_utils._system import processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher, orphans

from ..conftest import Batch, gone, wait_for_supervisor

# It starts a child in a session of its own, says who they are, and stays.
WITH_A_CHILD = """
import subprocess, time
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
with open(%r, "w") as stream: stream.write("%%d %%d\\n" %% (os.getpid(), child.pid))
time.sleep(300)
"""


@pytest.fixture
def family(tmp_path, batch):
    """A batch of one job with a child in a session of its own, and the pids of both."""
    told = tmp_path / "pids"
    launched = batch([WITH_A_CHILD % str(told)])
    deadline = time.monotonic() + 20
    while not (told.exists() and told.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while launched.serve("list")[0]["state"] != "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pids = [int(word) for word in told.read_text().split()]
    yield launched, pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def templates(launched):
    return [process for process in processes.Snapshot() if process.ppid == launched.reply["pid"]]


def kill_supervisor_and_templates(launched):
    os.kill(launched.reply["pid"], signal.SIGSTOP)
    for template in templates(launched):
        os.kill(template.pid, signal.SIGKILL)
    os.kill(launched.reply["pid"], signal.SIGKILL)
    wait_for_supervisor(launched)


def test_a_template_without_a_supervisor_ends_what_its_jobs_have_started_too(family):
    launched, pids = family
    os.kill(launched.reply["pid"], signal.SIGKILL)
    assert all(gone(pid) for pid in pids)
    assert launched.wait()[0]["state"] == "lost"


def test_what_a_killed_module_has_started_in_its_session_ends_with_it(tmp_path, batch):
    told = tmp_path / "pids"
    program = (
        (WITH_A_CHILD % str(told))
        .replace(", start_new_session=True", "")
        .replace("time.sleep(300)", "os.kill(os.getpid(), 9)")
    )
    (answer,) = batch([program]).wait()
    assert answer["state"] == "failed"
    assert gone(int(told.read_text().split()[1]))


def test_a_lost_job_with_processes_is_listed_with_them_and_kept_and_can_be_ended(family):
    launched, pids = family
    kill_supervisor_and_templates(launched)

    (listed,) = launched.serve("list")
    assert (listed["state"], listed["pid"], listed["processes"]) == ("lost", min(pids), 2)
    (kept,) = launched.serve("forget")
    assert kept["forgotten"] is False

    (ended,) = launched.serve("cancel", grace=5.0)
    assert (ended["state"], ended["ended_processes"]) == ("lost", 2)
    assert all(gone(pid) for pid in pids)
    assert "processes" not in launched.serve("list")[0]
    assert launched.serve("forget")[0]["forgotten"] is True


def test_what_may_run_once_is_not_started_beside_what_is_left_of_a_lost_job(family):
    launched, pids = family
    kill_supervisor_and_templates(launched)
    again = Batch(launched.async_dir, ["pass"])
    with pytest.raises(
        launcher.LaunchError, match=rf"j\d+\.0, was lost, .*\(2, the first is {min(pids)}\).*async_cancel"
    ):
        launcher.launch(packing.pack(again.plan), again.async_dir, singleton="job 0")

    launched.serve("cancel", grace=5.0)
    assert "pid" in launcher.launch(packing.pack(again.plan), again.async_dir, singleton="job 0")
    assert again.wait()[0]["state"] == "succeeded"


def test_the_session_of_a_lost_job_counts_as_long_as_no_other_can_have_its_number(family, monkeypatch):
    launched, pids = family
    kill_supervisor_and_templates(launched)
    reader = records.BatchReader(launched.async_dir, launched.batch_id)
    reader.refresh()
    dead = subprocess.Popen(["true"])
    dead.wait()
    reader.jobs[0].update(pid=dead.pid, start=1)
    # a process of that session which has nothing of the job open: this one will do
    left = processes.look(os.getpid())._replace(session=dead.pid, ppid=1)
    snapshot = processes.Snapshot({left.pid: left})

    assert list(orphans.find({"it": (reader, 0)}, snapshot)["it"]) == [left.pid]
    with open("/proc/sys/kernel/pid_max") as stream:
        forks = reader.header["supervisor"]["forks"] + int(stream.read())
    monkeypatch.setattr(processes, "_forks", lambda: forks)
    assert not orphans.find({"it": (reader, 0)}, snapshot)
    found = orphans.find({"it": (reader, 0)}, processes.Snapshot())
    assert sorted(found["it"]) == sorted(pids), "whoever holds its files is proven to be its own"


def test_nothing_is_believed_to_be_a_lost_jobs_after_a_restart(family):
    launched, _pids = family
    kill_supervisor_and_templates(launched)
    reader = records.BatchReader(launched.async_dir, launched.batch_id)
    reader.refresh()
    reader.header["supervisor"]["init_start"] += 1
    assert not orphans.find({"it": (reader, 0)}, processes.Snapshot())


def test_who_has_a_file_open_is_found_even_when_it_was_removed(tmp_path):
    folder = os.path.realpath(str(tmp_path))
    path, other = os.path.join(folder, "out"), os.path.join(folder, "other")
    with open(path, "w") as stream:
        process = subprocess.Popen(["sleep", "300"], stdout=stream)
    try:
        os.unlink(path)
        assert processes.holders([path, other]) == {path: {process.pid: processes.look(process.pid).start}}
    finally:
        process.kill()
        process.wait()


def test_a_process_that_its_template_could_not_tell_of_is_found_by_the_file_that_it_prints_into(tmp_path):
    told, untold = module_call.ModuleCall(str(tmp_path / "0"), 0.0), module_call.ModuleCall(str(tmp_path / "1"), 0.0)
    told.members = {1: 1}
    with open(untold.stdout, "w") as stream:
        process = subprocess.Popen(["sleep", "300"], stdout=stream)
    try:
        runner = Runner.__new__(Runner)
        runner._running = {index: running_job.RunningJob(None) for index in (0, 1)}
        runner._running[0].call, runner._running[1].call = told, untold
        runner._find_untold({0, 1})
        assert told.members == {1: 1}
        assert list(untold.members) == [process.pid]
    finally:
        process.kill()
        process.wait()


def test_what_a_module_has_started_is_found_though_its_supervisor_was_killed_before_it_had_noted_the_module(
    tmp_path, batch
):
    told = tmp_path / "pids"
    # what the child prints goes elsewhere: it has none of the job's files open
    program = (WITH_A_CHILD % str(told)).replace(
        "start_new_session=True", "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    )
    launched = batch([program])
    deadline = time.monotonic() + 20
    while not (told.exists() and told.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    module, child = (int(word) for word in told.read_text().split())
    kill_supervisor_and_templates(launched)
    os.kill(module, signal.SIGKILL)
    assert gone(module)
    reader = records.BatchReader(launched.async_dir, launched.batch_id)
    reader.refresh()
    reader.jobs[0].update(pid=None, start=None)
    reader.pids.clear()
    try:
        assert list(orphans.find({"it": (reader, 0)}, processes.Snapshot())["it"]) == [child]
        launched.serve("list")  # who finds that it is lost removes what is not needed for that
        reader.jobs[0].update(pid=None, start=None)
        assert list(orphans.find({"it": (reader, 0)}, processes.Snapshot())["it"]) == [child]
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_an_earlier_call_of_a_lost_job_has_left_in_its_session_is_not_taken_for_its_own(family):
    launched, pids = family
    kill_supervisor_and_templates(launched)
    reader = records.BatchReader(launched.async_dir, launched.batch_id)
    reader.refresh()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
    earlier = reader.jobs[0]["pid"]
    reader.jobs[0].update(pid=None, start=None)  # as if the call after that one were not known
    left = processes.look(os.getpid())._replace(session=earlier, ppid=1)
    snapshot = processes.Snapshot({left.pid: left})
    assert not orphans.find({"it": (reader, 0)}, snapshot)
    reader.pids.clear()
    assert orphans.find({"it": (reader, 0)}, snapshot)
