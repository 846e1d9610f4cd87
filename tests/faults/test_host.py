# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to a host: it restarts, its disk is full, its memory runs out, its clock jumps."""

from __future__ import annotations

import subprocess

import pytest

RUN = "background.jobs.async_run"
BATCH = "background.jobs.async_batch"
WAIT = "background.jobs.async_wait"
INFO = "background.jobs.async_info"
CANCEL = "background.jobs.async_cancel"
PRUNE = "background.jobs.async_prune"


def by_name(result):
    return {job["name"]: job for job in result["jobs"]}


# ---- it restarts

# Starts processes, which stay, until each of these pids is taken; prints them.
TAKE_PIDS = """
import json, os, subprocess, sys
wanted, taken = {int(word) for word in sys.argv[1:]}, set()
while wanted and max(wanted) > max(taken, default=0):
    taken.add(subprocess.Popen(["sleep", "600"], stdin=-3, stdout=-3, stderr=-3, start_new_session=True).pid)
print(json.dumps(sorted(taken)))
"""
ALIVE = """
import json, os, sys
print(json.dumps([int(pid) for pid in sys.argv[1:] if os.path.exists("/proc/" + pid)]))
"""


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_loses_what_ran_and_believes_no_pid(host, play, until, end):
    one = host()
    jobs = [
        {"name": "quick", "command": "true"},
        *({"name": f"slow {number}", "command": f"sleep 6{number}0"} for number in range(3)),
        {"name": "queued", "command": "true", "depends_on": ["slow 0"]},
    ]
    core = {"name": "core", "ansible.builtin.command": "sleep 600", "async": 900, "poll": 0}
    wait_for_one = {"name": "one", WAIT: {"name": "quick", "timeout": 60}}
    list_all = {"name": "info", INFO: {}}
    before = play(one, [{"name": "launch", BATCH: {"tasks": jobs}}, core, wait_for_one, list_all])
    running = [job for job in before.result("info")["jobs"] if job["state"] == "running"]
    assert len(running) == 4
    pids = [str(job["pid"]) for job in running]

    one.docker(end, *(["--time", "1"] if end == "stop" else []))
    one.docker("start")
    one.run("test", "-e", f"/root/.ansible_async/{before.result('core')['ansible_job_id']}")
    strangers = one.python(TAKE_PIDS, *pids)
    assert {int(pid) for pid in pids} <= {*strangers, *range(min(strangers))}

    registered = [before.result("launch"), before.result("core")]
    after = play(
        one,
        [
            {"name": "wait", WAIT: {"jobs": registered, "timeout": 60}, "ignore_errors": True},
            list_all,
            {"name": "cancel", CANCEL: {"all": True, "core_jobs": True, "grace": 0}},
            {"name": "prune", PRUNE: {"all": True, "core_jobs": True}},
            {"name": "info then", INFO: {}},
        ],
    )
    *ours, cores = after.result("wait")["jobs"]
    lost = dict.fromkeys(("slow 0", "slow 1", "slow 2", "queued"), "lost")
    assert {job["name"]: job["state"] for job in ours} == {"quick": "succeeded", **lost}
    assert {job["msg"] for job in ours if job["state"] == "lost"} == {
        "lost: the host restarted before the job returned a result"
    }
    assert (cores["state"], "the host restarted" in cores["msg"]) == ("lost", True)
    assert not [job for job in after.result("info")["jobs"] if job.get("processes")]
    assert not after.result("cancel")["changed"]
    assert one.python(ALIVE, *map(str, strangers)) == strangers
    assert len(after.result("prune")["jobs"]) == 6
    assert after.result("info then")["jobs"] == []


@pytest.mark.parametrize(("connection", "pipelining"), [("docker", True), ("docker", False), ("ssh", False)])
def test_a_wait_goes_on_after_a_restart(host, play, until, connection, pipelining):
    one = host(connection=connection)
    env = {"ANSIBLE_PIPELINING": str(pipelining)}
    launched = play(one, [{"name": "launch", RUN: {"name": "slow", "task": {"command": "sleep 600"}}}]).result("launch")
    waiting = play.start(
        one, [{"name": "wait", WAIT: {"jobs": launched, "timeout": 60}, "ignore_errors": True}], env=env
    )
    until(
        lambda: one.run("pgrep", "-f", "[A]nsiballZ_async_wait|[s]tdin.buffer.read", check=False), "the host is asked"
    )
    one.docker("kill")
    one.docker("start")
    waited = waiting.wait().result("wait")
    assert "jobs" in waited, repr({key: waited.get(key) for key in ("msg", "rc", "module_stdout", "module_stderr")})
    (job,) = waited["jobs"]
    assert (job["state"], job["msg"]) == ("lost", "lost: the host restarted before the job returned a result")


# ---- its disk is full

ASYNC_DIR = {"ansible_async_dir": "/jobs/async"}
ENGINE = "background[.]jobs (supervisor|template)"
GO = "until [ -e /tmp/go ]; do sleep 0.05; done; "
PRINT = "head -c 400000 /dev/zero | tr '\\0' x; "  # more than what jobs and templates give back at their ends


