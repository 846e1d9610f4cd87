# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import select
import signal

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import loader
from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_client
from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

from ..conftest import gone, payload

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


class Served:
    """A template process, as its supervisor has it."""

    def __init__(self, folder):
        self.folder = str(folder)
        program = fork_client.program(launcher._sources()["template"])
        self.template = fork_client.Template(payload(), (dict(os.environ), {}), self.folder, "test", program)
        self.pid = self.template.end.pid
        self._frames = []

    def order(self, call, program="pass", **changes):
        base = os.path.join(self.folder, str(call))
        frame = {"job": 0, "call": call, "params": '{"run": "%s"}' % program, "environment": {}}
        frame.update(stdout=base + ".stdout", stderr=base + ".stderr")
        self.template.send(dict(frame, **changes))

    def next(self):
        """Return the next frame that it sends."""
        while not self._frames:
            watched = [self.template] if self.template.unsent else []
            assert select.select([self.template], watched, [], 20)[:2] != ([], [])
            self.template.flush()
            self._frames += self.template.receive()
        return self._frames.pop(0)

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))


@pytest.fixture
def served(tmp_path):
    one = Served(tmp_path)
    yield one
    os.kill(one.pid, signal.SIGCONT)
    one.template.close()
    one.template.reap(10)


def test_a_job_that_cannot_be_started_leaves_nothing_open(served):
    served.order(0)
    assert [sorted(served.next()) for dummy in range(2)] == [["began", "call", "job", "pid"], ["call", "job", "status"]]
    before = served.fds()
    for call in range(1, 9):
        served.order(call, stderr=os.path.join(served.folder, "missing", "stderr"))
        frame = served.next()
        assert (frame["call"], "cannot start it" in frame["error"]) == (call, True)
    assert served.fds() == before


def test_a_revoked_order_is_not_carried_out(served):
    served.order(0)
    assert [served.next()["call"] for dummy in range(2)] == [0, 0]
    os.kill(served.pid, signal.SIGSTOP)
    served.order(1)
    served.order(2)
    served.template.send({"revoke": 1})
    os.kill(served.pid, signal.SIGCONT)
    assert [served.next()["call"] for dummy in range(2)] == [2, 2]
    assert not os.path.exists(os.path.join(served.folder, "1.stdout"))


def test_orders_that_are_larger_than_what_is_taken_at_once_arrive(served):
    served.order(0, environment={"LARGE": "x" * 100}, more="y" * 3000000)
    assert served.template.unsent
    assert [sorted(served.next())[-1] for dummy in range(2)] == ["pid", "status"]


def test_its_jobs_end_with_a_supervisor_that_was_killed_before_it_had_read_all(served, tmp_path):
    path = str(tmp_path / "pid")
    served.order(0, "import time; open('%s', 'w').write(str(os.getpid())); time.sleep(300)" % path)
    pid = served.next()["pid"]
    served.order(1)
    served.order(2)
    while not os.path.exists(os.path.join(served.folder, "2.stderr")):
        assert served.template.end._process.poll() is None
    served.template.end._process.poll()
    select.select([served.template], [], [], 20)  # it has said something that nobody reads
    served.template.close()
    assert gone(pid)


def test_all_files_of_the_room_are_sent():
    names = {name[: -len(".py")] for name in os.listdir(os.path.dirname(loader.__file__)) if name.endswith(".py")}
    assert names - {"__init__"} == {*loader.PARTS, "loader", "capture"}


def test_a_module_finds_nothing_of_what_serves_it(served, tmp_path):
    path = str(tmp_path / "found")
    served.order(0, "import sys; open('%s', 'w').write(' '.join(sys.modules))" % path)
    assert sorted(served.next())[-1] == "pid"
    assert served.next()["status"] == 0
    with open(path, encoding="ascii") as stream:
        found = stream.read().split()
    assert "json" in found
    assert not [name for name in found if name.startswith(("ansible_collections", "background"))]
