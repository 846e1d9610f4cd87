# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import resource

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_writer, packing
from ansible_collections.background.jobs.plugins.module_utils._supervisor import host_limits, module_call, scheduler
from ansible_collections.background.jobs.plugins.module_utils._supervisor import supervisor as _supervisor
from ansible_collections.background.jobs.plugins.module_utils._system import cgroups
from ansible_collections.background.jobs.plugins.module_utils._system import systemd as _systemd
from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

from .._system.test_cgroups import Tree
from ..conftest import Batch, step, wait_for_supervisor

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

BATCH = "b000000000000042"
HERE = os.getpriority(os.PRIO_PROCESS, 0)
TELL = "result['nice'] = os.getpriority(os.PRIO_PROCESS, 0)"
CHILD = "import subprocess; result['nice'] = int(subprocess.run(['nice'], stdout=subprocess.PIPE, check=True).stdout)"


def can_be_nicer():
    """Whether this user may be served before others."""
    return os.geteuid() == 0 and _limits_hold(-1)


def _limits_hold(nice):
    try:
        host_limits._check_niceness([{"nice": nice, "name": "x"}])
    except host_limits.Refused:
        return False
    return True


# niceness


def test_a_job_is_as_nice_as_it_is_told_and_others_are_not(batch):
    body = [step(TELL), step(CHILD)]
    done = batch([body, TELL, TELL], nice=[19, min(HERE + 5, 19), HERE])
    answers = done.wait()
    assert [answer["state"] for answer in answers] == ["succeeded"] * 3
    told = [json.loads(entry["result"])["nice"] for entry in json.loads(answers[0]["tasks"])["results"]]
    assert told == [19, 19]
    assert [json.loads(answer["result"])["nice"] for answer in answers[1:]] == [min(HERE + 5, 19), HERE]


def test_a_niceness_that_the_host_refuses_starts_nothing(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "setpriority", refuse)
    jobs = [{"nice": HERE, "name": "a", "skip": None}, {"nice": HERE - 3, "name": "b", "skip": None}]
    with pytest.raises(
        host_limits.Refused, match=r"nice %d of job 'b' is refused.*may not go below %d" % (HERE - 3, HERE)
    ):
        host_limits.prepare({"jobs": jobs, "batch_id": BATCH}, NoSystemd())
    skipped = dict(jobs[1], skip="its condition was false")
    assert host_limits.prepare({"jobs": [jobs[0], skipped], "batch_id": BATCH}, NoSystemd()) == (None, [])


@pytest.mark.skipif(
    os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_NICE)[0] > 20 - HERE, reason="this user may be less nice"
)
def test_an_ordinary_user_is_told_by_the_launch(tmp_path):
    with pytest.raises(launcher.LaunchError, match="Nothing was started: nice -5 of job 'job 1' is refused"):
        Batch(tmp_path / "async", [TELL, TELL], nice=[HERE, -5]).launch()
    assert not os.path.exists(str(tmp_path / "async/.background_jobs"))


@pytest.mark.skipif(not can_be_nicer(), reason="this user may not be less nice")
def test_root_may_be_less_nice(batch):
    assert batch([TELL], nice=HERE - 2).results()[0]["nice"] == HERE - 2


# control groups


class NoSystemd:
    def ending_session(self):
        return None

    def enter_scope(self, batch_id):
        raise _systemd.NoScope("systemd is not the first process of the host")


class Systemd(NoSystemd):
    def __init__(self, session=None):
        self.session = session
        self.scopes = []

    def ending_session(self):
        return self.session

    def enter_scope(self, batch_id):
        self.scopes.append(batch_id)
        return "background-jobs-%s.scope" % batch_id


@pytest.fixture
def tree(tmp_path, monkeypatch):
    return Tree(tmp_path, monkeypatch)


def limited(**limits):
    return {"batch_id": BATCH, "jobs": [{"name": "a", "skip": None}, dict(limits, name="b", skip=None)]}


