# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of login sessions on a host whose logind kills all of their processes (KillUserProcesses=yes)."""

from __future__ import annotations

import subprocess

import pytest

SUITE = "sessions"
# The hosts of other tests have no logind, as it slows down logins. Root is not excluded here.
DOCKERFILE = """
FROM background-jobs-host:bookworm
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \\
      libpam-systemd dbus-user-session && rm -rf /var/lib/apt/lists/*
RUN rm -f /etc/systemd/system/systemd-logind.service && mkdir -p /etc/systemd/logind.conf.d && \\
    printf '[Login]\\nKillUserProcesses=yes\\nKillExcludeUsers=nobody\\n' >/etc/systemd/logind.conf.d/kill.conf
"""
# Connections that stay open would keep their session.
ENV = {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no -o UserKnownHostsFile=/dev/null"}
KEYWORDS = {
    "deploy": {"vars": {"ansible_user": "deploy"}},
    "sudo": {"vars": {"ansible_user": "deploy"}, "become": True},
    "root": {},
}


@pytest.fixture(scope="module")
def suite():
    """The name of the suite with logind."""
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", f"background-jobs-host:{SUITE}", "-"],
        input=DOCKERFILE,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return SUITE


def launch(play, host, prefix, *who):
    """Launch a job that waits for a file, for each kind of user; return the results of the launches."""
    script = "until [ -e /tmp/go-{0} ]; do sleep 0.1; done; echo survived"
    tasks = [
        {
            "name": kind,
            "background.jobs.async_run": {
                "name": f"{prefix} {kind}",
                "task": {"ansible.builtin.shell": script.format(prefix)},
            },
            **KEYWORDS[kind],
        }
        for kind in who
    ]
    played = play(host, tasks, env=ENV)
    return [played.result(kind) for kind in who]


def logged_out(host):
    """Whether no process belongs to a session any more. A session without processes may still be listed."""
    return not host.run("sh", "-c", "grep -l '/session-[^/]*[.]scope' /proc/[0-9]*/cgroup", check=False).strip()


def end(play, host, prefix, *who):
    """Let jobs end, and return their entries."""
    host.run("touch", f"/tmp/go-{prefix}")
    tasks = [
        {
            "name": kind,
            "background.jobs.async_wait": {"name": f"{prefix} {kind}", "timeout": 60},
            "ignore_errors": True,
            **KEYWORDS[kind],
        }
        for kind in who
    ]
    played = play(host, tasks, env=ENV)
    return [job for kind in who for job in played.result(kind)["jobs"]]


def test_jobs_outlive_their_session_or_the_launch_warns(host, play, until, suite, report):
    machine = host(suite=suite, connection="ssh", systemd=True)
    until(lambda: "running" in machine.run("systemctl", "is-system-running", check=False), "the host is up")

    (warned,) = launch(play, machine, "warned", "deploy")
    (warning,) = warned["warnings"]
    for words in ("login session of deploy", "KillUserProcesses=yes", "loginctl enable-linger deploy", "become: true"):
        assert words in warning, warning
    until(lambda: logged_out(machine), "the session ended")
    (lost,) = end(play, machine, "warned", "deploy")
    assert lost["state"] == "lost", lost

    machine.run("loginctl", "enable-linger", "deploy")
    for launched in launch(play, machine, "kept", *KEYWORDS):
        assert "warnings" not in launched, launched
    until(lambda: logged_out(machine), "the sessions ended")
    for job in end(play, machine, "kept", *KEYWORDS):
        assert (job["state"], job["result"]["stdout"]) == ("succeeded", "survived"), job
    report(
        f"sessions that ended with all of their processes: jobs of {len(KEYWORDS)} kinds of users outlived them, 1 warned"
    )


def test_a_session_that_leaves_its_processes_costs_no_look_at_systemd(host, play, until, suite):
    machine = host(suite=suite, connection="ssh", systemd=True)
    until(lambda: "running" in machine.run("systemctl", "is-system-running", check=False), "the host is up")
    machine.run("rm", "/etc/systemd/logind.conf.d/kill.conf")
    machine.run("systemctl", "restart", "systemd-logind")
    machine.run(
        "sh", "-c", "printf '#!/bin/sh\\ntouch /tmp/asked\\n' >/usr/local/bin/busctl; chmod 755 /usr/local/bin/busctl"
    )
    (launched,) = launch(play, machine, "plain", "deploy")
    assert "warnings" not in launched, launched
    # the session itself lasts as long as the job that was left in it
    until(lambda: not machine.run("pgrep", "-f", "sshd: deploy", check=False), "the connection ended")
    (job,) = end(play, machine, "plain", "deploy")
    assert job["state"] == "succeeded", job
    assert machine.run("ls", "/tmp/asked", check=False) == ""
