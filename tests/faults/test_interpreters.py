# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interpreters of jobs: on hosts with planted modules that they must not import, and on hosts without /proc."""

from __future__ import annotations

import subprocess

# Modules of the standard library; not `datetime` and `resource`, which core itself imports from there with pipelining.
NAMES = [
    "ast",
    "atexit",
    "base64",
    "collections",
    "contextlib",
    "copy",
    "errno",
    "functools",
    "gc",
    "glob",
    "importlib",
    "io",
    "json",
    "locale",
    "os",
    "random",
    "re",
    "runpy",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "stat",
    "struct",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "traceback",
    "types",
    "typing",
    "warnings",
    "weakref",
    "zipfile",
]
LIE_IN_WAIT = "import os; open('/tmp/imported', 'a').write('%s by %d\\n' % (__name__, os.geteuid()))\n"
PREPARE = f"""
import os
for name in {NAMES!r}:
    with open("/home/deploy/%s.py" % name, "w") as stream:
        stream.write({LIE_IN_WAIT!r})
os.mkdir("/tmp/lib", 0o755)
with open("/tmp/lib/sitecustomize.py", "w") as stream:
    stream.write("open('/tmp/honoured', 'w')")
"""


def batch(name, tasks, **options):
    return {"name": name, "background.jobs.async_batch": {"tasks": tasks, "wait": True, "poll": 0, **options}}


def test_root_imports_nothing_that_the_user_has_who_became_it(host, play):
    machine = host(connection="ssh")
    machine.python(PREPARE, user="deploy")
    command = {"ansible.builtin.command": "id -un", "name": "command"}
    tasks = [
        command,
        {"ansible.builtin.setup": {"gather_subset": "!all"}, "name": "setup"},
        {"ansible.builtin.script": "x.py", "args": {"executable": "/usr/bin/python3 -I"}, "name": "script"},
    ]
    played = play(
        machine,
        [
            batch("batch", tasks),
            batch("honoured", [{**command, "environment": {"PYTHONPATH": "/tmp/lib"}}]),
            batch("not kept", tasks[:2], keep_output=0),
        ],
        become=True,
        vars={"ansible_user": "deploy"},
        files={"x.py": "print(1)"},
    )
    assert played.result("batch")["jobs"][0]["result"]["stdout"] == "root"
    assert machine.run("cat", "/tmp/imported", check=False) == ""
    machine.run("test", "-e", "/tmp/honoured")


def test_without_proc_jobs_are_ended_and_only_what_was_done_is_told(host, play):
    machine = host("--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined", connection="ssh")
    shell = "{trap}sleep 4242 & sleep 4242; sleep 4242"
    limited = [
        {"ansible.builtin.shell": shell.format(trap=""), "name": "ends", "timeout": 2},
        {"ansible.builtin.shell": shell.format(trap="trap '' TERM; "), "name": "does not", "timeout": 2},
        {"ansible.builtin.command": "echo 1", "name": "other"},
    ]
    hide = {"name": "hide", "ansible.builtin.command": "mount -t tmpfs none /proc"}
    played = play(machine, [hide, {**batch("batch", limited, wait_timeout=60), "ignore_errors": True}])
    ends, does_not, other = played.result("batch")["jobs"]
    assert other["state"] == "succeeded"
    assert (ends["state"], does_not["state"]) == ("timed_out", "timed_out")
    assert ends["msg"] == "timed out: it ran longer than its timeout of 2 s"
    assert ends["duration"] < 8
    assert does_not["msg"].endswith("it did not end on SIGTERM and was killed"), does_not
    assert does_not["duration"] < 20
    shown = subprocess.run(["docker", "top", machine.container], check=True, capture_output=True, text=True).stdout
    assert "4242" not in shown, shown
