# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Heavy load, and jobs that misbehave. The guide to performance has the figures that are measured here."""

from __future__ import annotations

import json
import time

BATCH = "background.jobs.async_batch"
WAIT = "background.jobs.async_wait"
INFO = "background.jobs.async_info"
CANCEL = "background.jobs.async_cancel"
MIB = 1 << 20

# Runs on the host until /tmp/enough exists: measures the peak memory of supervisors and templates, and of disk usage.
MEASURE = """
import json, os, re, time
most = {"supervisor": 0, "template": 0, "disk": 0}
def look():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % name, "rb") as stream:
                words = stream.read().split(b"\\0")
            if b"background.jobs" not in words:
                continue
            with open("/proc/%s/stat" % name, "rb") as stream:
                session = int(stream.read().rpartition(b")")[2].split()[3])
            with open("/proc/%s/status" % name) as stream:
                peak = int(re.search(r"VmHWM:\\s+(\\d+)", stream.read()).group(1)) * 1024
        except (OSError, AttributeError):
            continue
        if b"supervisor" in words:
            most["supervisor"] = max(most["supervisor"], peak)
        elif session != int(name):
            most["template"] = max(most["template"], peak)
def disk(path):
    total = 0
    for folder, folders, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                pass
    return total
while not os.path.exists("/tmp/enough"):
    look()
    most["disk"] = max(most["disk"], disk("/root/.ansible_async"))
    time.sleep(0.5)
print(json.dumps(most))
"""


class Measured:
    """Measures the jobs of a host while the block runs; after it, `most` has the peaks in MiB, `seconds` the duration."""

    def __init__(self, host):
        self._host = host

    def __enter__(self):
        self._host.run("rm", "-f", "/tmp/enough")
        self._process = self._host.begin(MEASURE)
        self._began = time.monotonic()
        return self

    def __exit__(self, *exc):
        self.seconds = time.monotonic() - self._began
        self._host.run("touch", "/tmp/enough")
        self.most = {name: size / MIB for name, size in json.loads(self._process.communicate(timeout=60)[0]).items()}

    def __str__(self):
        return (
            f"{self.seconds:.0f} s, supervisor {self.most['supervisor']:.0f} MiB, template "
            f"{self.most['template']:.0f} MiB, disk {self.most['disk']:.1f} MiB at most"
        )


def shell(text):
    return {"ansible.builtin.command": {"argv": ["sh", "-c", text]}}


def states(result):
    return {job["name"]: job["state"] for job in result["jobs"]}


def test_many_jobs_at_once(host, play, until, rounds, report):
    one = host()
    number = rounds(200, 1000)
    one.run("mkfifo", "/tmp/gate")
    jobs = [
        {"name": "{{ item }}", **shell("read nothing </tmp/gate; true"), "loop": f"{{{{ range({number}) | list }}}}"}
    ]
    with Measured(one) as measured:
        launched = play(one, [{"name": "launch", BATCH: {"tasks": jobs}}]).result("launch")
        journal = f"/root/.ansible_async/.background_jobs/{launched['batch_id']}/journal"
        until(lambda: one.run("cat", journal).count('"pid"') == number, "all run", 300)
        one.run("sh", "-c", "exec 3>/tmp/gate")
        waited = play(one, [{"name": "wait", WAIT: {"jobs": launched, "timeout": 300, "cleanup": True}}]).result("wait")
    assert waited["counts"]["succeeded"] == number
    assert measured.most["supervisor"] < 200
    report(f"{number} jobs at once: {measured}")


def test_a_long_batch(host, play, rounds, report):
    one = host()
    number = rounds(500, 10000)
    jobs = [{"name": "{{ item }}", "command": "true", "loop": f"{{{{ range({number}) | list }}}}"}]
    launch = {"tasks": jobs, "concurrency": 8}
    with Measured(one) as measured:
        played = play(
            one,
            [
                {"name": "launch", BATCH: launch},
                {"name": "wait", WAIT: {"name": "*", "timeout": 1500, "poll": 0}},
                {"name": "info", INFO: {"name": "*"}},
            ],
            timeout=1800,
        )
    waited = played.result("wait")
    assert waited["counts"]["succeeded"] == number == len(played.result("info")["jobs"])
    assert measured.most["supervisor"] < 400
    report(f"{number} jobs in a batch, 8 at a time: {measured}; {1000 * measured.seconds / number:.1f} ms a job in all")


