# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import processes
from ansible_collections.background.jobs.plugins.module_utils._system.processes import Process, Snapshot

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

# a child, a grandchild in a session of its own, and a great-grandchild there whose parent has gone
FAMILY = """
import os, time
def tell():
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(300)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        parent = os.getpid()
        if os.fork() == 0:
            while os.getppid() == parent:
                time.sleep(0.01)
            tell()
        os._exit(0)
    tell()
time.sleep(300)
"""


@pytest.fixture
def family():
    process = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, start_new_session=True)
    pids = [process.pid] + [int(process.stdout.readline()) for dummy in range(2)]
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_tree_holds_children_in_other_sessions_and_those_whose_parent_is_gone(family):
    root = processes.look(family[0])
    assert set(Snapshot().tree({root.pid: root.start})) == set(family)


def test_a_tree_leaves_out_whoever_took_over_a_pid(family):
    root = processes.look(family[0])
    assert Snapshot().tree({root.pid: root.start + 1}) == {}


def test_a_tree_does_not_grow_into_the_session_of_whoever_asks():
    own = os.getsid(0)
    table = {
        10: Process(10, 1, own, 5, "S"),
        11: Process(11, 1, own, 6, "S"),
        12: Process(12, 10, 12, 7, "S"),
        13: Process(13, 1, 12, 8, "S"),
    }
    assert set(Snapshot(table).tree({10: 5})) == {10, 12, 13}


def test_zombies_are_not_part_of_a_tree_but_their_children_are():
    table = {10: Process(10, 1, 10, 5, "Z"), 11: Process(11, 10, 10, 6, "S")}
    assert set(Snapshot(table).tree({10: 5})) == {11}


def test_the_session_of_a_member_that_is_gone_is_part_of_its_tree():
    table = {11: Process(11, 1, 10, 6, "S"), 12: Process(12, 1, 12, 7, "S")}
    assert set(Snapshot(table).tree({10: 5})) == {11}


def test_a_signal_reaches_its_process_and_no_other(family):
    process = processes.look(family[2])
    assert not processes.send(process._replace(start=process.start + 1), signal.SIGKILL)
    assert processes.look(family[2]) is not None
    assert processes.send(process, signal.SIGKILL)
    assert not processes.send(process._replace(pid=2**22 - 1), signal.SIGKILL)


def test_an_identity_lives_as_long_as_its_process():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = processes.identity(process.pid)
    assert processes.why_gone(identity) is None
    process.communicate(b"\n")
    assert processes.why_gone(identity) == processes.GONE


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("start", 1, processes.GONE),
        ("boot_id", "00000000-0000-0000-0000-000000000000", processes.RESTARTED),
        # a container that restarts keeps the boot id of its machine
        ("init_start", 1, processes.RESTARTED),
    ],
)
def test_a_reused_pid_and_a_restart_are_not_taken_for_life(key, value, why):
    identity = processes.identity(os.getpid())
    assert processes.why_gone(dict(identity, **{key: value})) == why


@pytest.fixture
def no_proc(monkeypatch):
    monkeypatch.setattr(processes, "_is_told", lambda: False)
    monkeypatch.setattr(processes, "_read", lambda path: None)


@pytest.mark.usefixtures("no_proc")
def test_without_proc_a_process_is_ended_with_its_group():
    script = "sleep 300 & echo $!; sleep 300"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        child = int(process.stdout.readline())
        members = {process.pid: None}
        (found,) = Snapshot().tree(members).values()
        assert (found.pid, found.start) == (process.pid, None)
        assert processes.send(found, signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
        assert process.stdout.read() == b""  # whoever has it open has ended too
    deadline = time.monotonic() + 20
    while Snapshot().tree(members):  # until the first process of the host has taken note of the child's end
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not processes.send(found, signal.SIGKILL)
    with pytest.raises(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


@pytest.mark.usefixtures("no_proc")
def test_without_proc_whoever_was_seen_there_before_is_left_alone():
    assert Snapshot().tree({os.getpid(): 1}) == {}
    assert list(Snapshot()) == []
    assert processes.holders(["/dev/null"]) == {}
