# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interpreters that a batch starts: what they import, what they leave, and what becomes of jobs whose interpreter hangs."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import processes

from ..conftest import Batch, gone, payload, until, wait_for_supervisor

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

BOTH_PATHS = pytest.mark.parametrize("fork", [True, False], ids=["fork", "exec"])
# What the standard library has, by the names of files: those of Python 3.8 to 3.14 that anybody might import here.
NAMES = [
    "ast",
    "atexit",
    "base64",
    "calendar",
    "codecs",
    "collections",
    "contextlib",
    "copy",
    "ctypes",
    "datetime",
    "errno",
    "fnmatch",
    "functools",
    "gc",
    "glob",
    "importlib",
    "io",
    "json",
    "locale",
    "os",
    "pathlib",
    "pwd",
    "random",
    "re",
    "resource",
    "runpy",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "stat",
    "string",
    "struct",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "traceback",
    "types",
    "typing",
    "warnings",
    "weakref",
    "zipfile",
    "zipimport",
    "zlib",
]


def states(answers):
    return [answer["state"] for answer in answers]


def templates(batch):
    return [process for process in processes.Snapshot() if process.ppid == batch.reply["pid"]]


@pytest.mark.parametrize("keep", [0, 65536], ids=["no output", "output"])
@BOTH_PATHS
def test_nothing_is_imported_from_the_working_folder(batch, tmp_path, monkeypatch, fork, keep):
    folder, trap = tmp_path / "home", tmp_path / "imported"
    folder.mkdir()
    for name in NAMES:
        (folder / (name + ".py")).write_text("open(%r, 'a').write(%r)\n" % (str(trap), name + " "))
    monkeypatch.chdir(folder)
    program = "import subprocess, zipfile; result['path'] = sys.path; result['cwd'] = os.getcwd()"
    (result,) = batch([program], payloads={"p": payload(fork=fork)}, plan={"keep_output": keep}).results()
    assert not trap.exists(), trap.read_text()
    assert result["cwd"] == str(folder)
    assert not {"", ".", str(folder)}.intersection(result["path"])


@BOTH_PATHS
def test_a_program_of_an_unknown_form_imports_nothing_from_the_working_folder_either(
    batch, tmp_path, monkeypatch, fork
):
    (tmp_path / "zipfile.py").write_text("raise SystemExit('of the working folder')")
    monkeypatch.chdir(tmp_path)
    done = Batch(
        batch(["pass"]).async_dir,
        ["x"],
        payloads={"p": {"style": "text", "interpreter": [sys.executable], "name": "text", "fork": fork}},
    )
    text = "from __future__ import annotations\nimport json, sys, zipfile\nprint(json.dumps({'args': sys.argv[1:]}))"
    done.plan["jobs"][0]["body"][0]["calls"][0]["params"] = text
    assert done.launch().results() == [{"args": []}]


@BOTH_PATHS
def test_a_job_finds_the_folder_for_temporary_files_that_its_environment_names(batch, tmp_path, fork):
    program = "import tempfile; result['folder'] = tempfile.gettempdir()"
    done = batch([program], payloads={"p": payload(fork=fork)}, environment={"TMPDIR": str(tmp_path)})
    assert done.results()[0]["folder"] == str(tmp_path)


def test_a_killed_template_leaves_no_payload(batch):
    where = "open(%r, 'w').write(basic.__file__)"
    done = batch(["pass"])
    done.wait()
    wait_for_supervisor(done)
    path = os.path.join(done.async_dir, "where")
    done = batch([where % path + "; import time; time.sleep(300)"])
    until(lambda: os.path.exists(path) and os.path.getsize(path))
    with open(path, encoding="utf-8") as stream:
        archive = os.path.dirname(os.path.dirname(os.path.dirname(stream.read())))
    assert os.path.isfile(archive)
    assert archive.startswith(done.path("run") + "/")
    (template,) = templates(done)
    assert processes.send(template, signal.SIGKILL)
    assert states(done.wait()) == ["lost"]
    wait_for_supervisor(done)
    assert not os.path.exists(archive)


def test_what_a_killed_template_of_a_killed_supervisor_leaves_goes_when_somebody_looks(batch):
    done = batch(["import time; time.sleep(300)"])
    until(lambda: states(done.wait(block=0.1)) == ["running"])
    (template,) = templates(done)
    os.kill(done.reply["pid"], signal.SIGSTOP)
    assert processes.send(template, signal.SIGKILL)
    os.kill(done.reply["pid"], signal.SIGKILL)
    assert gone(done.reply["pid"])
    assert [name for name in os.listdir(done.path("run")) if name.startswith("background_jobs_test_")]
    assert states(done.wait()) == ["lost"]
    assert not [name for name in os.listdir(done.path("run")) if name.startswith("background_jobs_test_")]
    done.serve("cancel", grace=0.1)


def test_templates_that_were_let_go_are_no_zombies(batch):
    count = (
        "stat = lambda pid: open('/proc/%s/stat' % pid).read().rpartition(')')[2].split()\n"
        "supervisor = stat(os.getppid())[1]\n"
        "found = []\n"
        "for name in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try:\n"
        "        found.append(stat(name)[:2])\n"
        "    except OSError:\n"
        "        pass\n"
        "result['zombies'] = found.count(['Z', supervisor])\n"
    )
    done = Batch(batch(["pass"]).async_dir, [count] * 12, 1)
    for index, job in enumerate(done.plan["jobs"]):
        job["body"][0]["environment"] = {"PATH": "/usr/bin:/bin:/%d" % index}
    zombies = [result["zombies"] for result in done.launch().results()]
    assert max(zombies) <= 1, zombies


