# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import fcntl
import json
import os
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_writer, ids, records, results
from ansible_collections.background.jobs.plugins.module_utils._system import files

BATCH = "b123456789012345"


@pytest.fixture
def writer(tmp_path):
    return batch_writer.BatchWriter(str(tmp_path), BATCH)


def create(writer, size=2):
    supervisor = {"pid": 1, "start": 1, "boot_id": "b", "init_start": 1}
    header = {"launched_at": 1.0, "supervisor": supervisor, "jobs": [{"name": "job"}] * size}
    writer.create(header, [ids.jid_of(BATCH, index) for index in range(size)])
    return records.BatchReader(writer.async_dir, BATCH)


@pytest.mark.parametrize("others", ["0", [1], [-1], [None], ["0"], [True], 7])
def test_a_job_that_depends_on_what_is_no_job_is_a_damaged_record(writer, others):
    create(writer)
    path = os.path.join(writer.path, "batch.json")
    with open(path) as stream:
        header = json.load(stream)
    header["jobs"] = [{"name": "job", "depends_on": others}]
    with open(path, "w") as stream:
        json.dump(header, stream)
    with pytest.raises(records.DamagedRecord):
        records.BatchReader(writer.async_dir, BATCH)


@pytest.mark.parametrize(
    ("jid", "parsed"),
    [
        ("j123456789012345.0", (BATCH, 0)),
        ("j123456789012345.9999", (BATCH, 9999)),
        ("j123456789012345.01", None),
        ("j123456789012345", None),
        ("j12345678901.4242", None),  # core's own
        ("j123456789012345.1\n", None),
        ("j123456789012345.1/..", None),
    ],
)
def test_only_our_job_ids_are_taken_for_ours(jid, parsed):
    assert ids.parse_jid(jid) == parsed


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "..", ".", "", "a/b", "a\nb", "a\0b", ".hidden", "-x", "j" * 200, "é"]
)
def test_nothing_that_could_leave_the_directory_is_a_job_id(text):
    assert not ids.is_jid(text)


@pytest.mark.parametrize("text", ["j123456789012345.0", "j849213719.10312", "360874038559.4169"])
def test_ids_of_core_and_ours_are_job_ids(text):
    assert ids.is_jid(text)


def test_a_new_batch_reads_as_queued(writer):
    reader = create(writer)
    assert [job["state"] for job in reader.jobs] == ["queued", "queued"]
    assert reader.refresh() == []
    assert json.loads(reader.result_text(0)) == {
        "started": True,
        "finished": False,
        "ansible_job_id": "j123456789012345.0",
    }


def test_a_reader_follows_the_journal_and_waits_for_the_end_of_a_line(writer):
    reader = create(writer)
    writer.note(job=0, state="running", at=1.0, attempt=1, pid=7, start=8)
    assert reader.refresh() == []
    assert reader.jobs[0]["state"] == "queued"
    writer.flush()
    reader.refresh()
    assert (reader.jobs[0]["state"], reader.jobs[0]["started_at"], reader.jobs[0]["attempts"]) == ("running", 1.0, 1)
    line = json.dumps({"job": 0, "state": "timed_out", "at": 2.0, "msg": "late"})
    with open(os.path.join(writer.path, "journal"), "a", encoding="ascii") as journal:
        journal.write(line[:10])
        journal.flush()
        assert reader.refresh() == []
        journal.write(line[10:] + "\n")
    assert reader.refresh() == [0]
    assert reader.jobs[0]["state"] == "timed_out"
    assert reader.jobs[0]["msg"] == "late"


def test_a_failed_creation_leaves_nothing_behind(writer):
    taken = os.path.join(writer.async_dir, ids.jid_of(BATCH, 1))
    with open(taken, "w", encoding="ascii") as stream:
        stream.write("somebody's")
    with pytest.raises(FileExistsError):
        create(writer)
    assert sorted(os.listdir(writer.async_dir)) == [".background_jobs", os.path.basename(taken)]
    assert os.listdir(os.path.join(writer.async_dir, ".background_jobs")) == []
    with open(taken, encoding="ascii") as stream:
        assert stream.read() == "somebody's"


class FullDisk:
    """Stands for os.write, or whatever writes, on a disk that has room for `room` more calls."""

    def __init__(self, original, room=0):
        self.original, self.room = original, room

    def __call__(self, *args):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= 1
        return self.original(*args)


