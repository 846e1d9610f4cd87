# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An async directory that several machines share, and clocks that are set: what is concluded, and what is not."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_writer,
    ids,
    records,
    results,
)
from ansible_collections.background.jobs.plugins.module_utils._system import processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

from ..conftest import Batch, ask, named

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

BATCH = "b123456789012345"
JIDS = [ids.jid_of(BATCH, index) for index in range(3)]
DEAD = 1 << 22
DAY = 86400.0


def of_another(**changes):
    """The identity of a supervisor on another machine."""
    identity = processes.identity(os.getpid())
    machine = dict(identity["machine"], name="far")
    return dict(identity, pid=DEAD, boot_id="another", init_start=7, machine=machine, **changes)


class Place:
    """Jobs that run, wait, and have ended, of a supervisor with some identity."""

    def __init__(self, tmp_path):
        self.path = str(tmp_path / "async")
        os.mkdir(self.path, 0o700)

    def record(self, supervisor, launched_at=1.0, states=("running", "queued", "succeeded")):
        self.writer = batch_writer.BatchWriter(self.path, BATCH)
        names = [{"name": "job %d" % index} for index in range(len(states))]
        header = {"batch_id": BATCH, "launched_at": launched_at, "supervisor": supervisor, "jobs": names}
        self.writer.create(header, JIDS[: len(states)])
        os.mkdir(self.writer.path + "/staged", 0o700)
        for index, state in enumerate(states):
            if state != "queued":
                self.writer.note(job=index, state="running", at=launched_at, attempt=1)
            if state in ("succeeded", "lost"):
                self.writer.write_result(index, results.of({"failed": state == "lost"}), state=state)
                self.writer.note(job=index, state=state, at=launched_at)
        self.writer.flush()

    def ask(self, op, **more):
        brief = {"wait": {"block": 0.0}, "cancel": {"block": 0.0, "grace": 0.1}}
        return ask(self.path, op, **dict(brief.get(op, {}), **more))

    def files(self):
        return sorted(os.listdir(self.path)), sorted(os.listdir(self.writer.path))


def select(**changes):
    every = dict.fromkeys(("names", "batch_ids", "states", "older_than", "newer_than"))
    return dict(every, core=True, **changes)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_nothing_is_concluded_of_a_batch_of_another_machine(place):
    place.record(of_another())
    before = place.files()
    for op in ("list", "wait"):
        jobs = place.ask(op, **named(*JIDS))["jobs"]
        assert [job["state"] for job in jobs] == ["running", "queued", "succeeded"]
        assert all("another machine, far," in job["msg"] and place.writer.path in job["msg"] for job in jobs[:2])
        assert jobs[2]["msg"] is None
    reply = place.ask("prune", remove=False, select=select(), leftovers=select())
    assert [job["state"] for job in reply["jobs"]] == ["running", "queued", "succeeded"]
    assert reply["leftovers"] == []
    place.ask("prune", remove=True, leftovers=select(), **named(*JIDS[:2]))
    assert place.files() == before


def test_what_has_ended_on_another_machine_can_be_forgotten_but_what_may_have_left_processes_cannot(place):
    place.record(of_another(), states=("succeeded", "lost"))
    reply = place.ask("forget", **named(*JIDS[:2]))
    assert [job["forgotten"] for job in reply["jobs"]] == [True, False]
    assert "some of its processes may still run on far" in reply["troubles"][0]


def test_there_may_be_more_batches_than_a_process_may_open_files(place):
    dead, count = dict(processes.identity(os.getpid()), pid=DEAD), 200
    jids = []
    for number in range(count):
        writer = batch_writer.BatchWriter(place.path, "b%015d" % number)
        jids.append(ids.jid_of(writer.batch_id, 0))
        writer.create({"launched_at": 1.0, "supervisor": dead, "jobs": [{"name": "job"}]}, jids[-1:])
        writer.write_result(0, results.of({"rc": 0}))
        writer.note(job=0, state="succeeded", at=1.0)
        writer.flush()
        writer.close()
        os.close(writer._journal)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, limits[1]))
    try:
        for asked in ({"select": select()}, named(*jids)):
            reply = place.ask("list", tail=1, **asked)
            assert ([job["state"] for job in reply["jobs"]], reply["troubles"]) == (["succeeded"] * count, [])
        reply = place.ask("prune", remove=True, leftovers=select(), **named(*jids))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert all(job["forgotten"] for job in reply["jobs"])
    assert os.listdir(os.path.join(place.path, ".background_jobs")) == ["lock"]


def test_a_job_of_another_machine_is_not_said_to_be_cancelled(place):
    place.record(of_another())
    jobs = place.ask("cancel", **named(*JIDS))["jobs"]
    assert [job.get("error") for job in jobs] == ["elsewhere", "elsewhere", None]
    assert "job 0" in jobs[0]["msg"] and "only there" in jobs[0]["msg"]