def shell(text):
    return {"ansible.builtin.command": {"argv": ["sh", "-c", text]}}


def fill(one):
    one.run("sh", "-c", "dd if=/dev/zero bs=1k >> /jobs/filler 2>/dev/null; true")


def test_a_full_disk_loses_results_and_no_end(host, play, until):
    one = host("--tmpfs=/jobs:size=2m,mode=0700")
    jobs = [
        {"name": "little", **shell(GO + "echo done")},
        {"name": "much", **shell(GO + PRINT)},
        {"name": "bad", **shell(GO + PRINT + "exit 3")},
        {"name": "slow", **shell(GO + "sleep 30"), "timeout": 8},
        {"name": "after", **shell("true"), "depends_on": ["much"]},
        {"name": "block", "block": [shell(GO + PRINT)], "always": [shell("true")]},
        {"name": "module", "ansible.builtin.wait_for": {"path": "/tmp/go", "sleep": 1}},
    ]
    launched = play(one, [{"name": "launch", BATCH: {"tasks": jobs}}], vars=ASYNC_DIR).result("launch")
    journal = f"/jobs/async/.background_jobs/{launched['batch_id']}/journal"
    until(lambda: one.run("cat", journal).count('"pid"') == 6, "all run")
    fill(one)
    one.run("touch", "/tmp/go")

    full = play(
        one,
        [
            {"name": "wait", WAIT: {"jobs": launched, "timeout": 100}, "ignore_errors": True},
            {"name": "info", INFO: {"batch_id": launched["batch_id"]}},
        ],
        vars=ASYNC_DIR,
    )
    states = {
        "little": "succeeded",
        "much": "succeeded",
        "bad": "failed",
        "slow": "timed_out",
        "after": "succeeded",
        "block": "succeeded",
        "module": "succeeded",
    }
    waited = by_name(full.result("wait"))
    assert {name: job["state"] for name, job in waited.items()} == states
    for name in ("much", "bad"):
        assert "disk is full" in waited[name].get("msg", ""), waited[name]
    # the result of a block is that of its last task: what other jobs give back at their ends may be room for so little
    block = waited["block"]
    assert "disk is full" in block.get("msg", "") or block["result"]["cmd"] == ["sh", "-c", "true"], block
    assert {name: job["state"] for name, job in by_name(full.result("info")).items()} == states

    # A batch gives back its reserved space when it ends: fill the disk again once nothing more is freed.
    until(lambda: not one.run("pgrep", "-f", ENGINE, check=False), "supervisor and template are gone")
    fill(one)
    refused = play(
        one,
        [{"name": "refused", BATCH: {"tasks": [{"command": "touch /tmp/started"}]}, "ignore_errors": True}],
        vars=ASYNC_DIR,
    ).result("refused")
    assert refused["failed"]
    assert "Nothing was started" in refused["msg"]
    assert "No space left on device" in refused["msg"]
    assert one.run("sh", "-c", f"ls /tmp/started; pgrep -f '{ENGINE}'", check=False) == ""

    one.run("rm", "/jobs/filler")
    space = play(
        one,
        [
            {"name": "wait", WAIT: {"jobs": launched, "timeout": 60}, "ignore_errors": True},
            {"name": "cancel", CANCEL: {"all": True}},
            {"name": "launch", BATCH: {"tasks": [shell("echo again")], "wait": True}},
            {"name": "prune", PRUNE: {"all": True}},
            {"name": "info", INFO: {}},
        ],
        vars=ASYNC_DIR,
    )
    assert {name: job["state"] for name, job in by_name(space.result("wait")).items()} == states
    assert space.result("launch")["jobs"][0]["result"]["stdout"] == "again"
    assert len(space.result("prune")["jobs"]) == len(jobs)
    assert space.result("info")["jobs"] == []
    assert one.run("find", "/jobs/async", "-type", "f", "-name", "*j*").strip() == ""


def test_a_disk_that_is_read_only_is_a_clear_error(host, play):
    one = host("--tmpfs=/jobs:ro,mode=0700")
    for async_dir in ("/jobs", "/jobs/new"):
        played = play(
            one,
            [{"name": "launch", BATCH: {"tasks": [shell("touch /tmp/started")]}}],
            vars={"ansible_async_dir": async_dir},
            check=False,
        )
        assert "Read-only file system" in played.result("launch")["msg"]
    assert one.run("ls", "/tmp/started", check=False) == ""


# ---- its memory runs out

HOG = """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={})
hog = []
while True:
    hog.append(bytearray(1 << 20))
"""


