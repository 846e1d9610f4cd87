# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The limits of jobs: memory, processor time and niceness, on hosts that can enforce them and on hosts that can't."""

from __future__ import annotations

import os

import pytest

IS_VERSION_1 = os.path.isdir("/sys/fs/cgroup/memory")
# Docker mounts the hierarchies read-only; with the real folders the container can make groups below its own.
WRITABLE = [f"--volume=/sys/fs/cgroup/{name}:/sys/fs/cgroup/{name}:rw" for name in ("memory", "cpu") if IS_VERSION_1]
GREEDY = "import sys; print(len(b'x' * (int(sys.argv[1]) << 20)))"
# Prints how much processor time it got in about a second.
BUSY = "import time; end = time.time() + 1\nwhile time.time() < end: pass\nprint(time.process_time())"
GROUPS = "find /sys/fs/cgroup -name 'job-*' -path '*background-jobs-%s*'"


def python(program, *arguments, **keys):
    """Return a job that runs a Python program."""
    return {"ansible.builtin.command": {"argv": ["python3", "-c", program, *arguments]}, **keys}


def batch(play, host, tasks, **settings):
    """Run a batch to its end; return its jobs by name, or the result of a launch that was refused."""
    options = {"tasks": tasks, "wait": True, "wait_timeout": 120, "poll": 0, "cleanup": True}
    result = play(
        host, [{"name": "batch", "background.jobs.async_batch": options, "ignore_errors": True}], **settings
    ).result("batch")
    return {job["name"]: job for job in result["jobs"]} if "jobs" in result else result


def left(machine, jobs):
    """Return the groups of the batch of these jobs; a host may also see those of what else runs on this machine."""
    batch_id = jobs["needs too much"]["ansible_job_id"].partition(".")[0].replace("j", "b")
    return machine.run("sh", "-c", GROUPS % batch_id, check=False).splitlines()


def check_enforced(jobs):
    """Check the results of `limited`."""
    killed = jobs["needs too much"]
    assert killed["state"] == "failed", killed
    assert killed["msg"] == "killed by signal 9 (SIGKILL): it needed more memory than its memory_max of 64M"
    assert killed["result"]["rc"] == -9
    assert jobs["needs little"]["result"]["stdout"] == str(8 << 20)
    assert jobs["is not limited"]["result"]["stdout"] == str(200 << 20)
    slow = float(jobs["is slow"]["result"]["stdout"])
    assert slow < 0.6, slow  # about a quarter of a second; without the limit, up to one
    rescued = jobs["block"]
    assert (rescued["state"], rescued["rescued"]) == ("succeeded", True), rescued
    worked_out = jobs["is worked out"]
    assert worked_out["state"] == "lost", worked_out
    assert worked_out["msg"].endswith("it needed more memory than its memory_max of 64M"), worked_out


def limited():
    """Return jobs, some of which need more than they may have."""
    return [
        python(GREEDY, "200", name="needs too much", memory_max="64M"),
        python(GREEDY, "8", name="needs little", memory_max="64M"),
        python(GREEDY, "200", name="is not limited"),
        python(BUSY, name="is slow", cpu_quota="25%"),
        {"name": "block", "memory_max": "64M", "block": [python(GREEDY, "200")], "rescue": [python(GREEDY, "8")]},
        {
            "name": "is worked out",
            "memory_max": "64M",
            "block": [
                {"ansible.builtin.command": "true", "register": "out"},
                {"ansible.builtin.set_fact": {"big": "{{ out.rc | string * 200000000 }}"}},
            ],
        },
    ]


def test_systemd_hands_over_a_scope_in_which_jobs_are_limited(host, play, until):
    machine = host(*WRITABLE, suite="bookworm", systemd=True)
    until(lambda: "running" in machine.run("systemctl", "is-system-running", check=False), "the host is up")
    tell = {"name": "tell", "ansible.builtin.command": "cat /proc/self/cgroup", "memory_max": "64M"}
    jobs = batch(play, machine, [*limited(), tell])
    check_enforced(jobs)
    inside = jobs["tell"]["result"]["stdout_lines"]
    assert any("/background-jobs-b" in line and ".scope" in line and "/job-6" in line for line in inside), inside
    gone = "systemctl list-units --all --no-legend 'background-jobs-*'"
    until(lambda: not machine.run("sh", "-c", gone).strip(), "the scope is gone")
    assert left(machine, jobs) == []