@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_a_creation_for_which_there_is_no_room_leaves_nothing_behind(writer, monkeypatch, room):
    monkeypatch.setattr(os, "write", FullDisk(os.write, room))
    with pytest.raises(OSError, match="No space left on device"):
        create(writer)
    assert os.listdir(writer.async_dir) == [".background_jobs"]
    assert os.listdir(os.path.join(writer.async_dir, ".background_jobs")) == []


def test_what_a_full_disk_refuses_is_kept_until_there_is_room(writer, monkeypatch):
    reader = create(writer)
    writer.note(job=0, state="running", at=1.0, attempt=1)
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_all", FullDisk(files.write_all))
        assert writer.flush() is False
    assert reader.refresh() == []
    writer.note(job=0, state="succeeded", at=2.0)
    assert writer.flush() is True
    assert reader.refresh() == [0]
    assert reader.jobs[0]["started_at"] == 1.0


def test_a_full_disk_drops_the_result_but_not_the_fact_that_the_job_ended(writer, monkeypatch):
    reader = create(writer)
    outcome = results.of({"failed": True, "stdout": "x" * 10000})
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_all", FullDisk(files.write_all))
        assert writer.write_result(0, outcome) is False
    kept = json.loads(reader.result_text(0))
    assert kept["failed"] is True
    assert "disk is full" in kept["msg"]


def test_what_is_reserved_makes_room_for_the_journal_piece_by_piece(writer, monkeypatch):
    reader = create(writer, 100)
    reserve, write_all = os.path.join(writer.path, "reserve"), files.write_all
    sizes = [os.path.getsize(reserve)]

    def write(fd, data):
        if os.path.getsize(reserve) == sizes[-1]:
            raise OSError(errno.ENOSPC, "No space left on device")
        sizes.append(os.path.getsize(reserve))
        write_all(fd, data)

    monkeypatch.setattr(files, "write_all", write)
    for index in range(2):
        writer.note(job=index, state="succeeded", at=5.0)
        assert writer.flush()
        assert reader.refresh() == [index]
    assert sizes[0] >= 100 * 256 > sizes[1] > sizes[2] > 0
    os.truncate(reserve, 0)
    sizes.append(0)
    writer.note(job=2, state="succeeded", at=5.0)
    assert not writer.flush()
    writer.close()
    assert not os.path.exists(reserve)


def test_other_errors_of_the_disk_are_not_taken_for_a_full_one(writer, monkeypatch):
    create(writer)

    def broken(*args):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(files, "write_all", broken)
    with pytest.raises(OSError, match="broken"):
        writer.write_result(0, results.of({}))


def test_jobs_of_a_supervisor_that_is_gone_are_lost_unless_their_result_tells_more(writer):
    reader = create(writer, 3)
    writer.note(job=0, state="succeeded", at=1.0)
    writer.flush()
    writer.write_result(1, results.of({"rc": 3}))
    reader.refresh()
    reader.declare_lost("the host restarted")
    assert [job["state"] for job in reader.jobs] == ["succeeded", "failed", "lost"]
    assert "the host restarted" in reader.jobs[2]["msg"]


def test_what_was_declared_lost_stays_so_for_core_and_for_the_next_reader(writer):
    create(writer, 2)
    writer.note(job=0, state="running", at=1.0, attempt=1)
    writer.flush()
    with open(os.path.join(writer.path, "journal"), "a", encoding="ascii") as journal:
        journal.write('{"job": 1, "sta')  # a writer that was killed in the middle
    for dummy in range(2):
        reader = records.BatchReader(writer.async_dir, BATCH)
        reader.refresh()
        reader.declare_lost("its supervisor was gone")
    again = records.BatchReader(writer.async_dir, BATCH)
    again.refresh()
    assert [job["state"] for job in again.jobs] == ["lost", "lost"]
    result = json.loads(again.result_text(0))
    assert result["failed"] is True
    assert "started" not in result
    assert "its supervisor was gone" in result["msg"]


def test_a_batch_is_removed_with_the_record_of_its_last_job(writer):
    reader = create(writer)
    assert reader.forget(0) is True
    assert reader.forget(0) is False
    assert reader.remove_if_empty() is False
    assert reader.forget(1) is True
    assert reader.remove_if_empty() is True
    assert not os.path.exists(writer.path)


