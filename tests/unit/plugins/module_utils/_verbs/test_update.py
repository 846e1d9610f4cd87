# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Batches and pools that are changed while they are in use, with real supervisors."""

from __future__ import annotations

import json
import os
import signal

import pytest

from .._supervisor.test_pools import Counting, sized
from .._supervisor.test_supervisor import states
from ..conftest import ask, named, until

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


@pytest.fixture
def counting(tmp_path):
    jobs = Counting(tmp_path)
    yield jobs
    jobs.let_go()


def update(batch, check=False, jids=None, block=5.0, **more):
    asked = named(*(batch.jids()[:1] if jids is None else jids))
    return ask(batch.async_dir, "update", check=check, block=block, **dict(asked, **more))


def outcomes(reply):
    return [(one["before"], one.get("concurrency", one.get("size")), one["outcome"]) for one in reply["batches"]]


def test_more_run_at_once_from_now_on(batch, counting):
    one = batch([counting.program("%d" % n) for n in range(4)], concurrency=1)
    assert until(lambda: counting.running == ["0"])
    assert outcomes(update(one, check=True, concurrency=3)) == [(1, 1, "updated")]
    assert outcomes(update(one, concurrency=3)) == [(1, 3, "updated")]
    assert until(lambda: counting.running == ["0", "1", "2"])
    assert outcomes(update(one, concurrency=3)) == [(3, 3, "unchanged")]
    assert outcomes(update(one, concurrency=0, jids=one.jids())) == [(3, 0, "updated")], "a batch is changed once"
    assert until(lambda: len(counting.running) == 4)
    counting.let_go()
    assert states(one.wait()) == ["succeeded"] * 4
    assert outcomes(update(one, concurrency=2)) == [(0, 0, "ended")]


def test_where_fewer_are_to_run_what_runs_goes_on(batch, counting):
    one = batch([counting.program("%d" % n) for n in range(4)], concurrency=2)
    assert until(lambda: counting.running == ["0", "1"])
    assert outcomes(update(one, concurrency=1)) == [(2, 1, "updated")]
    counting.let_go("0")
    assert until(lambda: states(one.serve("list"))[0] == "succeeded")
    assert counting.running == ["1"]
    counting.let_go("1")
    assert until(lambda: counting.running == ["2"])
    counting.let_go()
    assert states(one.wait()) == ["succeeded"] * 4


def test_a_supervisor_that_is_stopped_has_not_heard(batch, counting):
    one = batch([counting.program("a")], concurrency=1)
    os.kill(one.reply["pid"], signal.SIGSTOP)
    reply = update(one, block=0.2, concurrency=2)
    assert outcomes(reply) == [(1, 1, "unheard")]
    assert reply["batches"][0]["supervisor"] == one.reply["pid"]
    os.kill(one.reply["pid"], signal.SIGCONT)
    assert until(lambda: outcomes(update(one, check=True, concurrency=2)) == [(2, 2, "unchanged")])
    counting.let_go()
    assert states(one.wait()) == ["succeeded"]


def test_a_batch_of_before_tells_no_number(batch, counting):
    one = batch([counting.program("a")], concurrency=1)
    with open(one.path("batch.json"), encoding="ascii") as stream:
        header = json.load(stream)
    del header["concurrency"]
    with open(one.path("batch.json"), "w", encoding="ascii") as stream:
        json.dump(header, stream)
    assert outcomes(update(one, check=True, concurrency=1)) == [(None, None, "updated")]
    counting.let_go()
    assert states(one.wait()) == ["succeeded"]


def test_a_pool_that_is_in_use_gets_another_size(batch, counting):
    one = batch([counting.program("%d" % n) for n in range(3)], pool="p", plan=sized(1))
    assert until(lambda: counting.running == ["0"])
    resize = {"jids": (), "pools": {"p": 2}}
    expected = [{"name": "p", "before": 1, "size": 2, "outcome": "updated"}]
    assert update(one, check=True, **resize)["pools"] == expected
    assert counting.running == ["0"]
    assert update(one, **resize)["pools"] == expected
    assert until(lambda: counting.running == ["0", "1"])
    assert update(one, **resize)["pools"] == [dict(expected[0], before=2, outcome="unchanged")]
    counting.let_go()
    assert states(one.wait()) == ["succeeded"] * 3


def test_a_pool_that_nobody_uses_is_left_alone(batch):
    one = batch(["pass"])
    one.wait()
    told = update(one, jids=(), pools={"p": 2})["pools"]
    assert told == [{"name": "p", "before": None, "size": 2, "outcome": "ended"}]
    assert not os.path.exists(os.path.join(one.async_dir, ".background_jobs", "pools"))