def test_hosts_are_asked_for_what_jobs_need_and_nothing_else(tree):
    systemd = Systemd()
    assert host_limits.prepare({"batch_id": BATCH, "jobs": [{"name": "a", "skip": None}]}, systemd) == (None, [])
    assert systemd.scopes == []
    memory = tree.mount("memory", "/")
    groups, warnings = host_limits.prepare(limited(memory_max=1 << 20), systemd, str(tree.proc))
    assert (systemd.scopes, warnings) == ([BATCH], [])
    assert [path.name for path in memory.iterdir()] == ["background-jobs-" + BATCH]
    groups.close()


def test_a_limit_that_cannot_be_kept_names_job_key_reasons_and_ways_out(tree):
    tree.refusing = tree.mount("memory", "/")
    said = r"memory_max of job 'b' can't be enforced on this host: no control group .*; systemd is not .*root.*enable-linger.*leave 'memory_max' out"
    with pytest.raises(host_limits.Refused, match=said):
        host_limits.prepare(limited(memory_max=1 << 20), NoSystemd(), str(tree.proc))


def test_a_limit_that_the_kernel_refuses_is_told_at_launch(tree):
    cpu = tree.mount("cpu", "/")
    tree.refusing = "values"
    with pytest.raises(host_limits.Refused, match=r"cpu_quota of job 'b' .*refused cpu_quota 50 \(Invalid argument\)"):
        host_limits.prepare(limited(cpu_quota=50.0), NoSystemd(), str(tree.proc))
    assert list(cpu.iterdir()) == []


def test_a_session_that_ends_is_left_or_warned_of(tree):
    plan = {"batch_id": BATCH, "jobs": [{"name": "a", "skip": None}]}
    systemd = Systemd(_systemd.Session("3", "bob"))
    assert host_limits.prepare(plan, systemd) == (None, [])
    assert systemd.scopes == [BATCH]
    systemd.enter_scope = NoSystemd().enter_scope
    groups, (warning,) = host_limits.prepare(plan, systemd)
    assert groups is None
    for words in (
        "login session of bob",
        "KillUserProcesses=yes",
        "systemd is not the first",
        "loginctl enable-linger",
    ):
        assert words in warning


def test_a_host_that_has_the_batch_is_not_asked_for_what_its_jobs_need(batch):
    first = batch(["pass"])
    first.wait()
    again = Batch(first.async_dir, ["pass"], cpu_quota=1e12)  # more than any kernel takes
    with pytest.raises(launcher.LaunchError, match="cpu_quota of job 'job 0' can't be enforced"):
        again.launch()
    again.batch_id = again.plan["batch_id"] = first.batch_id
    assert again.launch().reply["states"] == ["succeeded"]


class Supervised:
    """A batch whose supervisor runs in this process, with control groups that are plain files."""

    def __init__(self, tmp_path, groups, programs, *positional, **settings):
        self.batch = Batch(tmp_path / "async", programs, *positional, **settings)
        os.mkdir(self.batch.async_dir, 0o700)
        writer = batch_writer.BatchWriter(self.batch.async_dir, self.batch.batch_id)
        sources = launcher._sources()
        plan = packing.unpack(packing.pack(self.batch.plan))
        supervisor = _supervisor.Supervisor(plan, writer, sources, module_call.Clock(), dict(os.environ), groups=groups)
        supervisor.record()
        supervisor.run()
        self.answers = self.batch.wait()