def test_what_the_kernel_kills_for_memory_has_failed_and_the_others_have_not(host, play):
    one = host("--memory=300m", "--memory-swap=300m")
    hog = "python3 -c 'hog = []\nwhile True: hog.append(bytearray(1 << 20))'"
    jobs = [
        {"name": "module", "hog": {}},
        {"name": "child", **shell(f"exec {hog}"), "depends_on": ["module"], "run_when": "always"},
        *({"name": f"other {number}", **shell("sleep 4; echo here")} for number in range(3)),
    ]
    played = play(
        one,
        [
            {"name": "launch", BATCH: {"tasks": jobs}},
            {"name": "wait", WAIT: {"name": "*", "timeout": 100}, "ignore_errors": True},
        ],
        files={"library/hog.py": HOG},
        env={"ANSIBLE_LIBRARY": "library"},
    )
    waited = by_name(played.result("wait"))
    states = {name: job["state"] for name, job in waited.items()}
    assert states == {"module": "failed", "child": "failed"} | {f"other {number}": "succeeded" for number in range(3)}
    for name in ("module", "child"):
        assert "signal 9" in waited[name]["msg"]
        assert "memory" in waited[name]["msg"]
    assert waited["child"]["result"]["rc"] == -9


# ---- its clock jumps

FAKED_BY = "libfaketime.so.1"
# This file has the offset of the time of day that the host's processes see; durations are not affected.
OFFSET = "/etc/faketime"
CLOCK = {
    "LD_PRELOAD": f"/usr/local/lib/{FAKED_BY}",
    "FAKETIME_TIMESTAMP_FILE": OFFSET,
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_NO_CACHE": "1",
    "NO_FAKE_STAT": "1",
}


@pytest.fixture
def faked(host):
    """A host whose clock can be set, by writing an offset into a file."""
    base, suite = "background-jobs-host:trixie", "faketime"
    label = '{{index .Config.Labels "background.jobs.content"}}'
    made, wanted = (
        subprocess.run(
            ["docker", "image", "inspect", "--format", label, image], check=False, capture_output=True, text=True
        ).stdout
        for image in (f"background-jobs-host:{suite}", base)
    )
    if made != wanted:
        one = host()
        one.run("apt-get", "update", "-qq", timeout=300)
        one.run("apt-get", "install", "-qq", "-y", "--no-install-recommends", "libfaketime", timeout=300)
        one.run("sh", "-c", f"cp /usr/lib/*/faketime/{FAKED_BY} /usr/local/lib/; echo +0 >{OFFSET}")
        one.docker("commit", after=(f"background-jobs-host:{suite}",))
    return host(*(f"--env={name}={value}" for name, value in CLOCK.items()), suite=suite)


NOW = "import time; print(time.time())"


@pytest.mark.parametrize("offset", ["+1d", "-1d"])
def test_a_jump_of_the_clock_changes_neither_time_outs_nor_order(faked, play, until, offset):
    jobs = [
        {"name": "limited", **shell("sleep 300"), "timeout": 7},
        {"name": "first", **shell("sleep 5")},
        {"name": "second", **shell("true"), "depends_on": ["first"]},
        {
            "name": "again",
            **shell("test -e /tmp/again || { touch /tmp/again; sleep 4; exit 1; }"),
            "retries": 1,
            "delay": 2,
        },
    ]
    running = play.start(
        faked,
        [
            {"name": "launch", BATCH: {"tasks": jobs}},
            {"name": "early", WAIT: {"name": "limited", "timeout": 0.1, "on_timeout": "return"}},
            {"name": "wait", WAIT: {"name": "*", "timeout": 100}, "ignore_errors": True},
            {"name": "info", INFO: {}},
            {"name": "young", INFO: {"newer_than": "1h"}},
            {"name": "old", INFO: {"older_than": "1h"}},
            {"name": "now", "ansible.builtin.command": "date +%s"},
        ],
    )
    until(lambda: faked.run("pgrep", "-fx", "sleep 300", check=False), "the jobs run")
    before = float(faked.python(NOW))
    faked.run("sh", "-c", f"echo {offset} >{OFFSET}")
    jumped = float(faked.python(NOW)) - before
    assert 86000 < abs(jumped) < 87000, "the clock of the host was not set"
    played = running.wait()

    waited = by_name(played.result("wait"))
    states = {"limited": "timed_out", "first": "succeeded", "second": "succeeded", "again": "succeeded"}
    assert {name: job["state"] for name, job in waited.items()} == states
    assert 7 <= waited["limited"]["duration"] < 40
    assert 5 <= waited["first"]["duration"] < 40
    assert waited["first"]["ended_at"] <= waited["second"]["started_at"]
    assert waited["again"]["attempts"] == 2
    for job in waited.values():
        assert job["queued_at"] <= job["started_at"] <= job["ended_at"] <= job["queued_at"] + 100
        # by the clock at the time of the launch
        assert abs(job["queued_at"] - before) < 100
    assert played.result("wait")["elapsed"] < 100
    old, young = ([job["name"] for job in played.result(task)["jobs"]] for task in ("old", "young"))
    # Ages are the seconds that have passed, whatever the clock was set to.
    assert (len(old), len(young)) == (0, 4)
