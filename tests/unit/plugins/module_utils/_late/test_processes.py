# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs with scripts under a real supervisor."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import time
import zipfile

import jinja2
import markupsafe
import pytest

from ansible_collections.background.jobs.plugins.module_utils._late import executor
from ansible_collections.background.jobs.plugins.module_utils._system import processes

from ..conftest import gone, until, wait_for_supervisor
from .scripts import Script, token

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


def _zipped(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, path in files:
            archive.write(path, name)
    return base64.b64encode(data.getvalue()).decode("ascii")


def _sources(module, prefix=""):
    folder = os.path.dirname(module.__file__)
    return [(prefix + name, os.path.join(folder, name)) for name in os.listdir(folder) if name.endswith(".py")]


ARCHIVE = _zipped(_sources(jinja2, "jinja2/") + _sources(markupsafe, "markupsafe/"))
EVALUATOR = _zipped([one for one in _sources(executor) if one[0] != "__init__.py"])


def run(script, program, name="probe", **keywords):
    return script.call(name, arguments={"run": program}, **keywords)


@pytest.fixture
def launch(batch):
    """A function that launches jobs with these bodies, written with a Script."""

    def scripted(script, *bodies, plan=None, **settings):
        settings["script"] = [script.of(body) for body in bodies]
        return batch(
            [[]] * len(bodies), plan=dict({"evaluator": EVALUATOR, "archive": ARCHIVE}, **(plan or {})), **settings
        )

    return scripted


def tasks(answer):
    return json.loads(answer["tasks"])


def entries(answer):
    return [(entry["name"], entry["state"]) for entry in tasks(answer)["results"]]


def test_a_job_goes_on_with_what_its_tasks_return(launch):
    s = Script()
    body = [
        run(s, "result['n'] = 3", "first", register="out"),
        run(s, "1/0", "left out", when="out.n > 3"),
        s.local("set_fact", {"m": {"$template": "{{ out.n + 1 }}"}}),
        run(s, token(0), "last", late=[{"$template": "result['got'] = {{ m }}"}], when="m == 4"),
    ]
    (answer,) = launch(s, body).wait()
    assert answer["state"] == "succeeded", answer
    assert json.loads(answer["result"])["got"] == 4
    assert entries(answer) == [
        ("first", "succeeded"),
        ("left out", "skipped"),
        ("set_fact", "succeeded"),
        ("last", "succeeded"),
    ]
    assert tasks(answer)["facts"] == {"m": 4}
    assert tasks(answer)["registered"] == {"out": {"entry": 0}}


ENDLESS = {"$template": "{% for a in range(9999999) %}{% for b in range(9999999) %}{% endfor %}{% endfor %}"}
SLEEP = "import time; time.sleep(300)"


def block(*nodes, rescue=(), always=()):
    return {"kind": "block", "block": list(nodes), "rescue": list(rescue), "always": list(always)}


def test_jobs_with_and_without_scripts_run_side_by_side_and_share_templates(launch, batch):
    s = Script()
    bodies = [
        [run(s, "result['pid'] = os.getppid()", register="out"), s.local("debug", {"var": "out.pid"})] for n in range(3)
    ]
    done = launch(s, *bodies)
    answers = done.wait()
    assert [answer["state"] for answer in answers] == ["succeeded"] * 3
    (parent,) = {json.loads(tasks(answer)["results"][0]["result"])["pid"] for answer in answers}
    assert all(json.loads(answer["result"])["out.pid"] == parent for answer in answers)


def forks(parent):
    """Return the processes that are forks of this one."""
    return [pid for pid, process in processes.table().items() if process.ppid == parent and _is_supervisor(pid)]


def _is_supervisor(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as stream:
            return stream.read().endswith(b"supervisor\0")
    except OSError:
        return False


def evaluator_of(done):
    """Return the fork that leads a group of its own: what is about to become a template does not."""
    return until(lambda: [pid for pid in forks(done.reply["pid"]) if _leads_a_group(pid)])[0]


def _leads_a_group(pid):
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def has_worked(pid, seconds):
    """Say whether a process, which may end at any time, has used so much processor time."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as stream:
            told = stream.read()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(told.rsplit(") ", 1)[1].split()[11]) / os.sysconf("SC_CLK_TCK") > seconds


@pytest.mark.parametrize("how", ["timeout", "cancel"])
@pytest.mark.parametrize("where", ["call", "wait", "template"])
def test_what_is_ended_still_does_what_is_always_done(launch, how, where, tmp_path):
    mark = tmp_path / "mark"
    s = Script()
    busy = {
        "call": run(s, SLEEP, "busy"),
        "wait": s.local("pause", {"minutes": 9}, name="busy"),
        "template": s.local("debug", {"msg": ENDLESS}, name="busy"),
    }[where]
    first = s.local("debug", {"msg": "ready"}, name="first")
    program = "open(%r, 'a').write('x'); result['kept'] = 1" % str(mark)
    body = [block(first, busy, run(s, "1/0", "never"), always=[run(s, program, "tidy")])]
    done = launch(s, body, timeout=1.5 if how == "timeout" else 0, plan={"keep_output": 1000})
    if how == "cancel":
        if where == "template":
            until(lambda: any(has_worked(child, 0.5) for child in forks(evaluator_of(done))))
        else:
            until(lambda: "ready" in done.serve("list", tail=1)[0].get("stdout", ""))
        done.serve("cancel", grace=3.0)
    (answer,) = done.wait()
    assert answer["state"] == {"timeout": "timed_out", "cancel": "cancelled"}[how]
    assert mark.read_text() == "x"
    assert [name for name, dummy in entries(answer)] == ["first", "busy", "tidy"]
    assert entries(answer)[2] == ("tidy", "succeeded")
    assert answer["msg"].startswith("timed out" if how == "timeout" else "cancelled while it ran")


def test_what_cannot_be_interrupted_is_killed(launch):
    s = Script()
    done = launch(s, [s.local("debug", {"msg": ENDLESS})])
    child = until(lambda: next((one for one in forks(evaluator_of(done)) if has_worked(one, 0.2)), None))
    os.kill(child, signal.SIGSTOP)
    done.serve("cancel", grace=0.5, block=20.0)
    (answer,) = done.wait()
    assert answer["state"] == "cancelled"
    assert "it was killed while it evaluated what comes next" in answer["msg"]
    assert gone(child)


def test_a_job_whose_process_is_killed_is_lost_and_the_next_gets_a_new_evaluator(launch):
    s = Script()
    done = launch(s, [run(s, SLEEP, "busy")], [run(s, "result['n'] = 1", "fine")], concurrency=1)
    evaluator = evaluator_of(done)
    children = until(lambda: forks(evaluator))
    os.kill(evaluator, signal.SIGKILL)
    assert gone(evaluator)  # before the next job is handed over to it
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    first, second = done.wait()
    assert (first["state"], second["state"]) == ("lost", "succeeded")
    assert first["msg"] == "lost: the process that evaluates its tasks ended before the job had ended"


def test_a_job_goes_on_where_only_the_evaluator_is_killed(launch, tmp_path):
    s = Script()
    program = "import time\nwhile not os.path.exists(%r): time.sleep(0.02)" % str(tmp_path / "go")
    done = launch(s, [run(s, program, register="out"), s.local("debug", {"msg": {"$template": "{{ out.changed }}"}})])
    evaluator = evaluator_of(done)
    until(lambda: forks(evaluator))
    until(lambda: done.serve("list")[0]["state"] == "running")
    os.kill(evaluator, signal.SIGKILL)
    (tmp_path / "go").touch()
    (answer,) = done.wait()
    assert (answer["state"], json.loads(answer["result"])["msg"]) == ("succeeded", False)


@pytest.mark.parametrize("busy", ["pause", "template"])
def test_nothing_is_left_when_the_supervisor_is_killed(launch, busy):
    s = Script()
    node = s.local("pause", {"minutes": 9}) if busy == "pause" else s.local("debug", {"msg": ENDLESS})
    done = launch(s, [node])
    evaluator = evaluator_of(done)
    children = until(lambda: forks(evaluator))
    os.kill(done.reply["pid"], signal.SIGKILL)
    assert all(gone(pid) for pid in [evaluator, *children])
    assert [answer["state"] for answer in done.wait()] == ["lost"]


def test_a_whole_job_is_tried_again_from_its_beginning(launch, tmp_path):
    s = Script()
    program = "import time; open(%r, 'a').write('x'); result['n'] = len(open(%r).read())" % ((str(tmp_path / "n"),) * 2)
    body = [run(s, program, "count", register="out"), s.local("assert", {"that": {"$expr": "out.n == 3"}})]
    (answer,) = launch(s, body, retries=3, delay=0.1).wait()
    assert (answer["state"], answer["attempts"]) == ("succeeded", 3)
    assert [attempt["state"] for attempt in answer["failed_attempts"]] == ["failed", "failed"]


def test_environments_may_be_known_only_on_the_host(launch):
    s = Script()
    node = run(
        s,
        "result['v'] = os.environ['V'], os.environ['PATH'], os.environ.get('W')",
        when="out.n == 1",
        environment=[{"V": {"$template": "v{{ out.n }}"}, "PATH": {"$template": "/bin:/{{ out.n }}"}}, {"W": True}],
    )
    done = launch(s, [run(s, "result['n'] = 1", "one", register="out"), node])
    assert json.loads(done.wait()[0]["result"])["v"] == ["v1", "/bin:/1", "True"]
    wait_for_supervisor(done)


def test_a_task_that_takes_longer_than_its_own_time_fails_and_can_be_rescued(launch):
    s = Script()
    body = [
        block(
            run(s, SLEEP, "slow", timeout=1, register="out"),
            rescue=[s.local("debug", {"var": "ansible_failed_result.msg"})],
        )
    ]
    (answer,) = launch(s, body).wait()
    assert answer["state"] == "succeeded"
    assert entries(answer) == [("slow", "timed_out"), ("debug", "succeeded")]
    assert json.loads(answer["result"])["ansible_failed_result.msg"] == "Task failed: Timed out after 1 second(s)."


def test_staged_files_are_there_each_time(launch):
    s = Script()
    text = b"hello"
    digest = hashlib.sha256(text).hexdigest()
    program = "import shutil; shutil.move('STAGING/0/f', 'STAGING/away'); result['text'] = open('STAGING/away').read()"
    node = run(s, program, loop={"$template": "{{ out.n }}"}, register="again")
    node["turns"][0]["staged"] = [["0/f", digest, 0o600]]
    plan = {"staging_token": "STAGING", "files": {digest: base64.b64encode(text).decode()}}
    done = launch(s, [run(s, "result['n'] = [1, 2]", "one", register="out"), node], plan=plan)
    (answer,) = done.wait()
    assert [json.loads(entry["result"])["text"] for entry in tasks(answer)["results"][1:]] == ["hello", "hello"]
    assert not os.path.exists(done.path("staged"))


def test_files_whose_content_is_known_only_now_are_put_in_their_place(launch):
    s = Script()
    program = "result['text'] = open('STAGING/3/f').read(); result['sha1'] = %r" % token(0)
    node = run(s, program, late=[None])
    node["turns"][0]["render"] = [{"file": "3/f", "content": {"$template": "n is {{ out.n }}\n"}, "sha1": 0}]
    (answer,) = launch(
        s, [run(s, "result['n'] = 5", "one", register="out"), node], plan={"staging_token": "STAGING"}
    ).wait()
    result = json.loads(answer["result"])
    assert result["text"] == "n is 5\n"
    assert result["sha1"] == hashlib.sha1(b"n is 5\n").hexdigest()


def test_what_is_hidden_is_in_no_file_afterwards(launch):
    s = Script()
    body = [
        run(s, "result['v'] = 'secret1'", "hidden", no_log=True, register="out"),
        s.local("set_fact", {"f": {"$template": "{{ out.v }}"}}, no_log=True),
        run(s, token(0), "open", late=[{"$template": "result['n'] = {{ out.v | length + f | length }}"}], register="n"),
    ]
    done = launch(s, body)
    (answer,) = done.wait()
    assert json.loads(answer["result"])["n"] == 14
    wait_for_supervisor(done)
    for folder, dummy, names in os.walk(done.async_dir):
        for name in names:
            with open(os.path.join(folder, name), "rb") as stream:
                assert b"secret1" not in stream.read(), name
    assert (tasks(answer)["facts"], list(tasks(answer)["registered"])) == ({}, ["n"])


def test_a_script_without_templates_needs_no_archive(launch):
    s = Script()
    s.more["archive"] = False
    body = [
        run(s, "result['n'] = 1", register="out", when=True),
        s.local("set_fact", {"a": 1}),
        run(s, "1/0", when=False),
    ]
    (answer,) = launch(s, body, plan={"archive": None}).wait()
    assert answer["state"] == "succeeded"
    assert tasks(answer)["registered"] == {"out": {"entry": 0}}


def test_messages_stand_in_the_tail_of_what_a_job_printed(launch):
    s = Script()
    body = [s.local("debug", {"msg": "here we are"}), run(s, SLEEP)]
    done = launch(s, body, plan={"keep_output": 100000})
    deadline = time.monotonic() + 20
    (told,) = done.serve("list", tail=5)
    while "here" not in told.get("stdout", "") and time.monotonic() < deadline:
        done.wait(mode="any", block=0.2)
        (told,) = done.serve("list", tail=5)
    assert "here we are" in told["stdout"]
    done.serve("cancel", grace=0.5)


def test_much_data_goes_back_and_forth(launch):
    s = Script()
    body = [
        run(s, "result['t'] = 'x' * 3000000", "big", register="out"),
        run(s, "result['n'] = len(%r)" % token(0), late=[{"$expr": "out.t"}]),
    ]
    (answer,) = launch(s, body).wait(max_bytes=1 << 25)
    assert json.loads(answer["result"])["n"] == 3000000
