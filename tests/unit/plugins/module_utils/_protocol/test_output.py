# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import output

from ..conftest import payload, step, wait_for_supervisor

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

BOTH_PATHS = pytest.mark.parametrize("payloads", [{"p": payload()}, {"p": payload(fork=False)}], ids=["fork", "exec"])
KEPT = {"keep_output": 65536}

# What a module does with a child process that runs a shell script, %r. As run_command does it, and others.
RUN_COMMAND = """
import fcntl, selectors, subprocess
p = subprocess.Popen(['sh', '-c', %r], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
s = selectors.PollSelector()
got = {p.stdout: b'', p.stderr: b''}
for f in got:
    s.register(f, selectors.EVENT_READ)
    fcntl.fcntl(f.fileno(), fcntl.F_SETFL, fcntl.fcntl(f.fileno(), fcntl.F_GETFL) | os.O_NONBLOCK)
while s.get_map():
    for key, dummy in s.select(1):
        chunk = key.fileobj.read(32768)
        got[key.fileobj] += chunk or b''
        if chunk == b'':
            s.unregister(key.fileobj)
result.update(rc=p.wait(), stdout=got[p.stdout].decode(), stderr=got[p.stderr].decode())
"""
COMMUNICATE = """
import subprocess
p = subprocess.run(['sh', '-c', %r], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, universal_newlines=True)
result.update(rc=p.returncode, stdout=p.stdout, stderr=p.stderr)
"""
LINES = """
import subprocess
p = subprocess.Popen(['sh', '-c', %r], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
result.update(stdout=b''.join(p.stdout).decode(), rc=p.wait())
"""
ALL_OF_IT = """
import subprocess
result.update(stdout=subprocess.check_output(['sh', '-c', %r]).decode())
"""
INHERITED = """
import subprocess
result.update(rc=subprocess.call(['sh', '-c', %r]))
"""


def info(batch, tail=50, index=0):
    wanted = {} if tail is None else {"tail": tail}
    return batch.serve("list", jids=[batch.jids()[index]], **wanted)[0]


def seen(batch, text, stream="stdout", index=0):
    """Wait until `text` is in what a job has printed so far, and return what is told of the job."""
    deadline = time.monotonic() + 20
    while True:
        told = info(batch, index=index)
        if text in told[stream] and told["state"] == "running":
            return told
        assert not told["finished"], told
        assert time.monotonic() < deadline, told
        time.sleep(0.02)  # the change of a file that grows: nobody tells


def files(batch):
    return sorted(os.listdir(batch.path("output"))) if os.path.isdir(batch.path("output")) else []


@BOTH_PATHS
@pytest.mark.parametrize(
    "module",
    [RUN_COMMAND, COMMUNICATE, LINES, ALL_OF_IT, INHERITED],
    ids=["run_command", "communicate", "lines", "all", "inherited"],
)
def test_each_line_is_seen_while_the_job_runs_and_gone_when_it_has_ended(batch, payloads, module, tmp_path):
    for name in ("go", "end"):
        os.mkfifo(str(tmp_path / name))
    script = "echo one; read x < %s; echo two; read x < %s" % (tmp_path / "go", tmp_path / "end")
    done = batch([module % script], payloads=payloads, plan=KEPT)
    told = seen(done, "one")
    assert told["state"] == "running"
    assert (told["stdout"], told["stdout_lines"], told["stderr"], told["output_size"]) == ("one", ["one"], "", 4)
    (tmp_path / "go").write_text("x\n")
    told = seen(done, "two")
    assert (told["stdout_lines"], told["output_size"]) == (["one", "two"], 8)
    assert info(done, tail=1)["stdout"] == "two"
    assert info(done, tail=0)["stdout_lines"] == []
    assert "stdout" not in info(done, tail=None)
    (tmp_path / "end").write_text("x\n")
    answer = done.wait()[0]
    assert answer["state"] == "succeeded"
    if module is not INHERITED:
        assert json.loads(answer["result"])["stdout"] == "one\ntwo\n"
        told = info(done, tail=1)
        assert (told["stdout_lines"], told["stderr_lines"], told["output_size"]) == (["two"], [], 8)
        assert "output_size" not in info(done, tail=None)
    wait_for_supervisor(done)
    assert not os.path.exists(done.path("output"))


def test_both_streams_are_told_apart(batch, tmp_path):
    os.mkfifo(str(tmp_path / "go"))
    script = "echo out; echo err >&2; read x < %s" % (tmp_path / "go")
    done = batch([RUN_COMMAND % script], plan=KEPT)
    seen(done, "out")
    told = seen(done, "err", "stderr")
    assert (told["stdout"], told["stderr"], told["output_size"]) == ("out", "err", 8)
    (tmp_path / "go").write_text("x\n")
    assert done.wait()[0]["state"] == "succeeded"


