# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Troubles for a supervisor: hosts that print messages, jobs that print without end, signals that end or stop it."""

from __future__ import annotations

import time

import pytest

from .conftest import FULL

FLOOD = "#!/usr/bin/env python3\nimport os\nfor dummy in range(3000):\n    os.write(1, b'\\1' * 100000)\n"
# Runs on the host: writes invalid requests into the FIFO of each batch.
NONSENSE = """
import glob
for path in glob.glob("/root/.ansible_async/.background_jobs/b*/control"):
    for line in ('{"cancel": [99], "grace": 1}', '{"cancel": [0], "grace": 1, "signal": 999}', '{"cancel": [0]}', "[]", "x"):
        with open(path, "w") as control:
            control.write(line + "\\n")
"""
MOST = """
import glob, json, os, sys, time
most, deadline = 0, time.monotonic() + 60
while not os.path.exists("/tmp/over") and time.monotonic() < deadline:
    for path in glob.glob("/root/.ansible_async/.background_jobs/b*/run/*"):
        try:
            most = max(most, os.stat(path).st_blocks * 512)
        except OSError:
            pass
    time.sleep(0.01)
print(json.dumps(most))
"""


def command(text, **keys):
    return {"ansible.builtin.shell": {"cmd": text}, **keys}


def supervisors(host):
    return [int(pid) for pid in host.run("pgrep", "-f", "background.jobs supervisor", check=False).split()]


def test_a_host_that_complains_at_each_start_of_a_program_runs_its_jobs(host, play):
    options = {"tasks": [command("echo here")], "wait": True, "poll": 0}
    task = {"name": "run", "background.jobs.async_batch": options, "environment": {"LD_PRELOAD": "/none.so"}}
    (job,) = play(host(), [task]).result("run")["jobs"]
    assert (job["state"], job["result"]["stdout"]) == ("succeeded", "here")


def test_a_script_that_prints_without_end_holds_nobody_up(host, play):
    one = host()
    jobs = [
        {"name": "flood", "ansible.builtin.script": {"cmd": "flood.py"}},
        command("exec sleep 60", name="limited", timeout=3),
    ]
    options = {"tasks": jobs, "wait": True, "poll": 0, "wait_timeout": 120}
    looker = one.begin(MOST)
    played = play(
        one, [{"name": "run", "background.jobs.async_batch": options, "ignore_errors": True}], files={"flood.py": FLOOD}
    )
    one.run("touch", "/tmp/over")
    flood, limited = played.result("run")["jobs"]
    assert (flood["state"], limited["state"]) == ("succeeded", "timed_out")
    assert limited["duration"] < 6
    assert "bytes left out" in flood["result"]["stdout"]
    assert 0 < int(looker.communicate(timeout=60)[0]) < 20 << 20


def test_a_supervisor_takes_no_nonsense_and_ends_its_jobs_when_it_is_told_to_end(host, play, until):
    one = host()
    jobs = [
        {
            "name": "block",
            "block": [command("trap 'touch /tmp/trapped; exit 1' TERM; touch /tmp/up; while :; do sleep 0.1; done")],
            "always": [command("touch /tmp/always")],
        },
        command("touch /tmp/never", name="after", depends_on=["block"], run_when="always"),
    ]
    play(one, [{"name": "launch", "background.jobs.async_batch": {"tasks": jobs}}])
    until(lambda: one.run("ls", "/tmp/up", check=False), "the block runs")
    one.run("python3", "-", text=NONSENSE)
    (pid,) = supervisors(one)
    one.run("kill", "-TERM", str(pid))
    until(lambda: not supervisors(one), "the supervisor ends")
    wait = {"name": "wait", "background.jobs.async_wait": {"name": ["*"], "poll": 0}, "ignore_errors": True}
    block, after = play(one, [wait]).result("wait")["jobs"]
    assert (block["state"], after["state"]) == ("cancelled", "cancelled")
    assert block["msg"] == "cancelled while it ran: its supervisor was told to end"
    assert one.run("ls", "/tmp").split() == ["always", "trapped", "up"]


@pytest.mark.skipif(not FULL, reason="takes its time: `make soak`")
def test_a_cancel_gives_up_where_a_supervisor_is_stopped(host, play, until):
    one = host()
    play(one, [{"name": "launch", "background.jobs.async_batch": {"tasks": [command("sleep 600", name="long")]}}])
    (pid,) = until(lambda: supervisors(one), "a supervisor")
    one.run("kill", "-STOP", str(pid))
    begun = time.monotonic()
    cancel = {"name": "cancel", "background.jobs.async_cancel": {"all": True, "grace": 1}, "ignore_errors": True}
    result = play(one, [cancel]).result("cancel")
    assert 31 <= time.monotonic() - begun < 60
    assert result["failed"] and f"process {pid}," in result["msg"]
    one.run("kill", "-CONT", str(pid))
    assert play(one, [cancel]).result("cancel")["jobs"][0]["state"] == "cancelled"
