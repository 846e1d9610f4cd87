# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import select
import threading

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_writer, packing, results
from ansible_collections.background.jobs.plugins.module_utils._supervisor import module_call, outbox, recorder
from ansible_collections.background.jobs.plugins.module_utils._supervisor.supervisor import Supervisor
from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

from ..conftest import Batch

PATIENCE = 30


class Journal:
    """Stands for the BatchWriter."""

    def __init__(self):
        self.lines, self.rounds, self.takes, self.is_hopeless = [], [], True, False
        self.gate = threading.Event()
        self.gate.set()

    def note(self, durable=False, **entry):
        self.lines.append((entry["job"], entry["state"], durable))

    def note_batch(self, **entry):
        self.lines.append(entry)

    def flush(self):
        assert self.gate.wait(PATIENCE)
        self.rounds.append(len(self.lines))
        return self.takes


class Results:
    """Stands for the Outbox."""

    def __init__(self, before=lambda end: None):
        self.before = before

    def write(self, end):
        self.before(end)
        return {"durable": True, "job": end.index, "state": end.state, "at": end.at}


class Recorded:
    """A Recorder with stand-ins, whose clock stands still."""

    def __init__(self, written=None):
        self.journal, self.now = Journal(), 100.0
        self.recorder = recorder.Recorder(self.journal, written or Results(), lambda: self.now)
        self.recorder.start()

    def end(self, index, size=0):
        self.recorder.end(outbox.End(index, "succeeded", results.of({"msg": "x" * size}), 1.0))

    def wait(self):
        assert select.select([self.recorder], [], [], PATIENCE)[0]
        self.recorder.read()

    def close(self):
        self.journal.gate.set()
        self.recorder.close()


@pytest.fixture
def make():
    made = []

    def one(*positional):
        made.append(Recorded(*positional))
        return made[-1]

    yield one
    for each in made:
        each.close()


def test_all_is_written_in_the_order_in_which_it_was_noted(make):
    one = make()
    one.recorder.note(job=0, state="running", at=1.0, attempt=1)
    for index in range(6):
        one.end(index)
    one.recorder.note(concurrency=2, at=1.0)
    one.recorder.begin()
    one.wait()
    ends = [(index, "succeeded", True) for index in range(6)]
    assert one.journal.lines == [(0, "running", False), *ends, {"concurrency": 2, "at": 1.0}]
    assert one.recorder.is_done


def test_what_is_noted_while_something_is_written_comes_next_and_together(make):
    one = make()
    one.journal.gate.clear()
    one.end(0)
    one.recorder.begin()
    for index in (1, 2):
        one.end(index)
        one.recorder.begin()
    assert not one.recorder.is_done
    one.journal.gate.set()
    one.wait()
    assert not one.recorder.is_done
    one.recorder.begin()
    one.wait()
    assert one.journal.rounds == [1, 3]
    assert one.recorder.is_done


def test_many_results_are_written_side_by_side(make):
    side_by_side = threading.Barrier(8, timeout=PATIENCE)
    one = make(Results(lambda end: side_by_side.wait()))
    for index in range(16):
        one.end(index)
    one.recorder.begin()
    one.wait()
    assert [line[0] for line in one.journal.lines] == list(range(16))


@pytest.mark.parametrize(("large", "small", "helpers"), [(8, 0, 0), (8, 2, 0), (8, 3, 2), (0, 3, 2)])
def test_large_results_are_written_one_by_one(make, monkeypatch, large, small, helpers):
    start, started = threading.Thread.start, []

    def counted(thread):
        started.append(thread)
        start(thread)

    one = make()
    monkeypatch.setattr(threading.Thread, "start", counted)
    for index in range(large + small):
        one.end(index, size=1 << 20 if index < large else 0)
    one.recorder.begin()
    one.wait()
    assert [line[0] for line in one.journal.lines] == list(range(large + small))
    assert len(started) == helpers


def test_what_the_disk_does_not_take_is_tried_again_a_second_later(make):
    one = make()
    one.journal.takes = False
    one.end(0)
    one.recorder.begin()
    one.wait()
    assert one.recorder.next_due() == 101.0
    one.end(1)
    one.recorder.begin()
    assert not one.recorder.is_done
    one.now, one.journal.takes = 101.0, True
    one.recorder.begin()
    one.wait()
    assert one.journal.rounds == [1, 2]
    assert one.recorder.is_done and one.recorder.next_due() is None


def test_what_the_disk_did_not_take_at_first_is_tried_again_too(make):
    one = make()
    one.journal.takes = False
    one.end(0)
    one.recorder.write()
    assert not one.recorder.is_done
    one.now, one.journal.takes = 101.0, True
    one.recorder.begin()
    one.wait()
    assert one.recorder.is_done


def test_a_disk_that_never_takes_it_is_not_waited_for(make):
    one = make()
    one.journal.takes, one.journal.is_hopeless = False, True
    one.end(0)
    one.recorder.begin()
    one.wait()
    assert one.recorder.is_done


@pytest.mark.parametrize("count", [1, 8])
def test_a_defect_is_raised_where_the_supervisor_sees_it(make, count):
    one = make(Results(lambda end: [][end.index]))
    for index in range(count):
        one.end(index)
    one.recorder.begin()
    with pytest.raises(IndexError, match="list index"):
        one.wait()


@pytest.mark.parametrize("possible", [0, 1, 3])
def test_where_no_more_threads_are_possible_all_is_written_too(make, monkeypatch, possible):
    start, started = threading.Thread.start, []

    def limited(thread):
        if len(started) == possible:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    one = make()
    one.journal.takes = False
    for index in range(16):
        one.end(index)
    one.recorder.begin()
    if possible:
        one.wait()
    assert [line[0] for line in one.journal.lines] == list(range(16))
    assert one.recorder.next_due() == 101.0
    one.now, one.journal.takes = 101.0, True
    one.recorder.begin()
    if possible:
        one.wait()
    assert one.recorder.is_done


class WaitsForTheNext(batch_writer.BatchWriter):
    """Takes as long for the first result as it takes the third job to start."""

    started = None

    def write_result(self, index, *positional, **settings):
        if index == 0:
            assert select.select([self.started], [], [], PATIENCE)[0], "the third job did not start meanwhile"
        return super().write_result(index, *positional, **settings)


def test_jobs_start_while_results_are_written(tmp_path):
    os.mkfifo(tmp_path / "started")
    programs = ["pass", "pass", "open(%r, 'w').write('x')" % str(tmp_path / "started")]
    planned = Batch(tmp_path / "async", programs, concurrency=1)
    os.mkdir(planned.async_dir, 0o700)
    writer = WaitsForTheNext(planned.async_dir, planned.batch_id)
    writer.started = os.open(tmp_path / "started", os.O_RDONLY | os.O_NONBLOCK)
    plan = packing.unpack(packing.pack(planned.plan))
    supervisor = Supervisor(plan, writer, launcher._sources(), module_call.Clock(), dict(os.environ))
    try:
        supervisor.record()
        supervisor.run()
    finally:
        os.close(writer.started)
    assert [answer["state"] for answer in planned.wait()] == ["succeeded"] * 3