def test_a_job_that_prints_nothing_leaves_nothing_and_says_so(batch, tmp_path):
    os.mkfifo(str(tmp_path / "go"))
    done = batch([RUN_COMMAND % ("read x < %s" % (tmp_path / "go"))], plan=KEPT)
    told = seen(done, "")
    assert (told["stdout"], told["stderr_lines"], told["output_size"]) == ("", [], 0)
    assert files(done) == []
    (tmp_path / "go").write_text("x\n")
    done.wait()


KILLS_ITSELF = "\nos.kill(os.getpid(), 9)"
IGNORES = "trap '' TERM; echo first; echo trouble >&2; while :; do sleep 0.1; done"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN)\n" + RUN_COMMAND % IGNORES + "\ntime.sleep(300)"


@BOTH_PATHS
def test_a_job_that_ignores_its_signal_has_what_it_printed_in_its_result(batch, payloads):
    done = batch([STUBBORN], payloads=payloads, plan=KEPT)
    seen(done, "first")
    answer = done.serve("cancel", grace=0.3)[0]
    assert answer["state"] == "cancelled"
    result = json.loads(answer["result"])
    assert (result["stdout"], result["stdout_lines"]) == ("first", ["first"])
    assert (result["stderr"], result["stderr_lines"]) == ("trouble", ["trouble"])
    assert result["failed"] is True
    assert "killed" in result["msg"]
    told = info(done)
    assert (told["stdout"], told["stderr"], told["output_size"]) == ("first", "trouble", 14)
    wait_for_supervisor(done)
    assert files(done) == ["0.stderr.0", "0.stdout.0"]
    assert done.serve("forget")[0]["forgotten"]
    assert not os.path.exists(done.path())


def test_a_module_that_tells_itself_what_was_printed_is_left_its_result(batch):
    script = "trap 'echo last; exit 3' TERM; echo first; while :; do sleep 0.05; done"
    done = batch([RUN_COMMAND % script], plan=KEPT)
    seen(done, "first")
    answer = done.serve("cancel", grace=20.0)[0]
    result = json.loads(answer["result"])
    assert (answer["state"], result["rc"], result["stdout"]) == ("cancelled", 3, "first\nlast\n")
    assert "stdout_lines" not in result
    assert info(done)["stdout_lines"] == ["first", "last"]


def test_a_job_whose_time_is_up_keeps_its_output(batch):
    done = batch([STUBBORN], timeout=1.5, plan=KEPT)
    done.plan["jobs"][0]["timeout"] = 1.5
    seen(done, "first")
    # the grace of a time-out is long: end it at once
    assert done.serve("cancel", grace=0.1)
    answer = done.wait()[0]
    assert answer["state"] in ("timed_out", "cancelled")
    assert json.loads(answer["result"])["stdout"] == "first"


def test_a_job_that_was_killed_keeps_its_output(batch):
    done = batch([RUN_COMMAND % "echo first" + KILLS_ITSELF], plan=KEPT)
    answer = done.wait()[0]
    result = json.loads(answer["result"])
    assert answer["state"] == "failed"
    assert "signal 9" in result["msg"]
    assert result["stdout"] == "first"
    assert info(done)["stdout"] == "first"
    wait_for_supervisor(done)
    assert files(done) == ["0.stdout.0"]


def test_what_is_kept_of_a_job_goes_with_its_record_and_not_with_that_of_another(batch):
    done = batch([RUN_COMMAND % "head -c 200000 /dev/zero" + KILLS_ITSELF] * 2, plan=KEPT)
    done.wait()
    assert done.serve("forget", jids=done.jids()[:1])[0]["forgotten"]
    assert {name.split(".")[0] for name in files(done)} == {"1"}
    assert info(done, index=1)["output_size"] == 200000


def test_a_job_that_crashes_says_what_its_module_printed_and_no_more(batch):
    done = batch([ALL_OF_IT % "echo first" + "\nos._exit(4)"], plan=KEPT)
    result = json.loads(done.wait()[0]["result"])
    assert "stdout" not in result
    wait_for_supervisor(done)
    assert files(done) == []