def test_jobs_that_print_very_much(host, play, rounds, report):
    """ansible-core's run_command gets slower with more output: a timeout ends that too."""
    one = host("--memory=3g", "--memory-swap=3g")
    megabytes = rounds(100, 1000)
    much = f"head -c {megabytes}000000 /dev/zero | tr '\\0' x"
    jobs = [
        {"name": "read by a module", **shell(much), "timeout": 10},
        {"name": "as it comes", "ansible.builtin.script": "much.sh"},
        {"name": "other", **shell("sleep 1; echo here")},
    ]
    ended = {
        "name": "info",
        INFO: {"name": "*"},
        "register": "info",
        "until": "info.jobs | rejectattr('finished') | length == 0",
        "retries": 300,
        "delay": 1,
    }
    wait = {"name": "wait", WAIT: {"name": "other", "timeout": 10}}
    with Measured(one) as measured:
        played = play(
            one, [{"name": "launch", BATCH: {"tasks": jobs}}, ended, wait], files={"much.sh": f"#!/bin/sh\n{much}\n"}
        )
    found = {job["name"]: job for job in played.result("info")["jobs"]}
    assert found["other"]["state"] == "succeeded"
    assert found["read by a module"]["state"] in ("timed_out", "succeeded")
    assert found["as it comes"]["state"] == "succeeded"
    told = ", ".join(f"{name}: {job['state']} after {job['duration']:.0f} s" for name, job in found.items())
    report(f"jobs that print {megabytes} MB: {told}; {measured}")


BIG = """
from ansible.module_utils.basic import AnsibleModule
AnsibleModule(argument_spec={}).exit_json(blob="0123456789" * 5000000)
"""


def test_a_result_of_50_mb(host, play, report):
    one = host()
    with Measured(one) as measured:
        played = play(
            one,
            [
                {
                    "name": "launch",
                    BATCH: {"tasks": [{"name": "big", "big": {}}, {"name": "little", "command": "true"}]},
                },
                {"name": "wait", WAIT: {"name": "*", "timeout": 200}},
            ],
            files={"library/big.py": BIG},
            env={"ANSIBLE_LIBRARY": "library"},
        )
    waited = played.result("wait")
    assert states(waited) == {"big": "succeeded", "little": "succeeded"}
    assert waited["jobs"][0]["result"]["blob"] == "0123456789" * 5000000
    report(f"a result of 50 MB: {measured}")


def test_jobs_that_do_not_end_when_they_are_told_to(host, play, report):
    """Hundreds of children, one that ignores SIGTERM, and daemons: at the end, at a time-out, and at a cancel."""
    one = host()
    daemon = "setsid --fork sleep {} >/dev/null 2>&1 </dev/null; "
    jobs = [
        {"name": "children", **shell("for n in $(seq 200); do sleep 600 & done; wait")},
        {"name": "stubborn", **shell("trap '' TERM; while :; do sleep 601; done")},
        {"name": "stubborn limited", **shell("trap '' TERM; while :; do sleep 602; done"), "timeout": 2},
        {"name": "daemon", **shell(daemon.format(611))},
        {"name": "daemon limited", **shell(daemon.format(612) + "sleep 600"), "timeout": 3},
        {"name": "daemon cancelled", **shell(daemon.format(613) + "sleep 600")},
    ]
    limited = {"jobs": "{{ launched.jobs[2:5] }}", "timeout": 60}
    played = play(
        one,
        [
            {"name": "launch", BATCH: {"tasks": jobs}, "register": "launched"},
            {"name": "wait", WAIT: limited, "ignore_errors": True},
            {"name": "info", INFO: {"name": "*"}},
            {"name": "cancel", CANCEL: {"name": "*", "grace": 2}},
        ],
    )
    waited = {job["name"]: job for job in played.result("wait")["jobs"]}
    assert {name: job["state"] for name, job in waited.items()} == {
        "stubborn limited": "timed_out",
        "daemon": "succeeded",
        "daemon limited": "timed_out",
    }
    assert "did not end on SIGTERM and was killed" in waited["stubborn limited"]["msg"]
    assert 12 <= waited["stubborn limited"]["duration"] < 60
    listed = {job["name"]: job for job in played.result("info")["jobs"]}
    # the module, the shell, and the shell's children
    assert listed["children"]["processes"] == 202
    cancelled = {job["name"]: job for job in played.result("cancel")["jobs"]}
    assert {name for name, job in cancelled.items() if job["state"] == "cancelled"} == {
        "children",
        "stubborn",
        "daemon cancelled",
    }
    assert "did not end on SIGTERM and was killed" in cancelled["stubborn"]["msg"]
    # a daemon that outlives its job does not belong to it any more; nothing else is left
    assert one.run("pgrep", "--full", "--list-full", "sleep 6").split()[1:] == ["sleep", "611"]
    assert one.run("pgrep", "--full", "background.jobs", check=False) == ""
    report(f"a job that ignores SIGTERM ended {waited['stubborn limited']['duration'] - 2:.1f} s after its time was up")
