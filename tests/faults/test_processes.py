# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGKILL at any moment, of any process of a batch."""

from __future__ import annotations

# The processes of a batch that a label on their command line names.
KILL = """
import os, signal, sys
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open("/proc/%s/cmdline" % name, "rb") as stream:
            words = stream.read().split(b"\\0")
    except OSError:
        continue
    if b"background.jobs" in words and os.fsencode(sys.argv[1]) in words:
        os.kill(int(name), signal.SIGKILL)
"""


def test_a_killed_supervisor_loses_its_jobs_and_a_wait_says_so(host, play):
    one = host()
    launched = play(one, [{"name": "launch", "background.jobs.async_run": {"task": {"command": "sleep 300"}}}])
    jid = launched.result("launch")["ansible_job_id"]

    one.python(KILL, "supervisor")
    waited = play(one, [{"name": "wait", "background.jobs.async_wait": {"jobs": jid, "timeout": 60}}], check=False)

    (job,) = waited.result("wait")["jobs"]
    assert job["state"] == "lost"
    assert "its supervisor was gone" in job["msg"]
