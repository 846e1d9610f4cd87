# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of another user, by runuser in place of sudo: it needs root, and one more user, which every host has."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import shlex
import shutil
import signal
import tempfile
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import becoming
from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

from ..conftest import gone, payload, step, wait_for_supervisor

USER = "nobody"
PYTHON = "/usr/bin/python3"

pytestmark = [
    pytest.mark.usefixtures("nobody_else"),
    pytest.mark.skipif(
        not (os.geteuid() == 0 and shutil.which("runuser") and os.path.exists(PYTHON) and os.path.isdir("/proc/self")),
        reason="becomes another user: needs root, runuser and %s" % PYTHON,
    ),
]
BOTH_PATHS = pytest.mark.parametrize("fork", [True, False], ids=["fork", "exec"])


def become(command="runuser -u %s --" % USER):
    """Return what the plan has of a user, in the form that become plugins give a command line."""
    program = "echo BECOME-SUCCESS ; %s -c %s" % (becoming.INTERPRETER, shlex.quote(becoming.PROGRAM))
    return {"user": USER, "command": ["/bin/sh", "-c", "%s /bin/sh -c %s" % (command, shlex.quote(program))]}


@pytest.fixture
def other(batch):
    """A function that launches a batch of programs as the other user."""

    def launch(programs, how=None, fork=True, plan=None, **settings):
        bodies = [program if isinstance(program, list) else [step(program)] for program in programs]
        for body in bodies:
            for one in body:
                one["calls"][0]["become"] = 0
        plan = dict({"become": [how or become()]}, **(plan or {}))
        return batch(bodies, payloads={"p": payload(interpreter=[PYTHON], fork=fork)}, plan=plan, **settings)

    return launch


def message(answer):
    return json.loads(answer["result"])["msg"]


def own_folders():
    return [name for name in os.listdir("/tmp") if name.startswith("background-jobs.")]


@BOTH_PATHS
def test_a_job_runs_as_the_other_user_in_a_session_of_its_own_and_leaves_nothing(other, fork):
    program = (
        "result.update(uid=os.getuid(), input=sys.stdin.read(), leader=os.getsid(0) == os.getpid(), v=os.environ['V'])"
    )
    done = other([program, program], fork=fork, environment={"V": "a b'c"})
    expected = {"changed": False, "uid": pwd.getpwnam(USER).pw_uid, "input": "", "leader": True, "v": "a b'c"}
    assert done.results() == [expected] * 2
    wait_for_supervisor(done)
    assert not os.path.exists(done.path("run"))
    assert own_folders() == []


def test_what_an_interpreter_reads_at_its_start_is_there_in_time(other):
    done = other(["result['v'] = sys.flags.optimize"], environment={"PYTHONOPTIMIZE": "2"})
    assert done.results()[0]["v"] == 2


def test_its_process_has_nothing_open_that_is_not_its_own(other):
    program = "result['open'] = sorted(os.readlink('/proc/self/fd/' + fd) for fd in ('1', '2')); result['n'] = sum(os.path.exists('/proc/self/fd/%d' % fd) for fd in range(3, 200))"  # noqa: E501
    alone = other([program]).results()[0]
    assert [path.rpartition("/")[2] for path in alone["open"]] == ["0.hidden.stderr", "0.hidden.stdout"]
    assert {result["n"] for result in other([program] * 20).results()} == {alone["n"]}


@BOTH_PATHS
def test_staged_files_are_for_that_user_and_no_other_and_gone_with_the_call(other, fork):
    content = b"secret"
    digest = hashlib.sha256(content).hexdigest()
    program = (
        "path = 'TOKEN/0/a b'; info, above = os.stat(path), os.stat(os.path.dirname(os.path.dirname(path)));"
        "result.update(text=open(path).read(), mine=info.st_uid == os.getuid(), modes=[info.st_mode & 0o777, above.st_mode & 0o777], path=path)"
    )
    one = step(program, staged=[["0/a b", digest, 0o640]])
    plan = {"staging_token": "TOKEN", "files": {digest: base64.b64encode(content).decode()}}
    done = other([[one]], fork=fork, plan=plan)
    result = done.results()[0]
    assert (result["text"], result["mine"], result["modes"]) == ("secret", True, [0o640, 0o700])
    assert not os.path.exists(result["path"])


def test_a_script_runs_as_that_user_and_what_it_prints_is_bounded(batch, monkeypatch):
    monkeypatch.setattr(launcher.sys, "executable", PYTHON)  # one that the other user may run
    body = step("")
    recipe = {"kind": "script", "unless": [], "run": 0, "check_mode": False, "no_log": False, "most_shown": 0}
    bodies = []
    for text in ("id -un; exit 3", "head -c 40000000 /dev/zero | tr '\\0' x; sleep 600 >&2 &"):
        params = json.dumps({"command": ["/bin/sh", "-c", text]})
        call = {"module": "script", "payload": "s", "params": params, "become": 0}
        bodies.append([dict(body, calls=[call], recipe=recipe)])
    payloads = {"s": {"style": "command", "interpreter": [PYTHON], "name": "command"}}
    done = batch(bodies, payloads=payloads, plan={"become": [become()]})
    few, many = done.results()
    assert (few["rc"], few["stdout"], few["failed"]) == (3, USER + "\n", True)
    assert (many["rc"], many["changed"]) == (0, True)
    assert len(many["stdout"]) < 17 << 20 and "bytes left out" in many["stdout"]
    wait_for_supervisor(done)


