# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools, with real supervisors, files, locks and events."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import pools
from ansible_collections.background.jobs.plugins.module_utils._system import files, inotify, processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

from ..conftest import Batch, ask, gone, named, until, wait_for_supervisor
from .test_supervisor import states

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


def sized(size, name="p"):
    """Return what a plan says of its pool."""
    return {"pools": {name: size}}


class Counting:
    """Jobs that note in a folder how many of them run, and run until a file is there."""

    def __init__(self, tmp_path):
        self.folder = tmp_path / "counting"
        self.folder.mkdir()

    def program(self, name):
        return (
            "import time\n"
            "folder = %r\n"
            "open(folder + '/runs.%s', 'w').close()\n"
            "while not os.path.exists(folder + '/go.%s') and not os.path.exists(folder + '/go'): time.sleep(0.01)\n"
            "result['seen'] = len([name for name in os.listdir(folder) if name.startswith('runs.')])\n"
            "os.remove(folder + '/runs.%s')\n"
        ) % (str(self.folder), name, name, name)

    @property
    def running(self):
        return sorted(path.name.partition(".")[2] for path in self.folder.iterdir() if path.name.startswith("runs."))

    def let_go(self, *names):
        for name in names or ("",):
            (self.folder / ("go.%s" % name if name else "go")).touch()


@pytest.fixture
def counting(tmp_path):
    jobs = Counting(tmp_path)
    yield jobs
    jobs.let_go()


def folder_of(batch, name="p"):
    return os.path.join(batch.async_dir, ".background_jobs", "pools", processes.machine_key(), name)


def stand_in_line(batch, count):
    """Wait until so many jobs of a batch say that they wait for a place."""
    return until(lambda: sum(bool(job.get("in_line")) for job in batch.serve("list")) == count)


def test_no_more_than_the_places_of_a_pool_run_over_several_batches(batch, counting):
    programs = [[counting.program("%d.%d" % (one, job)) for job in range(4)] for one in range(3)]
    batches = [batch(some, pool="p", plan=sized(2)) for some in programs]
    assert until(lambda: counting.running == ["0.0", "0.1"])
    counting.let_go()
    seen = [result["seen"] for one in batches for result in one.results()]
    assert len(seen) == 12
    assert max(seen) == 2
    for one in batches:
        wait_for_supervisor(one)
    assert not os.path.exists(os.path.join(batches[0].async_dir, ".background_jobs", "pools"))


def test_places_are_given_in_the_order_of_arrival_over_several_batches(batch, counting):
    first = batch([counting.program("a0"), counting.program("a1")], pool="p", plan=sized(1))
    assert until(lambda: counting.running == ["a0"])
    second = batch([counting.program("b0")], pool="p", plan=sized(1))
    assert stand_in_line(second, 1)
    third = batch([counting.program("c0")], pool="p", plan=sized(1))
    assert stand_in_line(third, 1)
    for done, following in (("a0", "a1"), ("a1", "b0"), ("b0", "c0")):
        counting.let_go(done)
        assert until(lambda following=following: counting.running == [following])
    counting.let_go()
    assert {states(one.wait())[0] for one in (first, second, third)} == {"succeeded"}


def test_who_comes_later_does_not_overtake_one_that_is_slow(batch, counting):
    first = batch([counting.program("a")], pool="p", plan=sized(1))
    second = batch([counting.program("b")], pool="p", plan=sized(1))
    assert stand_in_line(second, 1)
    third = batch([counting.program("c")], pool="p", plan=sized(1))
    assert stand_in_line(third, 1)
    os.kill(second.reply["pid"], signal.SIGSTOP)
    counting.let_go("a")
    wait_for_supervisor(first)
    assert states(third.wait(block=1.0)) == ["queued"]
    os.kill(second.reply["pid"], signal.SIGCONT)
    assert until(lambda: counting.running == ["b"])
    counting.let_go("b")
    assert until(lambda: counting.running == ["c"])
    counting.let_go()
    assert states(second.wait() + third.wait()) == ["succeeded"] * 2