def test_what_is_asked_of_a_batch_as_soon_as_it_can_be_found_is_heard_and_after_it_nobody_is(writer):
    reader = create(writer)
    assert reader.ask({"cancel": [0], "grace": 1}) is True
    assert os.read(writer.control, 100) == b'{"cancel":[0],"grace":1}\n'
    os.close(writer.control)
    assert reader.ask({"cancel": [0], "grace": 1}) is False


ENDS = {
    "skipped": {"changed": False, "skipped": True, "msg": "its condition is false"},
    "cancelled": {"failed": True, "changed": False, "msg": "cancelled before it started"},
    "timed_out": {"failed": True, "rc": 1, "msg": "timed out"},
    "lost": {"failed": True, "msg": "lost: its template process ended"},
    "succeeded": {"changed": True},
    "failed": {"rc": 3},
}


@pytest.mark.parametrize("more", [{}, {"started": True}], ids=["", "with started"])
def test_a_supervisor_that_is_killed_before_its_journal_tells_leaves_the_states_in_the_results(writer, more):
    reader = create(writer, len(ENDS))
    for index, (state, result) in enumerate(ENDS.items()):
        writer.write_result(index, results.of(dict(result, **more)), state=state)
    reader.declare_lost("its supervisor was gone")
    assert [job["state"] for job in reader.jobs] == list(ENDS)
    assert [job.get("msg") for job in reader.jobs[:4]] == [result["msg"] for result in list(ENDS.values())[:4]]
    for index, (state, result) in enumerate(ENDS.items()):
        text = results.without_state(reader.result_text(index), state)
        assert json.loads(text) == dict(result, **more), "who is told the state is told the result as it was"


def test_a_result_that_tells_its_state_stays_as_the_module_printed_it(writer):
    reader = create(writer)
    text = '{"b":1,  "failed":false}'
    writer.write_result(0, results.understand(text.encode(), b"", 0), state="succeeded")
    assert reader.result_text(0) == text


def test_a_job_without_a_final_result_is_lost_whatever_stands_there(writer):
    reader = create(writer, 2)
    with open(os.path.join(writer.async_dir, ids.jid_of(BATCH, 0)), "w", encoding="ascii") as stream:
        stream.write('["no result"]')
    reader.declare_lost("its supervisor was gone")
    assert [job["state"] for job in reader.jobs] == ["lost", "lost"]


def test_a_module_that_returns_finished_false_has_ended_all_the_same(writer):
    reader = create(writer, 1)
    writer.write_result(0, results.of({"finished": False, "changed": False}), state="succeeded")
    reader.declare_lost("its supervisor was gone")
    assert reader.jobs[0]["state"] == "succeeded"


def rewrite_header(writer, **changes):
    path = os.path.join(writer.path, "batch.json")
    with open(path, encoding="ascii") as stream:
        header = dict(json.load(stream), **changes)
    with open(path, "w", encoding="ascii") as stream:
        json.dump(header, stream)


@pytest.mark.parametrize("changes", [{}, {"jobs": {"0": "of another form"}}])
def test_records_of_a_later_version_are_refused_and_left_alone(writer, changes):
    create(writer)
    rewrite_header(writer, protocol=records.PROTOCOL + 1, **changes)
    with pytest.raises(
        records.NewerRecord, match=r"protocol 2, and this version of background\.jobs reads up to 1: use"
    ):
        records.BatchReader(writer.async_dir, BATCH)


@pytest.mark.parametrize("protocol", [0, 1, True, "1"])
def test_records_of_this_and_of_earlier_versions_are_read(writer, protocol):
    create(writer)
    rewrite_header(writer, protocol=protocol)
    assert len(records.BatchReader(writer.async_dir, BATCH).jobs) == 2


def test_a_batch_whose_removal_others_hold_up_is_left_for_later(writer, monkeypatch):
    reader = create(writer)
    monkeypatch.setattr(records, "LOCK_PATIENCE", 0.1)
    for index in range(2):
        reader.forget(index)
    with open(os.path.join(writer.async_dir, ".background_jobs", "lock"), "w", encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        before = time.monotonic()
        assert reader.remove_if_empty() is False
        assert time.monotonic() - before < 5
    assert reader.remove_if_empty() is True
