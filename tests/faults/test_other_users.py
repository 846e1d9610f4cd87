# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks inside of a job that run as another user than the launch: between all kinds of users, by sudo."""

from __future__ import annotations

import pytest

# deploy may become any user without a password, worker may not become another user.
PREPARE = "useradd --create-home --shell /bin/bash worker; cp -r /home/deploy/.ssh /home/worker/.ssh; chown -R worker: /home/worker/.ssh"
# Who launches, and which user the tasks inside become.
WAYS = {
    "ordinary to root": ("deploy", {"become": True}, "root"),
    "root to ordinary": ("root", {"become": True, "become_user": "worker"}, "worker"),
    "ordinary to ordinary": ("deploy", {"become": True, "become_user": "worker"}, "worker"),
}
EACH_WAY = pytest.mark.parametrize("way", WAYS)
SCRIPT = """#!/bin/sh
ls -l "$0" >/tmp/path; stat -c '%U %a' "$0" "$(dirname "$0")"; echo "$0" >/tmp/script
until [ -e /tmp/go ]; do sleep 0.1; done; id -un
"""


@pytest.fixture
def machine(host):
    one = host(connection="ssh")
    one.run("sh", "-c", PREPARE)
    return one


def run(name, task, **options):
    return {"name": name, "background.jobs.async_run": {"name": name, "task": task, **options}}


def waited(name, task, **options):
    return run(name, task, wait=True, wait_timeout=60, poll=0, **options)


def whoami(name="who", **keywords):
    return {"name": name, "ansible.builtin.command": "id -un", "changed_when": False, **keywords}


@EACH_WAY
def test_a_task_inside_is_the_other_user_and_those_beside_it_are_not(machine, play, way):
    launcher, become, other = WAYS[way]
    late = {
        "block": [
            whoami("before", register="before"),
            whoami("inside", register="inside", **become),
            {
                "name": "late",
                "ansible.builtin.copy": {
                    "content": "{{ before.stdout }} and {{ inside.stdout }}\n",
                    "dest": "~/made",
                    "mode": "0600",
                },
                **become,
            },
            whoami("after", register="after"),
        ]
    }
    known = {
        "block": [
            {"ansible.builtin.command": "id -un"},
            {"ansible.builtin.template": {"src": "t.j2", "dest": "~/known", "mode": "0600"}, **become},
            {"ansible.builtin.command": "id -un", **become},
        ]
    }
    tasks = [
        waited("late", late),
        waited("known", known),
        waited("alone", {"ansible.builtin.command": "id -un", **become}),
    ]
    played = play(machine, tasks, vars={"ansible_user": launcher}, files={"templates/t.j2": "{{ 6 * 7 }}.\n"})
    (job,) = played.result("late")["jobs"]
    said = {name: job["registered"][name]["stdout"] for name in ("before", "inside", "after")}
    assert said == {"before": launcher, "inside": other, "after": launcher}
    home = machine.run("sh", "-c", f"echo ~{other}").strip()
    assert machine.run("cat", f"{home}/made") == f"{launcher} and {other}\n"
    assert machine.run("cat", f"{home}/known") == "42.\n"
    assert machine.run("stat", "-c", "%U %a", f"{home}/made", f"{home}/known") == f"{other} 600\n" * 2
    (job,) = played.result("known")["jobs"]
    assert [job["results"][index]["result"].get("stdout") for index in (0, 2)] == [launcher, other]
    assert played.result("alone")["jobs"][0]["result"]["stdout"] == other


@EACH_WAY
def test_its_files_are_for_that_user_and_no_other(machine, play, until, way):
    launcher, become, other = WAYS[way]
    task = {"block": [{"name": "script", "ansible.builtin.script": "s.sh", **become}]}
    options = {"vars": {"ansible_user": launcher}, "files": {"s.sh": SCRIPT}}
    running = play.start(machine, [waited("script", task)], **options)
    path = until(lambda: machine.run("cat", "/tmp/script", check=False).strip(), "the script runs")
    assert machine.run("cat", path, user=other) == SCRIPT
    for somebody in {"deploy", "worker", "nobody"} - {other}:
        assert machine.run("cat", path, user=somebody, check=False) == "", somebody
    machine.run("touch", "/tmp/go")
    (job,) = running.wait().result("script")["jobs"]
    assert job["result"]["stdout_lines"] == [f"{other} 700", f"{other} 700", other]
    machine.run("test", "!", "-e", path)


@EACH_WAY
def test_it_is_cancelled_and_timed_out_with_all_that_it_has_started(machine, play, way):
    launcher, become, dummy = WAYS[way]
    sleeps = {"ansible.builtin.shell": "echo of a child; sleep 4242 & sleep 4243; sleep 4244", **become}
    tasks = [
        run("cancelled", {"block": [whoami("before", register="x"), sleeps, {"command": "touch /tmp/too-far"}]}),
        run("plain", {"block": [{"command": "id -un"}, sleeps]}),
        {
            "name": "see it",
            "ansible.builtin.command": "pgrep -f 'sleep 424[23]'",
            "register": "seen",
            "until": "seen.stdout_lines | length >= 4",
            "retries": 50,
            "delay": 0.2,
        },
        {"name": "tail", "background.jobs.async_info": {"name": ["cancelled", "plain"], "tail": 5}},
        {"name": "cancel", "background.jobs.async_cancel": {"name": ["cancelled", "plain"], "grace": 5}},
        {**waited("timed out", {"block": [sleeps], "timeout": 2}), "ignore_errors": True},
        {
            "name": "look",
            "background.jobs.async_wait": {"name": ["cancelled", "plain"], "on_timeout": "return"},
            "ignore_errors": True,
        },
    ]
    played = play(machine, tasks, vars={"ansible_user": launcher})
    assert [job["stdout_lines"][-1] for job in played.result("tail")["jobs"]] == ["of a child"] * 2
    assert [job["state"] for job in played.result("look")["jobs"]] == ["cancelled", "cancelled"]
    (job,) = played.result("timed out")["jobs"]
    assert job["state"] == "timed_out" and job["duration"] < 8, job
    assert machine.run("pgrep", "-f", "sleep 424", check=False) == ""
    machine.run("test", "!", "-e", "/tmp/too-far")


def test_what_would_ask_for_a_password_is_refused_and_nothing_is_started(machine, play):
    task = {"block": [whoami(register="x"), whoami("inside", become=True)]}
    played = play(
        machine,
        [
            {**waited("refused", task), "ignore_errors": True},
            # Root is not asked for a password.
            {**waited("root", task), "vars": {"ansible_user": "root"}},
        ],
        vars={"ansible_user": "deploy", "ansible_become_password": "secret"},
    )
    refused = played.result("refused")
    assert refused["failed"] and "passwords are not sent to hosts" in refused["msg"], refused
    assert "'inside'" in refused["msg"] and "Nothing was started." in refused["msg"], refused
    assert "secret" not in str(refused)
    machine.run("test", "!", "-e", "/home/deploy/.ansible_async")
    assert played.result("root")["jobs"][0]["state"] == "succeeded"


def test_one_who_may_not_fails_and_says_what_sudo_said(machine, play):
    task = {"block": [whoami(register="x"), whoami("inside", become=True)]}
    played = play(
        machine, [{**waited("asked", task), "ignore_errors": True}], vars={"ansible_user": "worker"}, check=True
    )
    (job,) = played.result("asked")["jobs"]
    assert job["state"] == "failed" and "becoming root failed: " in job["msg"], job
    assert "password is required" in job["msg"], job