def test_a_place_that_is_given_back_wakes_those_who_wait(batch, counting):
    first = batch([counting.program("a"), counting.program("other")], pool=["p", None], plan=sized(1))
    second = batch([counting.program("b")], pool="p", plan=sized(1))
    assert stand_in_line(second, 1)
    counting.let_go("a")
    assert until(lambda: counting.running == ["b", "other"]), "the first batch goes on"
    counting.let_go()
    assert states(first.wait() + second.wait()) == ["succeeded"] * 3


def test_a_job_that_waits_for_its_place_says_so(batch, counting):
    one = batch([counting.program("a"), counting.program("b"), "pass"], pool=["p", "p", None], plan=sized(1))
    assert until(lambda: states(one.serve("list")) == ["running", "queued", "succeeded"])
    assert stand_in_line(one, 1)
    runs, waits, other = one.wait(block=0.0)
    assert (waits["pool"], waits["in_line"], waits["msg"]) == ("p", True, "waits for a place in pool p")
    assert (runs["pool"], "in_line" in runs, runs["msg"]) == ("p", False, None)
    assert "pool" not in other
    counting.let_go()
    assert [(job["state"], "in_line" in job, job["msg"]) for job in one.wait()[:2]] == [("succeeded", False, None)] * 2


def test_the_places_of_a_supervisor_that_is_killed_are_free(batch, counting):
    first = batch([counting.program("a0"), counting.program("a1")], pool="p", plan=sized(2))
    assert until(lambda: counting.running == ["a0", "a1"])
    second = batch([counting.program("b0"), counting.program("b1"), counting.program("b2")], pool="p", plan=sized(2))
    assert stand_in_line(second, 3)
    began = time.monotonic()
    os.kill(first.reply["pid"], signal.SIGKILL)
    assert until(lambda: {"b0", "b1"} <= set(counting.running))
    assert time.monotonic() - began < 5
    assert stand_in_line(second, 1)
    assert not os.path.exists(os.path.join(folder_of(second), first.batch_id))
    counting.let_go()
    assert states(second.wait()) == ["succeeded"] * 3


def test_one_that_waits_and_is_killed_holds_up_nobody(batch, counting):
    first = batch([counting.program("a")], pool="p", plan=sized(1))
    assert until(lambda: counting.running == ["a"])
    second = batch([counting.program("b")], pool="p", plan=sized(1))
    assert stand_in_line(second, 1)
    third = batch([counting.program("c")], pool="p", plan=sized(1))
    assert stand_in_line(third, 1)
    os.kill(second.reply["pid"], signal.SIGKILL)
    wait_for_supervisor(second)
    counting.let_go("a")
    assert until(lambda: counting.running == ["c"])
    counting.let_go()
    assert states(first.wait() + third.wait()) == ["succeeded"] * 2


def test_the_size_that_was_given_last_counts(batch, counting):
    first = batch([counting.program("a%d" % n) for n in range(3)], pool="p", plan=sized(1))
    assert until(lambda: counting.running == ["a0"])
    second = batch([counting.program("b0")], pool="p", plan=sized(3))
    assert until(lambda: counting.running == ["a0", "a1", "a2"]), "it counts for those that wait already"
    third = batch([counting.program("c0")], pool="p", plan=sized(2))
    counting.let_go("a0")
    assert until(lambda: counting.running == ["a1", "a2"])
    assert stand_in_line(second, 1) and stand_in_line(third, 1), "what runs beyond the new size goes on"
    counting.let_go("a1")
    assert until(lambda: counting.running == ["a2", "b0"])
    counting.let_go()
    assert states(first.wait() + second.wait() + third.wait()) == ["succeeded"] * 5


def test_a_job_that_waits_can_be_cancelled(batch, counting):
    one = batch([counting.program("a"), counting.program("b"), counting.program("c")], pool="p", plan=sized(1))
    assert stand_in_line(one, 2)
    answers = one.serve("cancel", jids=one.jids()[1:2])
    assert answers[0]["state"] == "cancelled"
    assert json.loads(answers[0]["result"])["msg"] == "cancelled before it started"
    counting.let_go("a")
    assert until(lambda: counting.running == ["c"])
    counting.let_go()
    assert states(one.wait()) == ["succeeded", "cancelled", "succeeded"]