@pytest.mark.parametrize("changes", [{"boot_id": "before"}, {"init_start": 7}])
def test_a_restart_of_the_same_machine_is_known_for_one(place, changes):
    place.record(dict(processes.identity(os.getpid()), pid=DEAD, **changes))
    jobs = place.ask("list", **named(*JIDS))["jobs"]
    assert [job["state"] for job in jobs] == ["lost", "lost", "succeeded"]
    assert "the host restarted" in jobs[0]["msg"]


def test_a_machine_that_got_another_name_knows_its_living_supervisor(place):
    identity = processes.identity(os.getpid())
    place.record(dict(identity, machine=dict(identity["machine"], name="before")))
    jobs = place.ask("list", **named(*JIDS))["jobs"]
    assert [job["state"] for job in jobs] == ["running", "queued", "succeeded"]
    assert jobs[0]["msg"] is None


def test_records_from_before_machines_were_named_are_of_this_one(place):
    identity = of_another()
    del identity["machine"]
    place.record(identity)
    assert place.ask("list", **named(*JIDS))["jobs"][0]["state"] == "lost"


@pytest.mark.parametrize(
    ("changes", "is_of"), [({}, True), ({"pid_namespace": None}, True), ({"pid_namespace": "pid:[7]"}, False)]
)
def test_containers_that_started_at_the_same_moment_are_told_apart(changes, is_of):
    assert processes.Boot().is_of(dict(processes.identity(1), **changes)) is is_of


def test_without_a_boot_id_the_machine_tells(monkeypatch):
    monkeypatch.setattr(processes, "_boot", lambda: {"boot_id": None, "init_start": None})
    own = processes.identity(1)
    far = dict(own, machine=dict(own["machine"], id="other"))
    boot = processes.Boot()
    assert boot.is_of(own) and boot.elsewhere(own) is None
    assert not boot.is_of(far) and boot.elsewhere(far) == own["machine"]["name"]


def test_a_machine_id_is_not_told_as_it_is(monkeypatch):
    read = processes._read
    monkeypatch.setattr(processes, "_read", lambda path: b"0123abcd\n" if "machine-id" in path else read(path))
    identity = processes.identity(1)
    assert len(identity["machine"]["id"]) == 32
    assert "0123abcd" not in json.dumps(identity)


@pytest.mark.parametrize("content", [b"", b"uninitialized\n", None])
def test_a_machine_id_that_is_none_is_not_used(monkeypatch, content):
    read = processes._read
    monkeypatch.setattr(processes, "_read", lambda path: content if "machine-id" in path else read(path))
    assert processes.identity(1)["machine"] == {"id": None, "name": os.uname().nodename}


def test_a_batch_id_that_another_machine_has_used_is_refused(place, tmp_path):
    place.record(of_another())
    again = Batch(place.path, ["pass"] * 3)
    again.batch_id = again.plan["batch_id"] = BATCH
    with pytest.raises(
        launcher.LaunchError, match=r"another machine, far, .*Nothing was started\. Give another batch_id"
    ):
        again.launch()


def test_there_may_be_a_singleton_on_each_machine(place):
    place.record(of_another())
    assert launcher._running("job 0", place.path) is None


def select_old(place, **identity):
    place.record(dict(processes.identity(os.getpid()), pid=DEAD, **identity), launched_at=1.0, states=("succeeded",))
    reply = place.ask("list", select=select(older_than=7 * DAY))
    return [job["jid"] for job in reply["jobs"]]


def uptime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_record_is_as_old_as_it_is_where_the_clock_was_set_forward_after_the_launch(place):
    # launched in 1970, a moment ago by the clock that does not jump
    assert select_old(place, booted_at=5.0 - uptime()) == []


def test_a_record_is_as_old_as_it_is_where_the_clock_was_set_back_after_the_launch(place):
    # by that clock it ended eight days ago, in a year that is still to come
    place.record(
        dict(processes.identity(os.getpid()), pid=DEAD, booted_at=4e9 + 8 * DAY - uptime()),
        launched_at=4e9,
        states=("succeeded",),
    )
    assert [job["jid"] for job in place.ask("list", select=select(older_than=7 * DAY))["jobs"]] == JIDS[:1]
    assert place.ask("list", select=select(newer_than=7 * DAY))["jobs"] == []


@pytest.mark.parametrize("identity", [{"boot_id": "before"}, {"booted_at": None}])
def test_where_nobody_knows_how_the_clock_was_set_it_is_believed(place, identity):
    assert select_old(place, **identity) == JIDS[:1]


def test_a_launch_that_holds_the_lock_does_not_hold_up_who_forgets(place, monkeypatch):
    place.record(of_another(), states=("succeeded",))
    monkeypatch.setattr(records, "LOCK_PATIENCE", 0.1)
    with open(os.path.join(place.path, ".background_jobs", "lock"), "w", encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        before = time.monotonic()
        reply = place.ask("forget", **named(JIDS[0]))
        assert time.monotonic() - before < 5
        assert reply["jobs"][0]["forgotten"] is True
        assert os.path.isdir(place.writer.path), "for async_prune to find"
    assert place.ask("prune", remove=False, select=select(), leftovers=select())["leftovers"] == [place.writer.path]