def test_a_lost_job_has_what_it_printed_in_its_result(batch):
    done = batch([STUBBORN + "\n", INHERITED % "echo inherited; exec sleep 300", "pass"], plan=KEPT, concurrency=2)
    pids = [seen(done, "first")["pid"], seen(done, "inherited", index=1)["pid"]]
    os.kill(done.reply["pid"], signal.SIGKILL)
    try:
        answers = done.wait()
        assert [answer["state"] for answer in answers] == ["lost"] * 3
        result = json.loads(answers[0]["result"])
        assert (result["stdout"], result["stderr_lines"], result["failed"]) == ("first", ["trouble"], True)
        assert "lost" in result["msg"]
        assert json.loads(answers[1]["result"])["stdout"] == "inherited"
        assert answers[2].get("result") is None
        assert done.results_file(0) == dict(result, background_jobs_state="lost")
        assert info(done)["stdout"] == "first"
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def test_a_job_that_dies_with_its_template_has_what_it_printed_in_its_result(batch):
    done = batch([STUBBORN + "\nos.write(1, b'x')"], plan=KEPT)
    pid = seen(done, "first")["pid"]
    with open("/proc/%d/stat" % pid, encoding="ascii") as stream:
        template = int(stream.read().rpartition(") ")[2].split()[1])
    os.kill(template, signal.SIGKILL)
    answer = done.wait()[0]
    assert answer["state"] == "lost"
    assert json.loads(answer["result"])["stdout"] == "first"


NO_LOG = [
    {"no_log": True},
    {"plan": {"keep_output": 0}},
    {"plan": {}},
]


@BOTH_PATHS
@pytest.mark.parametrize("settings", NO_LOG)
@pytest.mark.parametrize("module", [RUN_COMMAND, INHERITED], ids=["run_command", "inherited"])
def test_nothing_is_kept_where_it_must_not_be(batch, payloads, settings, module, tmp_path):
    os.mkfifo(str(tmp_path / "go"))
    program = module % ("echo s3cret; echo x > %s; trap '' TERM; while :; do sleep 0.1; done" % (tmp_path / "go"))
    program = "import signal, time; signal.signal(15, signal.SIG_IGN)\n" + program + "\ntime.sleep(300)"
    done = batch([program], payloads=payloads, **dict({"plan": KEPT}, **settings))
    (tmp_path / "go").read_text()
    told = seen(done, "") if "no_log" not in settings else info(done)
    assert "s3cret" not in json.dumps(told)
    assert "output_size" not in told
    assert files(done) == []
    result = done.serve("cancel", grace=0.1)[0]["result"]
    if module is RUN_COMMAND or "no_log" in settings:
        assert "s3cret" not in result
    assert "s3cret" not in json.dumps(info(done))


def test_of_a_block_each_step_has_its_own_and_the_job_has_all(batch, tmp_path):
    os.mkfifo(str(tmp_path / "go"))
    steps = [
        step(RUN_COMMAND % "echo first", "a"),
        step("", "b"),
        step(RUN_COMMAND % "echo s3cret", "c", no_log=True),
        step(RUN_COMMAND % "echo third" + KILLS_ITSELF, "d", ignore_errors=True),
        step(RUN_COMMAND % ("echo fourth; read x < %s" % (tmp_path / "go")), "e"),
    ]
    steps[1]["calls"] = [
        {"module": "c", "payload": "c", "params": json.dumps({"command": ["sh", "-c", "echo second"]})}
    ]
    payloads = {"p": payload(), "c": {"style": "command", "interpreter": [], "name": "command"}}
    done = batch([steps], payloads=payloads, plan=KEPT)
    told = seen(done, "fourth")
    assert told["stdout_lines"] == ["first", "second", "third", "fourth"]
    (tmp_path / "go").write_text("x\n")
    answer = done.wait()[0]
    assert answer["state"] == "succeeded"
    results = [json.loads(entry["result"]) for entry in json.loads(answer["tasks"])["results"]]
    assert [result.get("stdout") for result in results] == ["first\n", "second\n", None, "third", "fourth\n"]
    wait_for_supervisor(done)
    assert files(done) == []


def test_the_output_of_an_attempt_goes_when_the_next_succeeds(batch, tmp_path):
    marker = str(tmp_path / "again")
    program = (
        RUN_COMMAND % "echo once"
        + "\nif not os.path.exists(%r):\n    open(%r, 'w').close(); os.kill(os.getpid(), 9)"
        % (
            marker,
            marker,
        )
    )
    done = batch([program], retries=1, delay=0.0, plan=KEPT)
    assert done.wait()[0]["state"] == "succeeded"
    wait_for_supervisor(done)
    assert files(done) == []


def test_a_job_that_prints_more_than_is_kept_is_not_hindered(batch):
    size = 3000000
    program = (
        "import subprocess; result['n'] = len(subprocess.check_output(['sh', '-c', 'yes line | head -c %d'])); open(%r)"
    )
    done = batch([program % (size, "/dev/null") + "; os.kill(os.getpid(), 9)"], plan=KEPT)
    answer = done.wait()[0]
    text = json.loads(answer["result"])["stdout"]
    assert len(text) <= KEPT["keep_output"] + 100
    assert " bytes left out ...\n" in text
    told = info(done, tail=2)
    assert (told["stdout_lines"], told["output_size"]) == (["line", "line"], size)