def hanging(tmp_path, size=600000):
    """Return a payload whose interpreter reads nothing and does nothing."""
    interpreter = tmp_path / "interpreter"
    interpreter.write_text("#!/bin/sh\nexec sleep 300\n")
    interpreter.chmod(0o755)
    return payload(interpreter=[str(interpreter)], tail=payload()["tail"] + "#" * size)


def test_an_interpreter_that_hangs_holds_up_no_other_job(batch, tmp_path):
    payloads = {"h": hanging(tmp_path), "p": payload()}
    sleep = "import time; time.sleep(300)"
    done = Batch(
        batch(["pass"]).async_dir, ["pass", sleep, sleep, "result['n'] = 1"], payloads=payloads, timeout=[0, 1, 0, 0]
    )
    done.plan["jobs"][0]["body"][0]["calls"][0]["payload"] = "h"
    begun = time.monotonic()
    done.launch()
    limited, last = done.wait(jids=[done.jids()[1], done.jids()[3]])
    assert (limited["state"], last["state"]) == ("timed_out", "succeeded")
    assert limited["duration"] < 4
    assert states(done.serve("cancel", jids=[done.jids()[2]], grace=1.0)) == ["cancelled"]
    assert time.monotonic() - begun < 15
    (hung,) = done.serve("cancel", jids=[done.jids()[0]], grace=0.1)
    assert hung["state"] == "cancelled"
    assert hung["msg"] == "cancelled while it ran; its template process does not start it"


def test_a_job_whose_template_is_stopped_ends_all_the_same(batch):
    done = batch(["import time; time.sleep(300)"])
    until(lambda: states(done.wait(block=0.1)) == ["running"])
    (template,) = templates(done)
    processes.send(template, signal.SIGSTOP)
    (answer,) = done.serve("cancel", grace=0.2)
    assert answer["state"] == "cancelled"
    assert answer["msg"] == "cancelled while it ran; its template process does not report its end"
    wait_for_supervisor(done)
    assert gone(template.pid)


def test_a_job_that_was_given_up_before_it_started_never_starts_and_the_others_of_its_template_go_on(batch, tmp_path):
    gate, marker = str(tmp_path / "gate"), tmp_path / "marker"
    os.mkfifo(gate)
    programs = ["open(%r).read(); result['n'] = 1" % gate, "open(%r, 'w')" % str(marker), "result['n'] = 3"]
    done = batch(programs, plan={"start_delay": 1.5})
    until(lambda: states(done.wait(block=0.1)) == ["running", "queued", "queued"])
    (template,) = templates(done)
    processes.send(template, signal.SIGSTOP)
    time.sleep(2.5)  # until the second one was handed to its template, of which nothing is written down
    (second,) = done.serve("cancel", jids=[done.jids()[1]], grace=0.1)
    assert second["state"] == "cancelled"
    assert "does not start it" in second["msg"]
    processes.send(template, signal.SIGCONT)
    with open(gate, "w", encoding="ascii"):
        pass
    assert states(done.wait()) == ["succeeded", "cancelled", "succeeded"]
    assert not marker.exists()


def test_an_environment_that_no_process_can_have_fails_its_job_and_no_other(batch):
    done = Batch(batch(["pass"]).async_dir, ["pass", "result['n'] = 1"])
    done.plan["jobs"][0]["body"][0]["environment"] = {"LD_A=B": "x"}
    bad, good = done.launch().wait()
    assert (bad["state"], good["state"]) == ("failed", "succeeded")
    assert "cannot start it: illegal environment variable name" in json.loads(bad["result"])["msg"]


def test_such_an_environment_does_no_harm_before_its_job_has_begun(batch):
    done = Batch(batch(["pass"]).async_dir, ["pass", "pass", "result['n'] = 1"], 1)
    done.plan["jobs"][1]["body"][0]["environment"] = {"LD_A=B": "x"}
    assert states(done.launch().wait()) == ["succeeded", "failed", "succeeded"]


def test_a_supervisor_that_may_open_no_more_files_fails_the_jobs_that_need_them_and_no_other(batch, tmp_path):
    gate, end = str(tmp_path / "gate"), str(tmp_path / "end")
    os.mkfifo(gate)
    program = "import time\nwhile not os.path.exists(%r): time.sleep(0.1)" % end
    done = Batch(batch(["pass"]).async_dir, ["open(%r).read()" % gate] + [program] * 20, depends_on=[[]] + [[0]] * 20)
    for index, job in enumerate(done.plan["jobs"]):
        job["body"][0]["environment"] = {"PATH": "/usr/bin:/bin:/%d" % index}
    done.launch()
    until(lambda: states(done.wait(block=0.1))[0] == "running")
    resource.prlimit(done.reply["pid"], resource.RLIMIT_NOFILE, (32, 32))
    with open(gate, "w", encoding="ascii"):
        pass
    until(lambda: "queued" not in states(done.wait(block=0.1)))
    with open(end, "w", encoding="ascii"):
        pass
    answers = done.wait()
    failed = [answer for answer in answers if answer["state"] == "failed"]
    assert {answer["state"] for answer in answers} == {"succeeded", "failed"}
    assert {json.loads(answer["result"])["msg"] for answer in failed} == {
        "cannot start it: [Errno 24] Too many open files"
    }