PRINTS = """
import subprocess
p = subprocess.Popen(['sh', '-c', %r], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
result.update(zip(('stdout', 'stderr'), (text.decode() for text in p.communicate())))
"""


@pytest.fixture
def shared():
    """A folder that the other user may look into."""
    path = tempfile.mkdtemp()
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


def tail_of(done, text, stream):
    """Wait until `text` is in what a job has printed so far, and return what is told of the job."""
    deadline = time.monotonic() + 20
    while True:
        told = done.serve("list", tail=50, jids=[done.jids()[0]])[0]
        if text in told[stream]:
            return told
        assert not told["finished"] and time.monotonic() < deadline, told
        time.sleep(0.02)  # the change of a file that grows: nobody tells


@BOTH_PATHS
def test_what_its_child_processes_print_is_seen_and_kept(other, fork, shared):
    until = "while [ ! -e %s/%s ]; do sleep 0.05; done"
    first = "echo one; echo err >&2; %s; echo two; exec 1>&- 2>&-; %s" % (until % (shared, 1), until % (shared, 2))
    second = "echo three; %s" % (until % (shared, 3))
    done = other([[step(PRINTS % first), step(PRINTS % second)]], fork=fork, plan={"keep_output": 4096})
    told = tail_of(done, "err", "stderr")
    assert (told["stdout_lines"], told["output_size"]) == (["one"], 8)
    open(os.path.join(shared, "1"), "w").close()
    assert tail_of(done, "two", "stdout")["stdout_lines"] == ["one", "two"]
    open(os.path.join(shared, "2"), "w").close()
    told = tail_of(done, "three", "stdout")
    assert (told["stdout_lines"], told["stderr_lines"], told["output_size"]) == (["one", "two", "three"], ["err"], 18)
    assert sorted(os.listdir(done.path("output"))) == ["0.stderr.0", "0.stdout.0"]
    open(os.path.join(shared, "3"), "w").close()
    assert done.results()[0]["stdout"] == "three\n"


def test_what_it_has_printed_is_told_where_it_is_ended(other):
    program = PRINTS % "echo 'so far'; exec sleep 600" + "import time; time.sleep(600)\n"
    answer = other([program], timeout=2, plan={"keep_output": 4096}).wait()[0]
    assert json.loads(answer["result"])["stdout"] == "so far"


def test_nothing_of_it_is_kept_where_it_must_not_be(other, shared):
    program = PRINTS % ("echo s3cret; touch %s/no; while [ ! -e %s/go ]; do sleep 0.05; done" % (shared, shared))
    done = other([program], no_log=True, plan={"keep_output": 4096})
    os.chmod(shared, 0o777)
    deadline = time.monotonic() + 20
    while not os.path.exists(os.path.join(shared, "no")):
        assert time.monotonic() < deadline
        time.sleep(0.02)  # what another user makes: nobody tells
    assert not [name for name in os.listdir(done.path("run")) if "children" in name]
    assert "s3cret" not in json.dumps(done.serve("list", tail=50, jids=[done.jids()[0]])[0])
    open(os.path.join(shared, "go"), "w").close()
    done.wait()


def test_it_is_ended_at_its_time_limit_with_what_it_has_started(other):
    program = "import subprocess; result['x'] = subprocess.run(['sleep', '600'])"
    answer = other([program], timeout=1).wait()[0]
    assert answer["state"] == "timed_out"
    assert "timeout of 1 s" in message(answer)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo 'sudo: a password is required' >&2; false", "becoming nobody failed: sudo: a password is required"),
        ("runuser -u nobody-there --", "becoming nobody failed: runuser: user nobody-there does not exist"),
        ("true", "becoming nobody failed: the program for that printed nothing"),
        ("/nonexistent/sudo", "/nonexistent/sudo: not found"),
    ],
)
def test_a_program_that_does_not_make_it_that_user_is_quoted_and_others_go_on(batch, command, said):
    first = step("pass")
    first["calls"][0]["become"] = 0
    how = become()
    how["command"][2] = (
        "%s; exit 1; %s" % (command, how["command"][2])
        if ";" in command
        else how["command"][2].replace("runuser -u nobody --", command)
    )
    started = time.monotonic()
    done = batch([[first], "pass"], payloads={"p": payload(interpreter=[PYTHON])}, plan={"become": [how]})
    answers = done.wait()
    assert time.monotonic() - started < 10
    assert [answer["state"] for answer in answers] == ["failed", "succeeded"]
    assert message(answers[0]).startswith("cannot start it: becoming nobody failed: ")
    assert said in message(answers[0])


def test_nothing_of_it_stays_where_the_supervisor_is_killed(other, tmp_path):
    where = tmp_path / "open"
    where.mkdir()
    os.chmod(str(where), 0o777)
    for folder in where.parents:
        if str(folder).startswith("/tmp/"):
            os.chmod(str(folder), 0o711)
    told = str(where / "pid")
    program = "import subprocess; p = subprocess.Popen(['sleep', '600'], start_new_session=True); open(%r + '.new', 'w').write('%%d %%d' %% (os.getpid(), p.pid)); os.rename(%r + '.new', %r); p.wait()"  # noqa: E501
    done = other([program % (told, told, told)])
    deadline = time.monotonic() + 20
    while not os.path.exists(told):
        assert time.monotonic() < deadline
        done.wait(block=0.1)
    with open(told, encoding="ascii") as stream:
        pids = [int(word) for word in stream.read().split()]
    os.kill(done.reply["pid"], signal.SIGKILL)
    assert all(gone(pid) for pid in pids)
    assert done.wait()[0]["state"] == "lost"
    assert own_folders() == []
