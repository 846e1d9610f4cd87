# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ansible_collections.background.jobs.plugins.module_utils._verbs import core_async

from ..conftest import ask, named, until

STEM = "j246813579"
JID = STEM + ".1"

# Does as core's async_wrapper: forks, and the child makes a session and forks again; prints the pid of the last.
DAEMON = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.close(1)
        signal.pause()
    os._exit(0)
os.wait()
"""
# The same on a host whose first process does not wait for what it inherits at once: the session's first process is a zombie.
UNWAITED = DAEMON.replace("os.wait()", "signal.pause()")
# Is called as a wrapper is, and no more than that; any user can run it.
NAMESAKE = "echo $$; read line"


@pytest.fixture
def begin(request):
    """begin(program): the pid of a process whose command line is that of a wrapper of the job; options: of Popen."""

    def begin_one(program, **options):
        process = subprocess.Popen(
            [
                sys.executable if program in (DAEMON, UNWAITED) else "/bin/sh",
                "-c",
                program,
                "/tmp/async_wrapper.py",
                STEM,
                "60",
                "x",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            **options,
        )
        pid = int(process.stdout.readline())
        request.addfinalizer(lambda: (_kill(pid), process.kill(), process.communicate()))
        return pid

    return begin_one


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def members():
    return set(core_async.Members().of(JID))


def cancel(folder):
    (folder / JID).write_text('{"started": 1, "finished": 0}')
    folder.chmod(0o700)
    return ask(folder, "cancel", block=5.0, grace=0.1, **named(JID))["jobs"][0]


@pytest.mark.parametrize("program", [DAEMON, UNWAITED])
def test_a_wrapper_that_is_on_its_own_is_known(begin, program):
    wrapper = begin(program)
    assert until(lambda: members() == {wrapper})  # the first process of the session may still be about to end


def test_what_is_only_called_so_in_a_session_of_others_is_not(begin, tmp_path):
    pid = begin(NAMESAKE)
    assert members() == set()
    cancel(tmp_path)
    os.kill(pid, 0)  # it lives


def test_the_leader_of_its_own_session_counts(begin):
    leader = begin(NAMESAKE, start_new_session=True)
    assert members() == {leader}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_process_of_another_user_is_not_ours(begin, tmp_path):
    pid = begin(NAMESAKE, start_new_session=True, preexec_fn=lambda: os.setuid(65534))
    assert members() == set()
    cancel(tmp_path)
    os.kill(pid, 0)  # it lives


def test_cancelling_ends_the_wrapper_and_nobody_else(begin, tmp_path):
    namesake, wrapper = begin(NAMESAKE), begin(DAEMON)
    assert cancel(tmp_path)["state"] == "cancelled"
    os.kill(namesake, 0)
    assert wrapper not in members()
