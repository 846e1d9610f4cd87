# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random sequences of what can happen to jobs, on real processes, against a model of their states.

The same sequences each time; with FAULTS=full, as `make soak` sets it, more and new ones. A sequence that fails is
printed as the program that repeats it.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import signal
import tempfile
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ansible_collections.background.jobs.plugins.module_utils._protocol import records, states
from ansible_collections.background.jobs.plugins.module_utils._system import inotify, processes

from .conftest import Batch, ask, gone, servants

FULL = os.environ.get("FAULTS") == "full"
PATIENCE = 60  # seconds for anything that is awaited; it takes milliseconds

# What a job does when it is told: it waits for a line in its FIFO.
PROGRAM = """
command = open({!r}).readline()
if command == "fail\\n":
    result.update(failed=True, msg="as told")
elif command == "die\\n":
    os._exit(3)
"""


class Hangs(BaseException):
    """Something that was awaited has not come."""


def _late(number, frame):
    raise Hangs


class Modelled:
    """A batch, and what the states of its jobs have to be.

    size jobs, at most `concurrency` (0: all) at a time; where it is a `chain`, all others depend on the first.
    """

    def __init__(self, folder, size, concurrency, chain):
        self.fifos = [os.path.join(folder, "%d.%d" % (time.monotonic_ns(), index)) for index in range(size)]
        for path in self.fifos:
            os.mkfifo(path)
        depends_on = [[0] if chain and index else [] for index in range(size)]
        programs = [PROGRAM.format(path) for path in self.fifos]
        self.batch = Batch(os.path.join(folder, "async"), programs, concurrency, depends_on=depends_on)
        self.jids = self.batch.jids()
        self.size, self.chain = size, chain
        self._slots = concurrency or size
        self.states = [states.QUEUED] * size
        self._ready = collections.deque([0] if chain else range(size))
        self.forgotten = set()
        self._commands = {}  # index: what its commands are written to, of jobs that were seen to run
        self.pids = {}
        self.batch.launch()
        self.supervisor = self.batch.reply["pid"]
        self._fill()

    # the model

    def _fill(self):
        """Start what can start."""
        while self._ready and self.states.count(states.RUNNING) < self._slots:
            self.states[self._ready.popleft()] = states.RUNNING

    def end(self, index, state):
        """A job ends, and with that what depends on it can start, or never will."""
        self._settle(index, state)
        self._fill()

    def _settle(self, index, state):
        self.states[index] = state
        if index in self._ready:
            self._ready.remove(index)
        if self.chain and index == 0:
            waiting = [other for other in range(1, self.size) if self.states[other] == states.QUEUED]
            if state == states.SUCCEEDED:
                self._ready.extend(waiting)
            else:
                for other in waiting:
                    self.states[other] = states.SKIPPED

    def cancel(self, indexes):
        for index in indexes:
            if self.states[index] == states.QUEUED:
                self._settle(index, states.CANCELLED)
        for index in indexes:
            if self.states[index] == states.RUNNING:
                self._settle(index, states.CANCELLED)
        self._fill()

    def lose(self):
        """Its supervisor is gone."""
        for index in self.unfinished:
            self.states[index] = states.LOST
        self._ready.clear()

    def lose_running(self):
        """The template of what runs is gone."""
        for index in self.running:
            self._settle(index, states.LOST)
        self._fill()

    @property
    def unfinished(self):
        return [index for index, state in enumerate(self.states) if state not in states.TERMINAL]

    @property
    def running(self):
        return [index for index, state in enumerate(self.states) if state == states.RUNNING]

    # the real thing

    def meet(self):
        """Wait until all that has to run does, as it shows by opening its FIFO."""
        for index in self.running:
            if index not in self._commands:
                self._commands[index] = os.open(self.fifos[index], os.O_WRONLY)
        if any(index not in self.pids for index in self.running):
            self._read_pids()

    def _read_pids(self):
        reader = records.BatchReader(self.batch.async_dir, self.batch.batch_id)
        watcher = inotify.Watcher()
        watcher.add(self.batch.path("journal"))
        try:
            reader.refresh()
            while not all(reader.jobs[index].get("pid") for index in self.running):
                watcher.wait(1.0)
                reader.refresh()
        finally:
            watcher.close()
        self.pids.update((index, reader.jobs[index]["pid"]) for index in self.running)

    def tell(self, index, command):
        os.write(self._commands[index], command + b"\n")

    def await_ends(self, indexes):
        answers = self.batch.wait(jids=[self.jids[index] for index in indexes], block=float(PATIENCE))
        assert all(answer["finished"] for answer in answers), "a wait is answered"

    def family(self):
        """Return the supervisor's templates and jobs, as {pid: Process}."""
        found = processes.look(self.supervisor)
        tree = processes.Snapshot().tree({found.pid: found.start})
        del tree[found.pid]
        return tree

    def templates(self):
        return [process.pid for process in servants(self.supervisor)]

    def close(self):
        for fd in self._commands.values():
            os.close(fd)
        self._commands = {}


