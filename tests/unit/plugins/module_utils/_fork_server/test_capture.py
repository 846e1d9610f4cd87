# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import capture
from ansible_collections.background.jobs.plugins.module_utils._protocol import output

KEEP = 4096


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "output").mkdir()
    return tmp_path


@pytest.fixture
def stream(folder):
    return capture.Stream(str(folder / "output" / "0.stdout"), KEEP)


def kept(folder, stream="stdout"):
    return output.Output(str(folder)).read(0, stream)


def on_disk(folder):
    return sum(path.stat().st_size for path in (folder / "output").iterdir())


# the files


def test_what_fits_is_kept_whole(folder, stream):
    stream.write(b"a" * 1000)
    stream.write(b"")
    stream.write(b"b" * 3000)
    assert kept(folder) == b"a" * 1000 + b"b" * 3000
    assert output.Output(str(folder)).size(0) == 4000


@pytest.mark.parametrize("chunk", [1, 7, 511, 512, 5000, 100000])
def test_of_more_the_first_and_the_last_part_are_kept_with_a_mark_and_no_more(folder, stream, chunk):
    data = b"".join(b"%06d\n" % number for number in range(3000))
    for begin in range(0, len(data), chunk):
        stream.write(data[begin : begin + chunk])
    assert on_disk(folder) <= KEEP
    first, mark, last = kept(folder).partition(b"\n... ")
    left_out, mark, last = last.partition(b" bytes left out ...\n")
    assert mark
    assert first == data[: KEEP // 2]
    assert data.endswith(last)
    assert KEEP // 4 < len(last) <= KEEP // 2
    assert len(first) + int(left_out) + len(last) == len(data) == output.Output(str(folder)).size(0)


@pytest.mark.parametrize("chunk", [1, 7, 511, 5000, 100000])
def test_so_it_is_in_a_file_that_was_handed_over(tmp_path, chunk):
    data = b"".join(b"%06d\n" % number for number in range(3000))
    path = tmp_path / "0.children.stdout"
    handed = capture.OpenFile(os.open(str(path), os.O_RDWR | os.O_CREAT), KEEP)
    for begin in range(0, len(data), chunk):
        handed.write(data[begin : begin + chunk])
    first, mark, last = path.read_bytes().partition(b"\n... ")
    left_out, mark, last = last.partition(b" bytes left out ...\n")
    assert mark and path.stat().st_size <= KEEP + 100
    assert first == data[: KEEP // 2] and data.endswith(last) and KEEP // 4 <= len(last) <= KEEP // 2
    assert len(first) + int(left_out) + len(last) == len(data)


def test_what_took_over_the_number_of_a_file_that_was_handed_over_is_left_alone(tmp_path):
    handed = capture.OpenFile(os.open(str(tmp_path / "handed"), os.O_RDWR | os.O_CREAT), KEEP)
    other = os.open(str(tmp_path / "other"), os.O_RDWR | os.O_CREAT)
    handed.write(b"before")
    os.dup2(other, handed._fd)
    handed.write(b"after")
    assert ((tmp_path / "handed").read_bytes(), (tmp_path / "other").read_bytes()) == (b"before", b"")
    os.close(other)
    os.close(handed._fd)
    handed.write(b"closed")


def test_another_process_of_the_same_job_goes_on_where_it_was(folder):
    data = b"".join(b"%06d\n" % number for number in range(3000))
    for begin in range(0, len(data), 100):
        capture.Stream(str(folder / "output" / "0.stdout"), KEEP).write(data[begin : begin + 100])
    assert on_disk(folder) <= KEEP
    assert output.Output(str(folder)).size(0) == len(data)
    assert data.endswith(kept(folder).rpartition(b" left out ...\n")[2])


def test_its_files_are_nobody_elses(folder, stream):
    before = os.umask(0)
    try:
        stream.write(b"x")
    finally:
        os.umask(before)
    assert (folder / "output" / "0.stdout.0").stat().st_mode & 0o777 == 0o600


def test_where_nothing_can_be_written_it_ends_without_a_word(folder):
    stream = capture.Stream(str(folder / "missing" / "0.stdout"), KEEP)
    stream.write(b"x")
    (folder / "missing").mkdir()
    stream.write(b"y")
    assert not list((folder / "missing").iterdir())


def test_a_full_disk_ends_it_without_a_word(folder, stream, monkeypatch):
    stream.write(b"first")

    def full(fd, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        stream.write(b"lost")
    stream.write(b"after")
    assert kept(folder) == b"first"


def test_a_link_in_its_place_is_not_followed(folder, stream):
    (folder / "precious").write_text("precious")
    (folder / "output" / "0.stdout.0").symlink_to(folder / "precious")
    stream.write(b"x")
    assert (folder / "precious").read_text() == "precious"
    assert kept(folder) == b""


# what a module gets

_DRIVER = """
import json, os, sys
source, base, case = sys.argv[1:4]
names = {"__name__": "capture"}
exec(compile(open(source).read(), "capture", "exec"), names)
if base:
    names["prepare"]()(base, %d)
import asyncio, fcntl, io, select, selectors, signal, subprocess, threading, time
PIPE, STDOUT = subprocess.PIPE, subprocess.STDOUT
both = ["sh", "-c", "printf 'out\\\\r\\\\nput\\\\n'; printf 'err\\\\303\\\\251\\\\n' >&2"]
cat = ["cat"]
exec(case)
print(repr(got))
""" % (1 << 20)

BOTH = (b"out\r\nput\n", b"err\xc3\xa9\n")
CASES = {
    "communicate": ("p = subprocess.Popen(both, stdout=PIPE, stderr=PIPE); got = p.communicate(), p.returncode", *BOTH),
    "communicate, text": (
        "p = subprocess.Popen(both, stdout=PIPE, stderr=PIPE, universal_newlines=True, encoding='utf-8'); got = p.communicate()",
        *BOTH,
    ),
    "communicate, other encoding and errors": (
        "p = subprocess.Popen(both, stdout=PIPE, stderr=PIPE, encoding='ascii', errors='replace');"
        "got = p.stdout.encoding, p.stdout.errors, p.communicate()",
        *BOTH,
    ),
    "strict decoding": (
        "p = subprocess.Popen(both, stderr=PIPE, stdout=PIPE, encoding='ascii')\n"
        "try:\n    p.communicate()\nexcept UnicodeDecodeError as exc:\n    got = str(exc)",
        *BOTH,
    ),
    "one pipe": (
        "p = subprocess.Popen(both, stdout=PIPE, stderr=subprocess.DEVNULL); got = p.communicate()",
        BOTH[0],
        b"",
    ),
    "stderr alone": (
        "p = subprocess.Popen(both, stderr=PIPE, stdout=subprocess.DEVNULL); got = p.communicate()",
        b"",
        BOTH[1],
    ),
    "one into the other": (
        "got = subprocess.run(both, stdout=PIPE, stderr=STDOUT, check=False).stdout",
        BOTH[0] + BOTH[1],
        b"",
    ),
    "run": ("p = subprocess.run(both, stdout=PIPE, stderr=PIPE, check=False); got = p.stdout, p.stderr", *BOTH),
    "check_output": ("got = subprocess.check_output(both, stderr=STDOUT, text=True)", BOTH[0] + BOTH[1], b""),
    "check_output fails": (
        "try:\n    subprocess.check_output(['sh', '-c', 'echo no; exit 3'])\n"
        "except subprocess.CalledProcessError as exc:\n    got = exc.returncode, exc.output",
        b"no\n",
        b"",
    ),
    "input": (
        "got = subprocess.run(cat, input=b'x' * 300000, stdout=PIPE, stderr=PIPE, check=False).stdout",
        b"x" * 300000,
        b"",
    ),
    "input as text": (
        "got = subprocess.run(cat, input='a\\nb', stdout=PIPE, text=True, check=False).stdout",
        b"a\nb",
        b"",
    ),
    "timeout": (
        "p = subprocess.Popen(['sh', '-c', 'echo soon; exec sleep 100'], stdout=PIPE, stderr=PIPE)\n"
        "first = p.stdout.readline()\n"
        "try:\n    p.communicate(timeout=0.1)\nexcept subprocess.TimeoutExpired as exc:\n    got = first, exc.timeout\n"
        "p.kill(); got += (p.communicate(), p.returncode)",
        b"soon\n",
        b"",
    ),
    "lines": ("p = subprocess.Popen(['seq', '3'], stdout=PIPE); got = list(p.stdout), p.wait()", b"1\n2\n3\n", b""),
    "lines of text": (
        "p = subprocess.Popen(['seq', '3'], stdout=PIPE, text=True, bufsize=1); got = list(p.stdout), p.wait()",
        b"1\n2\n3\n",
        b"",
    ),
    "unbuffered": (
        "p = subprocess.Popen(['seq', '30'], stdout=PIPE, bufsize=0)\n"
        "got = type(p.stdout).__mro__[-4:], p.stdout.read(4), p.stdout.readline(), p.stdout.read(), p.stdout.read(), p.wait()",
        b"".join(b"%d\n" % n for n in range(1, 31)),
        b"",
    ),
    "a buffer of its own size": (
        "p = subprocess.Popen(['seq', '9'], stdout=PIPE, bufsize=5); p.wait(); got = p.stdout.peek(), p.stdout.read1(), p.stdout.read()",
        b"".join(b"%d\n" % n for n in range(1, 10)),
        b"",
    ),
    "readinto": (
        "p = subprocess.Popen(['seq', '9'], stdout=PIPE, bufsize=0); p.wait(); b = bytearray(6); got = p.stdout.readinto(b), bytes(b)",
        b"1\n2\n3\n",
        b"",
    ),
    "as run_command does it": (
        "p = subprocess.Popen(both, stdout=PIPE, stderr=PIPE); s = selectors.PollSelector(); got = {}\n"
        "for f in (p.stdout, p.stderr):\n"
        "    s.register(f, selectors.EVENT_READ); got[f is p.stdout] = b''\n"
        "    fcntl.fcntl(f.fileno(), fcntl.F_SETFL, fcntl.fcntl(f.fileno(), fcntl.F_GETFL) | os.O_NONBLOCK)\n"
        "while s.get_map():\n"
        "    for key, dummy in s.select(1):\n"
        "        chunk = key.fileobj.read(32768)\n"
        "        if chunk: got[key.fileobj == p.stdout] += chunk\n"
        "        elif chunk is not None: s.unregister(key.fileobj)\n"
        "p.wait()",
        *BOTH,
    ),
    "nothing there yet": (
        "p = subprocess.Popen(cat, stdin=PIPE, stdout=PIPE); fd = p.stdout.fileno(); os.set_blocking(fd, False)\n"
        "got = [p.stdout.read(5), p.stdout.raw.read(), p.stdout.raw.read(3)]\n"
        "p.stdin.write(b'late'); p.stdin.close(); p.wait(); got += [p.stdout.read(), p.stdout.read()]",
        b"late",
        b"",
    ),
    "os.read": (
        "p = subprocess.Popen(['echo', 'x'], stdout=PIPE); got = os.read(p.stdout.fileno(), 100), p.wait()",
        b"x\n",
        b"",
    ),
    "os.read of what came after it": (
        "p = subprocess.Popen(['echo', 'x'], stdout=PIPE); fd = p.stdout.fileno(); p.wait(); other = os.open(source, os.O_RDONLY)\n"
        "os.dup2(other, fd); got = len(os.read(fd, 100))",
        b"",
        b"",
    ),
    "a pipe between two": (
        "p = subprocess.Popen(['seq', '3'], stdout=PIPE); q = subprocess.Popen(['tac'], stdin=p.stdout, stdout=PIPE)\n"
        "p.stdout.close(); got = q.communicate(), p.wait()",
        b"3\n2\n1\n",
        b"",
    ),
    "popen": ("got = os.popen('echo x').read()", b"x\n", b""),
    "asyncio": (
        "async def f():\n"
        "    p = await asyncio.create_subprocess_exec(*both, stdout=PIPE, stderr=PIPE)\n"
        "    return await p.communicate(), p.returncode\n"
        "got = asyncio.run(f())",
        *BOTH,
    ),
    "what does not start": (
        "try:\n    subprocess.Popen(['/nonexistent'], stdout=PIPE)\nexcept FileNotFoundError as exc:\n    got = str(exc)",
        b"",
        b"",
    ),
    "no pipe": ("got = subprocess.call(['true']), os.read", b"", b""),
    # newer Pythons say where a file object was whose descriptor had been closed, which is no matter of the module's
    "everything closed": (
        "os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"
        "p = subprocess.Popen(both, stdout=PIPE, stderr=PIPE); p.wait(); os.closerange(3, 64)\n"
        "try:\n    p.communicate()\nexcept (OSError, ValueError) as exc:\n    got = str(exc)\np.stdout = p.stderr = None",
        b"",
        b"",
    ),
    "a context": (
        "with subprocess.Popen(both, stdout=PIPE, stderr=PIPE) as p:\n    got = p.stdout.read(2)\ngot += bytes([p.stdout.closed])",
        BOTH[0],
        b"",
    ),
    "a subclass": (
        "class P(subprocess.Popen):\n    pass\ngot = P(both, stdout=PIPE, stderr=PIPE).communicate(), subprocess.Popen.__mro__",
        *BOTH,
    ),
    "much": ("got = len(subprocess.check_output(['head', '-c', '900000', '/dev/zero']))", bytes(900000), b""),
}


def _run(base, case):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _DRIVER, capture.__file__, base, case],
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", CASES)
def test_a_module_gets_what_it_gets_without_and_its_output_is_kept(folder, name):
    case, stdout, stderr = CASES[name]
    plain = _run("", case)
    assert plain[0] == 0, plain[2].decode()
    assert _run(output.base_of(str(folder), 0), case) == plain
    assert kept(folder) == stdout
    assert kept(folder, "stderr") == stderr


# secrets

_SECRETS = """
import types
basic = types.ModuleType("basic")
class AnsibleModule:
    def __init__(self):
        self.no_log_values = {"s3cret", "s3cret word", 4711, ""}
basic.AnsibleModule = AnsibleModule
sys.modules["ansible.module_utils.basic"] = basic
names["prepare"]()(base, 65536)
basic.AnsibleModule()
"""


@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_a_module_must_not_tell_is_not_kept(folder, size):
    printed = b"a s3cret b s3cret word c s3creS 4711 s3cre"
    case = (
        _SECRETS
        + "p = subprocess.Popen(['printf', '%%s', %r], stdout=PIPE, bufsize=0); p.wait(); got = b''\n"
        % printed.decode()
    )
    case += (
        "while True:\n    piece = p.stdout.read(%d)\n    got += piece\n    if not piece: break\np.stdout.close()" % size
    )
    base = output.base_of(str(folder), 0)
    script = _DRIVER.replace("if base:", "if False:")
    done = subprocess.check_output([sys.executable, "-c", script, capture.__file__, base, case])
    assert eval(done) == printed
    text = kept(folder)
    assert b"s3cret" not in text
    assert b"4711" not in text
    assert text.replace(b"******** word", b"********") == b"a ******** b ******** c s3creS ******** s3cre"


def test_the_text_that_is_sent_needs_nothing_of_this_collection():
    with open(capture.__file__, encoding="utf-8") as stream:
        source = stream.read()
    subprocess.check_output([sys.executable, "-I", "-S", "-c", "exec(%s)" % json.dumps(source)])