def test_a_job_is_in_its_group_before_its_module_runs_and_the_group_goes_with_it(tree, tmp_path):
    memory = tree.mount("memory", "/")
    groups = tree.find("memory")
    procs = memory / ("background-jobs-" + BATCH) / "job-1" / "cgroup.procs"
    program = "result['inside'] = open(%r).read() == str(os.getpid())" % str(procs)
    unlimited = "result['inside'] = os.path.exists(%r)" % str(procs)
    done = Supervised(tmp_path, groups, [unlimited, program], concurrency=1)
    assert json.loads(done.answers[0]["result"])["inside"] is False
    done = Supervised(tmp_path / "proc", tree.find("memory"), [unlimited, program], 1, memory_max=1 << 26)
    assert json.loads(done.answers[1]["result"])["inside"] is True
    assert list(memory.iterdir()) == []


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), 9)", "was killed by signal 9 (SIGKILL) before it returned a result, it needed more"),
        ("result.update(failed=True, rc=-9)", None),
    ],
    ids=["module", "child"],
)
def test_a_job_that_was_killed_for_its_memory_says_so(tree, tmp_path, end, said):
    memory = tree.mount("memory", "/")
    control = memory / ("background-jobs-" + BATCH) / "job-0" / "memory.oom_control"
    program = "open(%r, 'w').write('oom_kill 1'); %s" % (str(control), end)
    done = Supervised(tmp_path, tree.find("memory"), [program, "pass"], memory_max=64 << 20)
    killed, fine = done.answers
    assert (killed["state"], fine["state"]) == ("failed", "succeeded")
    assert killed["msg"] == "killed by signal 9 (SIGKILL): it needed more memory than its memory_max of 64M"
    result = json.loads(killed["result"])
    assert said in result["msg"] if said else result == {"changed": False, "failed": True, "rc": -9}


def test_a_job_that_cannot_enter_its_group_does_not_run_its_module(tree, tmp_path):
    class Gone(cgroups.Groups):
        def enter(self, index, job):
            return [str(tmp_path / "gone" / "cgroup.procs")]

    done = Supervised(tmp_path, Gone({}, False), ["open(%r, 'w')" % str(tmp_path / "ran")], memory_max=1 << 26)
    assert done.answers[0]["state"] == "failed"
    assert "cannot enforce its limits" in json.loads(done.answers[0]["result"])["msg"]
    assert not (tmp_path / "ran").exists()


# starts that are held


def test_starts_are_apart(batch):
    done = batch(["pass"] * 3, plan={"start_delay": 0.4})
    times = [answer["started_at"] for answer in done.wait()]
    assert times == sorted(times)
    assert min(later - earlier for earlier, later in zip(times, times[1:])) >= 0.4


@pytest.mark.parametrize("hold", [{"min_free_memory": 1 << 60}, {"max_load": 1e-9}])
def test_what_is_held_is_queued_and_can_be_cancelled(batch, hold):
    done = batch(["pass"] * 2, plan=hold)
    assert [answer["state"] for answer in done.wait(block=0.3)] == ["queued"] * 2
    assert [answer["state"] for answer in done.serve("cancel")] == ["cancelled"] * 2
    wait_for_supervisor(done)


def test_what_is_not_short_holds_nothing(batch):
    done = batch(["pass"] * 3, plan={"min_free_memory": 1, "max_load": 1e6})
    assert [answer["state"] for answer in done.wait()] == ["succeeded"] * 3


def test_held_jobs_start_when_there_is_enough_again(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "LOOK_AGAIN", 0.05)
    readings = iter([(1, 0.0)] * 3 + [(100, 0.0)] * 9)
    monkeypatch.setattr(host_limits, "look", lambda: next(readings))
    done = Supervised(tmp_path, None, ["pass"] * 2, plan={"min_free_memory": 50})
    assert [answer["state"] for answer in done.answers] == ["succeeded"] * 2
    assert len(list(readings)) == 7


def test_a_host_that_does_not_tell_its_memory_is_refused(monkeypatch):
    monkeypatch.setattr(host_limits, "free_memory", lambda: None)
    with pytest.raises(host_limits.Refused, match=r"min_free_memory can't be enforced: .*MemAvailable"):
        host_limits.prepare({"jobs": [], "min_free_memory": 1}, NoSystemd())


def test_memory_is_told_in_bytes():
    with open("/proc/meminfo", encoding="ascii") as stream:
        total = int(stream.readline().split()[1]) * 1024
    assert 1 << 20 < host_limits.free_memory() <= total