def test_a_script_is_seen_while_it_runs(batch, tmp_path):
    os.mkfifo(str(tmp_path / "go"))
    body = [step("", "s")]
    command = ["sh", "-c", "echo one; echo two >&2; read x < %s" % (tmp_path / "go")]
    body[0]["calls"] = [{"module": "c", "payload": "c", "params": json.dumps({"command": command})}]
    done = batch([body], payloads={"c": {"style": "command", "interpreter": [], "name": "command"}}, plan=KEPT)
    seen(done, "one")
    assert seen(done, "two", "stderr")["output_size"] == 8
    (tmp_path / "go").write_text("x\n")
    assert done.results()[0]["stdout"] == "one\n"


def test_a_module_that_is_a_program_of_its_own_is_seen_as_far_as_it_prints_itself(batch, tmp_path):
    os.mkfifo(str(tmp_path / "go"))
    program = '#!/bin/sh\necho busy\nread x < %s\necho "{}"\n' % (tmp_path / "go")
    data = base64.b64encode(program.encode()).decode()
    binary = {"style": "args_file", "interpreter": ["/bin/sh"], "data": data, "name": "old"}
    done = batch(["x"], payloads={"p": binary}, plan=KEPT)
    assert seen(done, "busy")["stdout"] == "busy"
    (tmp_path / "go").write_text("x\n")
    assert done.wait()[0]["state"] == "succeeded"


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (b"", b""),
        (b'{"a": 1}\n', b""),
        (b'x\n{"a": 1}\n', b"x\n"),
        (b"x\n{y}\n", b"x\n{y}\n"),
        (b"x", b"x"),
        (b'{"a"', b'{"a"'),
    ],
)
def test_the_result_that_a_module_prints_in_the_end_is_no_output(tmp_path, printed, told):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "0.stdout").write_bytes(printed)
    assert output.Output(str(tmp_path)).read(0, "stdout") == told


def test_files_that_are_not_what_they_seem_are_not_read(tmp_path):
    (tmp_path / "output").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "output" / "0.stdout.0").symlink_to(tmp_path / "precious")
    os.mkfifo(str(tmp_path / "output" / "0.stderr.0"))
    (tmp_path / "output" / "1.stdout.0").mkdir()
    (tmp_path / "output" / "x.stdout.0").write_text("x")
    kept = output.Output(str(tmp_path))
    for index in (0, 1):
        for stream in output.STREAMS:
            assert kept.read(index, stream, lines=3) == b""
        kept.remove(index)
        output.remove(str(tmp_path), index, KEPT["keep_output"])
    assert (tmp_path / "precious").read_text() == "precious"
    assert os.listdir(str(tmp_path / "output")) == ["x.stdout.0"]


def test_a_folder_that_goes_while_it_is_looked_at_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "_is_folder", lambda name, batch: True)
    assert output.Output(str(tmp_path)).size(0) is None


def test_the_last_lines_are_found_across_the_files(tmp_path):
    (tmp_path / "output").mkdir()
    for offset, text in ((0, "a\nb\n"), (8, "c\nd"), (11, "d\ne\n")):
        (tmp_path / "output" / ("0.stdout.%d" % offset)).write_text(text)
    kept = output.Output(str(tmp_path))
    assert kept.size(0) == 15
    assert kept.read(0, "stdout") == b"a\nb\n\n... 4 bytes left out ...\nc\ndd\ne\n"
    assert kept.read(0, "stdout", begin=2) == b"b\n\n... 4 bytes left out ...\nc\ndd\ne\n"
    assert kept.read(0, "stdout", begin=5) == b"\n... 3 bytes left out ...\nc\ndd\ne\n"
    assert kept.read(0, "stdout", begin=9) == b"\ndd\ne\n"
    for lines in range(1, 5):
        expected = ["", "... 4 bytes left out ...", "c", "dd", "e"][-lines:]
        text = output.text_of(kept.read(0, "stdout", lines=lines))
        assert output.told(text, "", lines)["stdout_lines"] == expected


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("", 3, ("", [])),
        ("a\nb\n", 1, ("b", ["b"])),
        ("a\nb", 0, ("", [])),
        ("a\n\n", None, ("a", ["a"])),
        ("a\r\nb", 5, ("a\nb", ["a", "b"])),
    ],
)
def test_a_tail_is_told_as_the_command_module_tells_its_output(text, lines, expected):
    told = output.told(text, text, lines)
    assert (told["stdout"], told["stdout_lines"]) == expected == (told["stderr"], told["stderr_lines"])
