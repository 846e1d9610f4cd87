# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_writer, packing, records, results
from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_client, module_call, runner
from ansible_collections.background.jobs.plugins.module_utils._supervisor import supervisor as _supervisor
from ansible_collections.background.jobs.plugins.module_utils._system import processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

from ..conftest import Batch, gone, payload, servants, step, until, wait_for_supervisor

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

BOTH_PATHS = pytest.mark.parametrize("payloads", [{"p": payload()}, {"p": payload(fork=False)}], ids=["fork", "exec"])


def states(answers):
    return [answer["state"] for answer in answers]


def wait_until_running(batch, path=None):
    """Wait until the first job has a process; path: and has made a file."""
    deadline = time.monotonic() + 30
    while states(batch.wait(block=0.1))[0] != "running" or not (path is None or os.path.exists(path)):
        assert time.monotonic() < deadline


def started_order(batch):
    answers = batch.wait()
    return sorted(range(len(answers)), key=lambda index: answers[index]["started_at"])


@BOTH_PATHS
def test_jobs_return_what_their_module_printed(batch, payloads):
    done = batch(["result['n'] = %d" % n for n in range(5)], payloads=payloads)
    assert done.results() == [{"changed": False, "n": n} for n in range(5)]
    assert states(done.wait()) == ["succeeded"] * 5


@BOTH_PATHS
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("result['failed'] = True; result['msg'] = 'no'", "no"),
        ("raise ValueError('oops')", "oops"),
        ("sys.exit(3)", "exited with status 3"),
        ("sys.exit('bye')", "exited with status 1"),
        ("os._exit(4)", "exited with status 4"),
        ("os.kill(os.getpid(), 9)", "signal 9 (SIGKILL)"),
        ("print('junk'); sys.stdout.flush(); os._exit(0)", "exited with status 0"),
    ],
)
def test_whatever_way_a_module_fails_its_job_failed_and_says_why(batch, payloads, program, expected):
    answer = batch([program], payloads=payloads).wait()[0]
    assert answer["state"] == "failed"
    assert expected in json.loads(answer["result"])["msg"]


@BOTH_PATHS
def test_jobs_share_nothing(batch, payloads):
    program = "basic.state.append(1); os.environ['LEAK'] = '1'; result['n'] = len(basic.state); result['leak'] = os.environ.get('LEAK0')"
    program += "; os.environ['LEAK0'] = 'x'; os.chdir('/'); os.umask(0)"
    assert [result["n"] for result in batch([program] * 4, payloads=payloads, concurrency=1).results()] == [1] * 4


@BOTH_PATHS
def test_a_job_has_its_environment_its_own_session_and_no_input(batch, payloads):
    program = (
        "result['v'] = os.environ['V']; result['leader'] = os.getsid(0) == os.getpid(); result['input'] = sys.stdin.read();"
        "result['cwd'] = os.getcwd(); mask = os.umask(0); result['umask'] = mask; result['fds'] = len(os.listdir('/proc/self/fd'))"
    )
    before = os.umask(0o027)
    try:
        result = batch([program], payloads=payloads, environment={"V": "a b'c"}).results()[0]
    finally:
        os.umask(before)
    assert result["v"] == "a b'c"
    assert result["leader"]
    assert result["input"] == ""
    assert result["cwd"] == os.getcwd()
    assert result["umask"] == 0o027