def test_a_place_is_given_back_between_attempts(batch, counting):
    first = batch(["result['failed'] = True"], pool="p", plan=sized(1), retries=1, delay=3600)
    assert until(lambda: first.serve("list")[0].get("failed_attempts"))
    second = batch([counting.program("b")], pool="p", plan=sized(1))
    assert until(lambda: counting.running == ["b"])
    counting.let_go()
    assert states(second.wait()) == ["succeeded"]
    assert "in_line" not in first.serve("list")[0], "it waits for its time, not for a place"


def test_the_time_of_a_job_counts_from_its_place_on(batch, counting):
    first = batch([counting.program("a")], pool="p", plan=sized(1))
    second = batch(["pass"], pool="p", plan=sized(1), timeout=0.5)
    assert stand_in_line(second, 1)
    assert states(second.wait(block=1.0)) == ["queued"]
    counting.let_go()
    assert states(first.wait() + second.wait()) == ["succeeded"] * 2


def test_what_is_held_up_by_its_own_batch_lets_others_pass(batch, counting):
    first = batch([counting.program("a0"), counting.program("a1")], concurrency=1, pool="p", plan=sized(2))
    assert until(lambda: counting.running == ["a0"])
    second = batch([counting.program("b0")], pool="p", plan=sized(2))
    assert until(lambda: counting.running == ["a0", "b0"])
    counting.let_go("a0")
    assert until(lambda: counting.running == ["a1", "b0"])
    counting.let_go()
    assert states(first.wait() + second.wait()) == ["succeeded"] * 3


def test_pools_of_other_names_and_folders_are_others(batch, counting, tmp_path):
    first = batch([counting.program("a"), counting.program("q")], pool=["p", "q"], plan={"pools": {"p": 1, "q": 1}})
    other = Batch(tmp_path / "other", [counting.program("o")], pool="p", plan=sized(1)).launch()
    assert until(lambda: counting.running == ["a", "o", "q"])
    counting.let_go()
    assert states(first.wait() + other.wait()) == ["succeeded"] * 3


def test_a_pool_that_cannot_be_kept_is_told_and_nothing_is_started(batch, tmp_path):
    where = tmp_path / "async" / ".background_jobs"
    where.mkdir(parents=True, mode=0o700)
    os.chmod(str(tmp_path / "async"), 0o700)
    (where / "pools").symlink_to(tmp_path)
    with pytest.raises(launcher.LaunchError) as refused:
        batch(["pass"], pool="p", plan=sized(1))
    assert "the pool p can't be set up" in str(refused.value)
    assert "symbolic link" in str(refused.value)
    assert os.listdir(str(tmp_path / "async")) == [".background_jobs"]


def test_a_supervisor_that_waits_uses_no_processor(batch, counting):
    first = batch([counting.program("a")], pool="p", plan=sized(1))
    second = batch([counting.program("b")], pool="p", plan=sized(1))
    assert stand_in_line(second, 1)

    def switches():
        with open("/proc/%d/status" % second.reply["pid"], encoding="ascii") as stream:
            return [line for line in stream if "ctxt_switches" in line]

    def sleeps():
        before = switches()
        time.sleep(2.0)
        return switches() == before

    # It may still be told of templates that have come up; what looks again and again never sleeps that long.
    assert any(sleeps() for dummy in range(5))
    counting.let_go()
    assert states(first.wait() + second.wait()) == ["succeeded"] * 2


def test_the_pools_that_are_in_use_are_told(batch, counting):
    first = batch([counting.program("a0"), counting.program("a1")], pool="p", plan=sized(1))
    second = batch([counting.program("b%d" % n) for n in range(3)], pool="q", plan=sized(2, "q"))
    assert stand_in_line(first, 1)
    assert stand_in_line(second, 1)
    told = ask(first.async_dir, "list", **named(*first.jids()))["pools"]
    assert told == [
        {"name": "p", "size": 1, "taken": 1, "waiting": 1},
        {"name": "q", "size": 2, "taken": 2, "waiting": 1},
    ]
    counting.let_go()
    for one in (first, second):
        one.wait()
        wait_for_supervisor(one)
    assert ask(first.async_dir, "list", **named(*first.jids()))["pools"] == []


