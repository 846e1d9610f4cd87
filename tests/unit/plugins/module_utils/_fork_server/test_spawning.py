# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import spawning

# Where subprocess has a function to call between fork and exec, it calls what is registered for forks too.
PROGRAM = """
import inspect, json, os, subprocess
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.background.jobs.plugins.module_utils._fork_server import spawning

forks, told = [], {}
os.register_at_fork(before=lambda: forks.append(1))


def counted(name, work):
    before = len(forks)
    told[name] = [work(), len(forks) - before]


with patch_module_args({}):
    module = basic.AnsibleModule({})
counted("before", lambda: module.run_command("true")[0])
spawning.spare_copies()
told["signature"] = str(inspect.signature(subprocess.Popen))
counted("none", lambda: module.run_command(["echo", "a b"])[1])
counted("input", lambda: module.run_command("cat; pwd", use_unsafe_shell=True, data="x", cwd="/usr", environ_update={"A": "1"})[1])
counted("umask", lambda: module.run_command("umask", use_unsafe_shell=True, umask=0o77)[1])
counted("own", lambda: subprocess.run("umask", shell=True, preexec_fn=lambda: os.umask(0o27), stdout=subprocess.PIPE).stdout.decode())
counted("failed", lambda: module.run_command("false")[0])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.decode())


def test_a_command_is_started_without_a_fork(told):
    assert told["before"] == [0, 1]
    assert told["none"] == ["a b\n", 0]
    assert told["input"] == ["x\n/usr\n", 0]
    assert told["failed"] == [1, 0]


def test_what_is_to_be_done_in_between_is_done(told):
    assert told["umask"] == ["0077\n", 1]
    assert told["own"] == ["0027\n", 1]


def test_nothing_of_it_is_to_be_seen(told):
    assert told["signature"] == str(inspect.signature(subprocess.Popen))


def test_a_function_that_does_more_is_left_alone():
    def make(umask):
        def harmless():
            if umask:
                os.umask(umask)

        def more():
            if umask:
                os.umask(umask)
            os.setsid()

        return harmless, more

    harmless, more = spawning._codes_in(make)
    assert (spawning._is_known(harmless), spawning._is_known(more)) == (True, False)