class Jobs(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = tempfile.mkdtemp(prefix="background_jobs_properties_")
        self.before = signal.signal(signal.SIGALRM, _late)
        self.batches = []
        self.ended = {}  # jid: the final state that was seen first

    def some(self, data, condition=lambda one: True):
        return data.draw(st.sampled_from([one for one in self.batches if condition(one)]))

    def subset(self, data, batch):
        present = [index for index in range(batch.size) if index not in batch.forgotten]
        return sorted(data.draw(st.sets(st.sampled_from(present), min_size=1))) if present else []

    @rule(size=st.integers(1, 4), concurrency=st.integers(0, 2), chain=st.booleans())
    @precondition(lambda self: len(self.batches) < 3)
    def launch(self, size, concurrency, chain):
        signal.alarm(PATIENCE)
        self.batches.append(Modelled(self.folder, size, concurrency, chain))
        self.batches[-1].meet()

    def has_running(self):
        return any(batch.running for batch in self.batches)

    @rule(
        data=st.data(),
        how=st.sampled_from([(b"end", "succeeded"), (b"fail", "failed"), (b"die", "failed"), ("kill", "failed")]),
    )
    @precondition(has_running)
    def end(self, data, how):
        """A job ends, fails, goes without a result, or is killed."""
        batch = self.some(data, lambda one: one.running)
        index = data.draw(st.sampled_from(batch.running))
        command, state = how
        if command == "kill":
            os.kill(batch.pids[index], signal.SIGKILL)
        else:
            batch.tell(index, command)
        batch.await_ends([index])
        batch.end(index, state)

    @rule(data=st.data())
    @precondition(has_running)
    def kill_a_template(self, data):
        batch = self.some(data, lambda one: one.running)
        running = batch.running
        for pid in batch.templates():
            os.kill(pid, signal.SIGKILL)
        batch.await_ends(running)
        batch.lose_running()

    @rule(data=st.data())
    @precondition(lambda self: any(batch.unfinished for batch in self.batches))
    def kill_a_supervisor(self, data):
        batch = self.some(data, lambda one: one.unfinished)
        family = batch.family()
        os.kill(batch.supervisor, signal.SIGKILL)
        assert gone(batch.supervisor)
        assert all(gone(pid) for pid in family), "nothing runs on"
        batch.lose()

    @rule()
    @precondition(lambda self: any(batch.unfinished for batch in self.batches))
    def restart(self):
        """The host restarts: all of its processes go, and it knows itself by another start."""
        for batch in self.batches:
            if batch.unfinished:
                family = batch.family()
                for pid in (batch.supervisor, *family):
                    os.kill(pid, signal.SIGSTOP)  # so that none sees another go
                for pid in (batch.supervisor, *family):
                    os.kill(pid, signal.SIGKILL)
                assert all(gone(pid) for pid in (batch.supervisor, *family))
            path = batch.batch.path("batch.json")
            if os.path.exists(path):
                with open(path) as stream:
                    header = json.load(stream)
                header["supervisor"]["init_start"] += 1
                with open(path, "w") as stream:
                    json.dump(header, stream)
            batch.lose()

    @rule(data=st.data())
    @precondition(lambda self: self.batches)
    def cancel(self, data):
        batch = self.some(data)
        indexes = self.subset(data, batch)
        if not indexes:
            return
        jids = [batch.jids[index] for index in indexes]
        answers = batch.batch.serve("cancel", jids=jids, grace=float(PATIENCE), block=float(PATIENCE))
        asked = [index for index, answer in zip(indexes, answers) if answer.get("asked")]
        assert asked == [index for index in indexes if index in batch.unfinished], "what has ended is not asked again"
        assert all(answer["finished"] for answer in answers)
        batch.cancel(indexes)

    @rule(data=st.data(), mode=st.sampled_from(["all", "any"]))
    @precondition(lambda self: self.batches)
    def wait(self, data, mode):
        """A wait is answered at once where it can be, and has no news where it cannot."""
        batch = self.some(data)
        indexes = self.subset(data, batch)
        if not indexes:
            return
        finished = [batch.states[index] in states.TERMINAL for index in indexes]
        done = all(finished) if mode == "all" else any(finished)
        answers = batch.batch.wait(
            jids=[batch.jids[index] for index in indexes], mode=mode, block=float(PATIENCE) if done else 0.0
        )
        assert [answer["finished"] for answer in answers] == finished
        assert ["result" in answer for answer in answers if answer["state"] in ("succeeded", "failed")] == [
            True for index in indexes if batch.states[index] in ("succeeded", "failed")
        ]

    @rule(data=st.data())
    @precondition(lambda self: self.batches)
    def prune(self, data):
        batch = self.some(data)
        indexes = self.subset(data, batch)
        if not indexes:
            return
        answers = batch.batch.serve("forget", jids=[batch.jids[index] for index in indexes])
        for index, answer in zip(indexes, answers):
            assert answer["forgotten"] is (batch.states[index] in states.TERMINAL), "what runs is not pruned"
            if answer["forgotten"]:
                batch.forgotten.add(index)

    @rule(remove=st.booleans())
    @precondition(lambda self: self.batches)
    def look_for_leftovers(self, remove):
        nothing = dict.fromkeys(("names", "batch_ids", "states", "older_than", "newer_than"), None)
        fitting = dict(nothing, core=True)
        ask(self.batches[0].batch.async_dir, "prune", remove=remove, leftovers=fitting, jobs=[])

    @invariant()
    def all_is_as_it_has_to_be(self):
        if not getattr(self, "batches", None):
            return
        signal.alarm(PATIENCE)
        for batch in self.batches:
            batch.meet()
        self.compare_what_is_told()
        for batch in self.batches:
            self.compare_records(batch)
        signal.alarm(PATIENCE)

    def compare_what_is_told(self):
        nothing = dict.fromkeys(("names", "batch_ids", "states", "older_than", "newer_than"), None)
        reply = ask(self.batches[0].batch.async_dir, "list", select=dict(nothing, core=True))
        expected = {
            batch.jids[index]: batch.states[index]
            for batch in self.batches
            for index in range(batch.size)
            if index not in batch.forgotten
        }
        assert {answer["jid"]: answer["state"] for answer in reply["jobs"]} == expected
        assert reply["troubles"] == []
        for jid, state in expected.items():
            if state in states.TERMINAL:
                assert self.ended.setdefault(jid, state) == state, "a final state stays"

    def compare_records(self, batch):
        for index, pid in batch.pids.items():
            process = processes.look(pid)
            lives = process is not None and process.state not in "ZX"
            if batch.states[index] == states.RUNNING:
                assert lives, "what is said to run does"
            else:
                assert not lives or gone(pid), "what has ended does not run"
        for index, jid in enumerate(batch.jids):
            path = os.path.join(batch.batch.async_dir, jid)
            assert os.path.exists(path) is (index not in batch.forgotten)
            if index not in batch.forgotten:
                with open(path) as stream:
                    unfinished = "started" in json.load(stream)  # as core's async_status reads it
                assert unfinished is (index in batch.unfinished)
        if len(batch.forgotten) == batch.size:
            assert not os.path.exists(batch.batch.path())
            return
        with open(batch.batch.path("journal")) as stream:
            lines = [json.loads(line) for line in stream if line.strip()]
        final = collections.Counter(line["job"] for line in lines if line["state"] in states.TERMINAL)
        assert final == collections.Counter(index for index in range(batch.size) if index not in batch.unfinished)

    def teardown(self):
        if not hasattr(self, "folder"):
            return
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)
        for batch in self.batches:
            batch.close()
            process = processes.look(batch.supervisor)
            if process is not None and batch.unfinished:
                family = batch.family()
                # alone and first, so that it starts nobody else; its templates then end what they have started
                processes.send(process, signal.SIGKILL)
                for pid in (batch.supervisor, *family):
                    gone(pid)
        shutil.rmtree(self.folder, ignore_errors=True)


Jobs.TestCase.settings = settings(
    max_examples=300 if FULL else 25,
    stateful_step_count=25 if FULL else 12,
    derandomize=not FULL,
    print_blob=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestJobs = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")(Jobs.TestCase)