def test_what_a_killed_supervisor_has_left_is_pruned(batch, counting):
    one = batch([counting.program("a")], pool="p", plan=sized(1))
    assert until(lambda: counting.running == ["a"])
    everything = dict.fromkeys(("names", "batch_ids", "states", "older_than", "newer_than"))
    request = {"jobs": [], "leftovers": dict(everything, core=False)}
    assert ask(one.async_dir, "prune", remove=True, **request)["leftovers"] == [], "it lives"
    os.kill(one.reply["pid"], signal.SIGKILL)
    wait_for_supervisor(one)
    left = os.path.join(folder_of(one), one.batch_id)
    assert left in ask(one.async_dir, "prune", remove=False, **request)["leftovers"]
    assert os.path.exists(left)
    assert left in ask(one.async_dir, "prune", remove=True, **request)["leftovers"]
    assert not os.path.exists(os.path.join(one.async_dir, ".background_jobs", "pools"))


@pytest.fixture
def pool(tmp_path):
    return pools.Pool(files.Folder(str(tmp_path)), "p", make=True)


def test_who_has_a_pool_alone_keeps_others_out(pool, tmp_path):
    other = pools.Pool(files.Folder(str(tmp_path)), "p", make=True)
    with pool.alone(), pytest.raises(pools.Busy), other.alone():
        pass
    with other.alone():
        pass


def test_what_no_honest_supervisor_has_written_takes_no_place(pool):
    fds = []
    with pool.alone():
        for number, text in enumerate(("", "[]", '{"held": -1, "waiting": 3}', '{"held": "many", "waiting": [[1]]}')):
            batch_id = "b%015d" % number
            fd = pool.folder.opener(batch_id, os.O_RDWR | os.O_CREAT)
            os.write(fd, text.encode("ascii"))
            fds.append(fd)
        pool.is_used_by = lambda batch_id: True
        assert [member[1:] for member in pool.members()] == [(0, [])] * 4
    for fd in fds:
        os.close(fd)


def test_a_pool_that_was_removed_meanwhile_is_made_anew(pool, tmp_path):
    other = pools.Pool(files.Folder(str(tmp_path)), "p", make=True)
    with pool.alone():
        fd = pool.join("b%015d" % 1)
        os.close(fd)
        pool.leave("b%015d" % 1)
    assert not os.path.exists(str(tmp_path / "pools"))
    with other.alone():
        assert other.folder.look("lock") is not None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", ".hidden", "a" * 65, "a\n", "ä", None, 3])
def test_no_name_leads_elsewhere(name, tmp_path):
    assert not pools.is_name(name)
    with pytest.raises(pools.NoPool):
        pools.Pool(files.Folder(str(tmp_path)), name, make=True)
    assert not list(tmp_path.iterdir())


def test_a_bell_is_heard_and_the_own_one_told_apart(tmp_path):
    watcher = inotify.Watcher()
    watcher.add_bells(str(tmp_path))
    if watcher.is_blind:
        pytest.skip("this host has no inotify")
    with open(str(tmp_path / "one"), "w") as stream:
        stream.write("x")
        stream.flush()
        assert watcher.take() == set(), "what is written is told when it is rung"
        inotify.ring(stream.fileno())
        assert watcher.take() == {"one"}
    assert watcher.take() == {"one"}, "it was closed"
    watcher.close()


def test_the_end_of_a_process_is_told_after_its_lock_is_free(pool, tmp_path):
    pid = os.fork()
    ready = tmp_path / "ready"
    if pid == 0:
        pool.join("b%015d" % 7)
        ready.touch()
        signal.pause()
    assert until(ready.exists)
    watcher = inotify.Watcher()
    watcher.add_bells(pool.folder.path)
    assert pool.is_used_by("b%015d" % 7)
    watcher.take()
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while "b%015d" % 7 not in watcher.take() and time.monotonic() < deadline:
        pass
    assert not pool.is_used_by("b%015d" % 7)
    os.waitpid(pid, 0)
    assert gone(pid)