@BOTH_PATHS
def test_what_an_interpreter_reads_at_its_start_is_there_in_time(batch, payloads, tmp_path):
    (tmp_path / "only_here.py").write_text("value = 7\n", encoding="utf-8")
    done = batch(
        ["import only_here; result['v'] = only_here.value"],
        payloads=payloads,
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert done.results()[0]["v"] == 7


@BOTH_PATHS
def test_exit_functions_run_and_the_payload_stays_for_the_next_job(batch, payloads, tmp_path):
    program = "import atexit, shutil; os.mkdir(%r); atexit.register(shutil.rmtree, %r)"
    paths = [str(tmp_path / name) for name in "ab"]
    done = batch([program % (path, path) for path in paths], payloads=payloads, concurrency=1)
    assert states(done.wait()) == ["succeeded"] * 2
    assert not any(os.path.exists(path) for path in paths)


def test_a_payload_of_an_unknown_form_is_executed(batch):
    odd = payload(
        head="import json\nparams = json.loads(", tail=")\nprint(json.dumps({'got': params['run'], 'fork': False}))\n"
    )
    assert batch(["x"], payloads={"p": odd}).results() == [{"got": "x", "fork": False}]


@pytest.mark.parametrize(
    ("program", "interpreter"),
    [
        ('#!/bin/sh\nprintf \'{"changed": true, "args": %s}\' "$(cat "$1")"\n', ["/bin/sh"]),
        ('#!/bin/sh\necho "{\\"args\\": $(cat $1)}"\n', []),
    ],
)
def test_modules_that_read_a_file_of_arguments_get_one_that_does_not_outlive_them(batch, program, interpreter):
    data = base64.b64encode(program.encode()).decode()
    done = batch(["x"], payloads={"p": {"style": "args_file", "interpreter": interpreter, "data": data, "name": "old"}})
    assert done.results()[0]["args"] == {"run": "x"}
    wait_for_supervisor(done)
    assert not os.path.exists(done.path("run"))


def test_a_program_that_holds_its_arguments_runs(batch):
    done = Batch(
        batch(["pass"]).async_dir,
        ["x"],
        payloads={"p": {"style": "text", "interpreter": [sys.executable], "name": "text"}},
    )
    done.plan["jobs"][0]["body"][0]["calls"][0]["params"] = "print('{\"here\": 1}')"
    assert done.launch().results() == [{"here": 1}]


def test_an_interpreter_may_be_below_the_home_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/x")
    assert fork_client.interpreter({"interpreter": ["~/venv/bin/python", "-u"]}) == ["/home/x/venv/bin/python", "-u"]


def test_a_missing_interpreter_fails_its_job_and_no_other(batch):
    payloads = {"p": payload(), "q": payload(interpreter=["/nonexistent/python"])}
    done = Batch(batch(["pass"]).async_dir, ["pass", "pass"], payloads=payloads)
    done.plan["jobs"][0]["body"][0]["calls"][0]["payload"] = "q"
    answers = done.launch().wait()
    assert states(answers) == ["failed", "succeeded"]
    assert "/nonexistent/python" in json.loads(answers[0]["result"])["msg"]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_as_many_run_as_the_window_holds_never_more_and_they_start_in_order(batch, concurrency):
    done = batch(["import time; time.sleep(0.4)"] * 9, concurrency=concurrency)
    answers = done.wait()
    moments = [(answer["started_at"], 1) for answer in answers] + [(answer["ended_at"], -1) for answer in answers]
    running, most = 0, 0
    for dummy, change in sorted(moments):
        running += change
        most = max(most, running)
    assert most == concurrency
    assert started_order(done) == list(range(9))


def test_a_timeout_is_exact_and_takes_all_descendants_with_it(batch, tmp_path):
    program = "import subprocess, time; p = subprocess.Popen(['setsid', 'sleep', '300']); open(%r, 'w').write(str(p.pid)); p.wait()"
    done = batch([program % str(tmp_path / "pid"), "pass"], timeout=[2, 0])
    answers = done.wait()
    assert states(answers) == ["timed_out", "succeeded"]
    assert 2 <= answers[0]["duration"] < 7
    assert "timeout of 2 s" in answers[0]["msg"]
    assert json.loads(answers[0]["result"])["failed"] is True
    assert gone(int((tmp_path / "pid").read_text()))


def test_what_a_command_printed_until_its_time_was_up_is_kept_and_so_is_its_last_word(batch, tmp_path):
    script = "trap 'echo last; touch %s; exit 3' TERM; echo first; while :; do sleep 0.05; done" % (
        tmp_path / "trapped"
    )
    program = "import subprocess; p = subprocess.run(['sh', '-c', %r], stdout=subprocess.PIPE, check=False)" % script
    done = batch([program + "; result['stdout'] = p.stdout.decode(); result['rc'] = p.returncode"], timeout=4)
    answer = done.wait()[0]
    assert answer["state"] == "timed_out"
    result = json.loads(answer["result"])
    assert (result["stdout"], result["rc"], result["failed"]) == ("first\nlast\n", 3, True)
    assert (tmp_path / "trapped").exists()


def test_a_module_that_goes_on_when_its_command_was_ended_is_ended_too(batch):
    program = "import subprocess, time; subprocess.run(['sleep', '300'], check=False); time.sleep(300)"
    answer = batch([program], timeout=0.3).wait()[0]
    assert answer["state"] == "timed_out"
    assert answer["duration"] < 9  # seconds; its grace would have been 10


def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(batch, tmp_path):
    ready = str(tmp_path / "ready")
    done = batch(["import signal, time; signal.signal(15, signal.SIG_IGN); open(%r, 'w'); time.sleep(300)" % ready])
    wait_until_running(done, ready)
    answer = done.serve("cancel", grace=0.3)[0]
    assert answer["state"] == "cancelled"
    assert "killed" in answer["msg"]


def test_a_cancelled_batch_ends_running_jobs_and_never_starts_queued_ones(batch, tmp_path):
    done = batch(["open(%r, 'a').write('x'); import time; time.sleep(300)" % str(tmp_path / "ran")] * 3, concurrency=1)
    done.wait(block=0.5)
    answers = done.serve("cancel")
    assert states(answers) == ["cancelled"] * 3
    assert (tmp_path / "ran").read_text() == "x"
    assert [answer["started_at"] is None for answer in answers] == [False, True, True]


def test_skipped_jobs_are_told_and_their_reason(batch):
    answers = batch(["pass", "pass"], skip=["its when was false", None]).wait()
    assert states(answers) == ["skipped", "succeeded"]
    assert answers[0]["msg"] == "its when was false"


def test_core_reads_a_job_as_running_then_as_finished(batch, tmp_path):
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    done = batch(["open(%r).read(); result['n'] = 1" % gate])
    assert done.results_file() == {"started": True, "finished": False, "ansible_job_id": done.jids()[0]}
    with open(gate, "w", encoding="ascii"):
        pass
    done.wait()
    assert done.results_file() == {"changed": False, "n": 1}


def test_a_result_with_a_key_started_comes_back_untouched_and_does_not_read_as_running(batch):
    done = batch(["result['started'] = True; result['n'] = 2"])
    assert done.results() == [{"changed": False, "started": True, "n": 2}]
    assert done.results_file() == {"changed": False, "n": 2}


def test_a_no_log_job_leaves_none_of_its_values_in_any_file(batch):
    done = batch(["result['token'] = 's3cret'; result['rc'] = 0; print('s3cret', file=sys.stderr)"], no_log=True)
    assert "s3cret" not in done.wait()[0]["result"]
    wait_for_supervisor(done)
    for folder, dummy, names in os.walk(done.async_dir):
        for name in names:
            with open(os.path.join(folder, name), "rb") as stream:
                assert b"s3cret" not in stream.read()


def test_nobody_else_can_read_any_record_whatever_the_umask(batch):
    before = os.umask(0)
    try:
        done = batch(["import time; time.sleep(300)", "result['started'] = 1"])
    finally:
        os.umask(before)
    done.wait(mode="any")
    for folder, dummy, names in os.walk(done.async_dir):
        for path in [folder] + [os.path.join(folder, name) for name in names]:
            assert not os.lstat(path).st_mode & 0o077, path


def test_no_argument_stands_in_a_command_line(batch):
    secret = "secret-%d-%d" % (os.getpid(), time.monotonic_ns())  # other tests may run on this machine
    done = batch(["%r; import time; time.sleep(300)" % secret], payloads={"p": payload(fork=False)})
    done.wait(block=0.5)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as stream:
                assert secret.encode() not in stream.read()
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_a_killed_supervisor_takes_its_jobs_with_it_and_they_read_as_lost(batch, tmp_path):
    done = batch(
        ["open(%r, 'w').write(str(os.getpid())); import time; time.sleep(300)" % str(tmp_path / "pid"), "pass"],
        concurrency=1,
    )
    wait_until_running(done, str(tmp_path / "pid"))
    os.kill(done.reply["pid"], signal.SIGKILL)
    answers = done.wait()
    assert states(answers) == ["lost", "lost"]
    assert "supervisor was gone" in answers[0]["msg"]
    assert "supervisor was gone" in done.results_file()["msg"]
    assert done.wait() == answers
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_killed_template_loses_its_running_jobs_and_the_others_run(batch):
    done = batch(["import time; time.sleep(300)", "result['n'] = 1"], concurrency=1)
    wait_until_running(done)
    snapshot = processes.Snapshot()
    template = [process for process in snapshot if process.ppid == done.reply["pid"]]
    assert len(template) == 1
    assert processes.send(template[0], signal.SIGKILL)
    answers = done.wait()
    assert states(answers) == ["lost", "succeeded"]


def test_the_next_module_is_read_in_while_its_first_job_waits_for_a_slot(batch):
    payloads = {"p": payload(), "q": payload(name="AnsiballZ_other.py"), "r": payload(name="AnsiballZ_last.py")}
    done = Batch(batch(["pass"]).async_dir, ["import time; time.sleep(300)", "pass", "pass"], 1, payloads)
    for index, key in enumerate(payloads):
        done.plan["jobs"][index]["body"][0]["calls"][0]["payload"] = key
    done.launch()
    deadline, found, templates = time.monotonic() + 20, [], []
    while (len(templates) < 2 or "running" not in found) and time.monotonic() < deadline:
        templates = servants(done.reply["pid"])
        found = states(done.wait(block=0.1))
    assert len(templates) == 2
    assert found == ["running", "queued", "queued"]
    assert states(done.serve("cancel")) == ["cancelled"] * 3


def test_a_supervisor_is_gone_with_its_last_job_and_leaves_only_records(batch):
    done = batch(["pass"])
    done.wait()
    wait_for_supervisor(done)
    assert sorted(os.listdir(done.path())) == ["batch.json", "journal"]


def test_an_unusable_async_dir_starts_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(launcher.LaunchError, match="not a directory"):
        Batch(tmp_path / "file", ["pass"]).launch()


def test_the_end_of_a_job_is_true_where_the_disk_has_no_room_for_what_its_module_prints(batch):
    full = "os.dup2(os.open('/dev/full', os.O_WRONLY), 1); result.update(changed=True, text='x' * 100000"
    launched = batch([full + ")", full + ", failed=True, rc=7)"])
    good, bad = launched.wait()
    assert (good["state"], bad["state"]) == ("succeeded", "failed")
    assert good["msg"] == bad["msg"] == "the disk is full: the result could not be kept"
    room = "The disk is full: the result could not be kept."
    assert json.loads(good["result"]) == {"changed": True, "msg": room}
    assert json.loads(bad["result"]) == {"changed": True, "failed": True, "rc": 7, "msg": room}


def test_requests_are_taken_from_the_answer_to_a_launch_on(tmp_path):
    planned = Batch(tmp_path, ["pass"])
    writer = batch_writer.BatchWriter(planned.async_dir, planned.batch_id)
    supervisor = _supervisor.Supervisor(
        planned.plan, writer, {"template": {"loader": "", "parts": {}}, "capture": ""}, module_call.Clock(), {}
    )
    supervisor.record()
    reader = records.BatchReader(planned.async_dir, planned.batch_id)
    assert reader.ask({"cancel": [0], "grace": 1.0}) is True
    os.close(writer.control)


SCRIPT = {"style": "command", "interpreter": [sys.executable], "name": "command"}


def script(text, **settings):
    """Return the step of a task `script` of this shell text."""
    call = {"module": "script", "payload": "s", "params": json.dumps({"command": ["/bin/sh", "-c", text]})}
    recipe = {"kind": "script", "unless": [], "run": 0, "check_mode": False, "no_log": False, "most_shown": 0}
    step = {"name": "script", "module": "script", "calls": [call], "environment": {}, "recipe": recipe}
    return [dict(step, **settings)]


def scripts(batch, texts, **settings):
    return batch([script(text) for text in texts], payloads={"s": SCRIPT}, **settings)


def repeat(text, size):
    """Return a shell command that prints `text`, as printf has it, again and again, so many bytes in all."""
    return (
        "%s -c \"import os; data = b'%s' * 100000; [os.write(1, data[:min(len(data), %d - n)]) for n in range(0, %d, len(data))]\""
        % (
            sys.executable,
            text,
            size,
            size,
        )
    )


@pytest.mark.parametrize("byte", ["\\x01", "\\xff", "\\n", "x"], ids=["control", "no text", "lines", "plain"])
def test_a_script_that_prints_without_end_succeeds_with_a_bounded_result_and_other_jobs_have_their_time(batch, byte):
    done = scripts(
        batch,
        ["printf first; %s; printf last" % repeat(byte, 100_000_000), "exec sleep 60"],
        timeout=[0, 3],
        plan={"keep_output": 65536},
    )
    answers = done.wait(max_bytes=1 << 40)
    assert states(answers) == ["succeeded", "timed_out"]
    assert answers[1]["duration"] < 6
    result = json.loads(answers[0]["result"])
    assert (result["rc"], result["changed"]) == (0, True)
    assert result["stdout"].startswith("first") and result["stdout"].endswith("last")
    first, dummy, last = result["stdout"].partition(" bytes left out ...\n")
    size = sum(len(part.replace("\ufffd", "?").encode()) for part in (first.rpartition("\n...")[0], last))
    assert size + int(first.rpartition(" ")[2]) == 100_000_000 + len("firstlast")
    assert len(answers[0]["result"]) <= results.LIMIT


def test_what_a_script_prints_is_bounded_on_the_disk_while_it_runs(batch):
    done = scripts(batch, ["%s; exec sleep 60" % repeat("x", 200_000_000)], plan={"keep_output": 8192})
    path = done.path("run", "0.stdout")
    most, deadline = 0, time.monotonic() + 30
    while time.monotonic() < deadline and not (
        most and done.serve("list", tail=1)[0]["stdout"].endswith("x") and quiet(path)
    ):
        most = max(most, os.stat(path).st_blocks * 512 if os.path.exists(path) else 0)
    assert 0 < most <= results.PRINTED_LIMIT + 2 * 65536


def quiet(path):
    """Say whether nothing has been printed for a moment."""
    before = os.stat(path).st_mtime_ns
    time.sleep(0.3)
    return os.stat(path).st_mtime_ns == before


def test_what_a_script_leaves_running_does_not_hold_its_job_up(batch, tmp_path):
    done = scripts(batch, ["(sleep 30; echo late) & echo $!; yes & echo done"])
    (answer,) = done.wait()
    assert answer["state"] == "succeeded"
    assert json.loads(answer["result"])["stdout"].split()[0].isdigit()
    os.kill(int(json.loads(answer["result"])["stdout"].split()[0]), signal.SIGKILL)
    wait_for_supervisor(done)


def test_what_a_script_prints_when_it_is_told_to_end_is_kept(batch, tmp_path):
    ready = tmp_path / "ready"
    done = scripts(
        batch,
        ["trap 'echo bye; exit 7' TERM; echo hello; touch %s; while :; do sleep 0.1; done" % ready],
        plan={"keep_output": 4096},
    )
    assert until(ready.exists)
    assert until(lambda: done.serve("list", tail=5)[0]["stdout"] == "hello")
    (answer,) = done.serve("cancel")
    assert answer["state"] == "cancelled"
    assert json.loads(answer["result"])["stdout"].split() == ["hello", "bye"]


def test_the_processes_of_a_script_are_found_whoever_was_killed(batch, tmp_path):
    done = scripts(batch, ["echo up > %s; exec sleep 300" % (tmp_path / "up")], plan={"keep_output": 4096})
    assert until((tmp_path / "up").exists)
    assert until(lambda: "pid" in done.serve("list")[0])  # the script may be quicker than the word of it
    (answer,) = done.serve("list")
    run = done.path("run", "0.stdout")
    assert answer["pid"] in processes.holders([run])[run]
    both = done.reply["pid"], processes.look(answer["pid"]).ppid
    for number in (signal.SIGSTOP, signal.SIGKILL):  # neither may see that the other is gone, and end the job
        for pid in both:
            os.kill(pid, number)
    assert gone(done.reply["pid"])
    assert [one["state"] for one in done.serve("list")] == ["lost"]
    (answer,) = done.serve("cancel")
    assert answer["ended_processes"] >= 1 and gone(answer.get("pid", 1 << 22))
    assert "processes" not in done.serve("list")[0]


NO_REQUESTS = [
    '{"cancel": [9], "grace": 1}',
    '{"cancel": [-1], "grace": 1}',
    '{"cancel": [true], "grace": 1}',
    '{"cancel": ["0"], "grace": 1}',
    '{"cancel": 0, "grace": 1}',
    '{"cancel": [0]}',
    '{"cancel": [0], "grace": null}',
    '{"cancel": [0], "grace": -1}',
    '{"cancel": [0], "grace": NaN}',
    '{"cancel": [0], "grace": 1e999}',
    '{"cancel": [0], "grace": 1%s}' % ("0" * 400),
    '{"cancel": [0], "grace": 1, "signal": 999}',
    '{"cancel": [0], "grace": 1, "signal": 0}',
    '{"cancel": [0], "grace": 1, "signal": "TERM"}',
    '{"cancel": [0], "grace": 1, "signal": true}',
    "[]",
    "null",
    "{}",
    "7",
    "[" * 3000,
    "\xff",
    "",
]


def test_what_is_no_request_is_ignored(batch):
    running = batch(["import time; time.sleep(300)"])
    assert until(lambda: states(running.serve("wait", block=0.1)) == ["running"])
    with open(running.path("control"), "wb", buffering=0) as control:
        for line in NO_REQUESTS:
            control.write(line.encode("latin-1") + b"\n")
    assert states(running.serve("wait", block=0.3)) == ["running"]
    assert states(running.serve("cancel", grace=1e300)) == ["cancelled"]
    assert gone(running.reply["pid"])


@pytest.mark.parametrize(
    "frame",
    [
        b"[]",
        b"nonsense",
        b'{"job": 9, "status": 0}',
        b'{"job": 0, "status": "x"}',
        b'{"job": 0, "pid": -1}',
        b'{"job": 0, "error": 7}',
        b'{"job": 0, "status": 0, "brief": {"msg": 1}}',
        b"[" * 3000,
    ],
)
def test_what_no_template_says_is_ignored(tmp_path, frame):
    launched = Batch(tmp_path / "async", ["pass", "pass"], concurrency=1)
    program = (
        "import glob, socket, struct\nparent = os.getppid()\n"
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "pidfd = libc.syscall(434, parent, 0)\n"
        "for link in glob.glob('/proc/%%d/fd/*' %% parent):\n"
        "    if os.path.exists(link) or os.readlink(link).startswith('socket'):\n"
        "        if os.readlink(link).startswith('socket'):\n"
        "            fd = libc.syscall(438, pidfd, int(link.rpartition('/')[2]), 0)\n"
        "            data = %r\n"
        "            if fd >= 0: os.write(fd, struct.pack('!I', len(data)) + data); result['told'] = True\n"
    ) % frame
    launched.plan["jobs"][0]["body"][0]["calls"][0]["params"] = json.dumps({"run": program})
    answers = launched.launch().wait()
    if "told" not in json.loads(answers[0]["result"]):
        pytest.skip("this host lets nobody take over a descriptor")
    assert states(answers) == ["succeeded", "succeeded"]


def test_where_a_supervisor_breaks_what_it_said_is_kept_and_told_of(tmp_path):
    end = "import time\nwhile not os.path.exists(%r): time.sleep(0.02)" % str(tmp_path / "end")
    bodies = [
        "print('here', flush=True); import time; time.sleep(300)",
        end,
        [step("pass", recipe={"kind": "of nothing"})],
    ]
    launched = Batch(tmp_path / "async", bodies, concurrency=2, plan={"keep_output": 4096}).launch()
    assert until(lambda: launched.serve("list", tail=1)[0]["stdout"] == "here")
    (tmp_path / "end").touch()
    assert gone(launched.reply["pid"])
    answer = launched.wait()[0]
    assert answer["state"] == "lost"
    log = launched.path("supervisor.log")
    assert log in answer["msg"]
    with open(log, encoding="utf-8") as stream:
        assert stream.read().startswith("Traceback")
    assert json.loads(answer["result"])["stdout"] == "here"


def test_a_supervisor_that_is_told_to_end_cancels_its_jobs_and_does_what_they_do_always(batch, tmp_path):
    marks = [str(tmp_path / name) for name in ("trapped", "always", "rescued", "started")]
    trap = "import signal, time\ndef end(*dummy):\n    open(%r, 'w').close(); sys.exit(9)\n"
    trap += "signal.signal(signal.SIGTERM, end)\nopen(%r, 'w').close()\ntime.sleep(300)"
    block = {
        "block": [step(trap % (marks[0], marks[3]))],
        "rescue": [step("open(%r, 'w').close()" % marks[2])],
        "always": [step("open(%r, 'w').close()" % marks[1])],
    }
    running = batch([[block], "pass"], concurrency=1)
    assert until(lambda: os.path.exists(marks[3]))
    assert until(lambda: "pid" in running.serve("list")[0])  # which the supervisor may write down later
    template = processes.look(running.serve("list")[0]["pid"]).ppid
    for pid in (template, running.reply["pid"]):  # as for all that a service manager ends
        os.kill(pid, signal.SIGTERM)
    assert gone(running.reply["pid"])
    answers = running.wait()
    assert states(answers) == ["cancelled", "cancelled"]
    assert answers[0]["msg"] == "cancelled while it ran: its supervisor was told to end"
    assert answers[1]["msg"] == "cancelled before it started: its supervisor was told to end"
    assert [os.path.exists(mark) for mark in marks] == [True, True, False, True]
    assert not os.path.exists(running.path("control"))


def test_a_job_began_when_its_process_did_however_late_the_supervisor_hears_of_it(tmp_path, monkeypatch):
    began, heard = tmp_path / "began", runner.Runner._heard
    os.mkfifo(began)

    def hear_late(*positional):
        inside.append(float(began.read_text()) if not inside else None)
        heard(*positional)

    monkeypatch.setattr(runner.Runner, "_heard", hear_late)
    planned = Batch(tmp_path / "async", ["import time; open(%r, 'w').write(repr(time.monotonic()))" % str(began)])
    os.mkdir(planned.async_dir, 0o700)
    clock, inside = module_call.Clock(), []
    writer = batch_writer.BatchWriter(planned.async_dir, planned.batch_id)
    plan = packing.unpack(packing.pack(planned.plan))
    one = _supervisor.Supervisor(plan, writer, launcher._sources(), clock, dict(os.environ))
    before = clock.wall(clock.now())
    one.record()
    one.run()
    assert before <= planned.wait()[0]["started_at"] <= clock.wall(inside[0])


@pytest.mark.parametrize(("said", "noted"), [(99.0, 100.0), (100.5, 100.5), (103.0, 102.0)])
def test_a_job_begins_between_its_order_and_the_word_of_it(said, noted):
    assert module_call.began(said, ordered=100.0, now=102.0) == noted