@pytest.mark.skipif(not IS_VERSION_1, reason="a container gets no part of control groups v2 that it could divide")
def test_without_systemd_groups_are_made_where_they_can_be_written(host, play):
    machine = host("--cgroupns=host", *WRITABLE)
    jobs = batch(play, machine, limited())
    check_enforced(jobs)
    assert left(machine, jobs) == []


def test_a_host_that_cannot_limit_a_job_starts_nothing(host, play):
    machine = host()
    touch = {"name": "first", "ansible.builtin.command": "touch /tmp/ran"}
    for limit, value in (("memory_max", "64M"), ("cpu_quota", 50)):
        refused = batch(play, machine, [touch, {**touch, "name": "second", limit: value}])
        said = ("Nothing was started", f"{limit} of job 'second'", "/sys/fs/cgroup", "systemd", f"leave '{limit}' out")
        assert all(words in refused["msg"] for words in said), refused
    assert machine.run("ls", "/tmp/ran", check=False) == ""
    assert machine.run("sh", "-c", "ls -d /root/.ansible_async/.background_jobs/b*", check=False) == ""


def test_an_ordinary_user_whose_manager_ends_is_told_to_have_it_linger(host, play, until):
    machine = host(suite="bookworm", systemd=True)
    until(lambda: "running" in machine.run("systemctl", "is-system-running", check=False), "the host is up")
    task = {"name": "x", "ansible.builtin.command": "touch /tmp/ran", "memory_max": "64M"}
    refused = batch(play, machine, [task], become=True, become_user="deploy")
    for words in ("memory_max of job 'x'", "lingering is not enabled", "loginctl enable-linger deploy"):
        assert words in refused["msg"], refused
    assert machine.run("ls", "/tmp/ran", check=False) == ""


def test_niceness_is_set_or_refused_before_anything_starts(host, play):
    may, may_not = host("--cap-add=SYS_NICE"), host()
    nice = [{"name": str(number), "ansible.builtin.command": "nice", "nice": number} for number in (0, 7, 19)]
    first = [*nice, {"name": "first", "ansible.builtin.command": "nice", "nice": -5}]
    ordinary = {"become": True, "become_user": "deploy"}
    tasks = [
        {"name": name, "background.jobs.async_batch": {"tasks": jobs, "wait": True}, "ignore_errors": True, **keywords}
        for name, jobs, keywords in (("root", first, {}), ("nicer", nice, ordinary), ("deploy", first, ordinary))
    ]
    played = play([may, may_not], tasks)
    for done, values in (("root", ["0", "7", "19", "-5"]), ("nicer", ["0", "7", "19"])):
        assert [job["result"]["stdout"] for job in played.result(done, may)["jobs"]] == values
    assert [job["result"]["stdout"] for job in played.result("nicer", may_not)["jobs"]] == ["0", "7", "19"]
    for refused in (played.result("root", may_not), played.result("deploy", may), played.result("deploy", may_not)):
        assert "Nothing was started: nice -5 of job 'first' is refused by the host" in refused["msg"], refused


def test_a_job_that_the_kernel_kills_says_signal_9_and_the_likely_reason(host, play):
    machine = host("--memory=256m", "--memory-swap=256m")
    module = {"name": "itself", "ansible.builtin.shell": "kill -9 $PPID; sleep 60"}
    jobs = batch(play, machine, [python(GREEDY, "1000", name="child"), module])
    for job in jobs.values():
        assert job["state"] == "failed", job
        assert "killed by signal 9" in job["msg"] and "likely because memory ran out" in job["msg"], job
