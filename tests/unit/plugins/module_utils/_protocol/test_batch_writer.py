# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import os
import resource

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_writer,
    ids,
    journal,
    results,
)
from ansible_collections.background.jobs.plugins.module_utils._system import files

from ..conftest import gone
from .conftest import BATCH, create

JID = ids.jid_of(BATCH, 0)


@pytest.fixture
def writer(tmp_path):
    return batch_writer.BatchWriter(str(tmp_path), BATCH, now=lambda: 0.0)


class Broken:
    """Stands for a function of os on a device with errors, until it is mended."""

    def __init__(self, original, number=errno.EIO):
        self.original, self.number = original, number

    def __call__(self, *args, **kwargs):
        if self.number:
            raise OSError(self.number, os.strerror(self.number))
        return self.original(*args, **kwargs)


@pytest.mark.parametrize(
    "make", [os.mkdir, lambda path: open(path, "w", encoding="ascii").close()], ids=["folder", "file"]
)
def test_what_others_make_beside_a_results_file_does_not_keep_it_from_being_written(writer, make):
    create(writer)
    make(os.path.join(writer.async_dir, JID + ".tmp"))
    assert writer.write_result(0, results.of({"rc": 0})) is True
    with open(os.path.join(writer.async_dir, JID), encoding="ascii") as stream:
        assert json.load(stream) == {"rc": 0}
    assert os.path.exists(os.path.join(writer.async_dir, JID + ".tmp")), "it is theirs"


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EXDEV, errno.EFBIG])
def test_a_result_that_cannot_be_written_anew_is_told_in_the_file_that_there_is(writer, monkeypatch, number):
    reader = create(writer)
    monkeypatch.setattr(os, "rename", Broken(os.rename, number))
    with pytest.raises(OSError, match=os.strerror(number)):
        writer.write_result(0, results.of({"failed": True, "stdout": "x" * 9999}), state="timed_out")
    told = json.loads(reader.result_text(0))
    assert (told["failed"], told["background_jobs_state"]) == (True, "timed_out")
    assert os.strerror(number) in told["msg"]
    assert not [name for name in os.listdir(writer.path) if name.endswith(".tmp")]


def test_names_outlast_a_power_cut_before_the_journal_speaks_of_them(writer, monkeypatch):
    done = []
    rename, fsync, write_all = os.rename, os.fsync, files.write_all

    def path_of(fd):
        return os.path.basename(os.readlink("/proc/self/fd/%d" % fd))

    def note_rename(source, target, **settings):
        rename(source, target, **settings)
        done.append("rename " + target)

    def note_fsync(fd):
        fsync(fd)
        done.append("sync " + path_of(fd))

    def note_write(fd, data):
        write_all(fd, data)
        done.append("write " + path_of(fd))

    monkeypatch.setattr(os, "rename", note_rename)
    monkeypatch.setattr(os, "fsync", note_fsync)
    create(writer)
    top = os.path.basename(writer.async_dir)
    assert done[-4:] == ["rename batch.json", "sync " + BATCH, "sync .background_jobs", "sync " + top]
    monkeypatch.setattr(files, "write_all", note_write)
    del done[:]
    for index in range(2):
        writer.write_result(index, results.of({"rc": 0}))
        writer.note(True, job=index, state="succeeded", at=1.0)
    writer.flush()
    assert done[-3:] == ["sync " + top, "write journal", "sync journal"]
    assert done.count("sync " + top) == 1, "once, however many results there are"
    del done[:]
    writer.write_tasks(0, "{}")
    writer.write_result(0, results.of({"started": 1}))
    writer.note(True, job=0, state="succeeded", at=1.0)
    writer.flush()
    assert {"sync tasks", "sync results", "sync " + BATCH, "sync " + top} <= set(done[: done.index("write journal")])


def test_a_folder_that_cannot_be_synchronised_is_no_error(writer, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", Broken(os.fsync, errno.EINVAL))
    files.Folder(writer.async_dir).sync()


@pytest.mark.parametrize("name", ["write_all", "fsync"])
def test_errors_of_the_device_do_not_lose_what_the_journal_is_to_tell(writer, monkeypatch, name):
    reader = create(writer)
    broken = Broken(getattr(files, name, None) or getattr(os, name))
    monkeypatch.setattr(files if name == "write_all" else os, name, broken)
    writer.note(True, job=0, state="succeeded", at=2.0)
    assert writer.flush() is False
    broken.number = None
    assert writer.flush() is True
    assert reader.refresh() == [0]
    with open(os.path.join(writer.path, "journal"), encoding="ascii") as journal:
        assert journal.read().count("succeeded") == 1


def test_a_line_that_was_torn_does_not_spoil_the_next(writer, monkeypatch):
    reader = create(writer)

    def half(fd, data):
        os.write(fd, data[: len(data) // 2])
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_all", half)
        patch.setattr(os, "ftruncate", Broken(os.ftruncate))
        writer.note(job=0, state="succeeded", at=2.0)
        assert writer.flush() is False
    assert writer.flush() is True
    assert reader.refresh() == [0]


def test_a_journal_that_stays_broken_is_given_up(tmp_path, monkeypatch):
    now = [0.0]
    writer = batch_writer.BatchWriter(str(tmp_path), BATCH, now=lambda: now[0])
    create(writer)
    broken = Broken(files.write_all)
    monkeypatch.setattr(files, "write_all", broken)
    writer.note(job=0, state="succeeded", at=2.0)
    for now[0] in (1.0, 200.0):
        assert not writer.flush() and not writer.is_hopeless
    now[0] = 301.5
    assert not writer.flush() and writer.is_hopeless
    broken.number = None
    assert writer.flush() and not writer.is_hopeless


def test_a_full_disk_is_waited_for_without_end(tmp_path, monkeypatch):
    now = [0.0]
    writer = batch_writer.BatchWriter(str(tmp_path), BATCH, now=lambda: now[0])
    create(writer)
    monkeypatch.setattr(files, "write_all", Broken(files.write_all, errno.ENOSPC))
    writer.note(job=0, state="succeeded", at=2.0)
    for now[0] in (1.0, 9999.0):
        assert not writer.flush() and not writer.is_hopeless


def test_a_supervisor_outlives_a_journal_that_cannot_be_written(batch, tmp_path):
    begun, go = str(tmp_path / "begun"), str(tmp_path / "go")
    for path in (begun, go):
        os.mkfifo(path)
    told, gate = os.open(begun, os.O_RDWR), os.open(go, os.O_RDWR)
    running = batch(
        ["os.write(os.open(%r, os.O_WRONLY), b'x'); os.read(os.open(%r, os.O_RDONLY), 1)" % (begun, go)] * 2
    )
    pid = running.reply["pid"]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    for dummy in range(2):
        os.read(told, 1)  # what the supervisor starts from now on has its limit
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    os.write(gate, b"xx")
    assert not any(answer["finished"] for answer in running.wait(block=1.5)), "it cannot tell"
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    answers = running.wait()
    assert [answer["state"] for answer in answers] == ["succeeded"] * 2
    assert gone(pid)
    for fd in (told, gate):
        os.close(fd)


def test_endless_retries_leave_a_journal_that_can_be_read(writer, monkeypatch):
    monkeypatch.setattr(batch_writer, "_LOUD", 20000)
    reader = create(writer, 3)
    attempts = 5000
    for attempt in range(1, attempts + 1):
        writer.note(job=0, state="running", at=float(attempt), attempt=attempt, pid=attempt, start=1)
        if attempt < attempts:
            writer.note(
                job=0, state="queued", at=float(attempt), attempt=attempt, was="failed", msg="rc 1: " + "x" * 200
            )
    writer.note(job=1, state="running", at=1.0, attempt=1)
    writer.flush()
    assert os.path.getsize(os.path.join(writer.path, "journal")) < 21000
    reader.refresh()
    assert [job["state"] for job in reader.jobs] == ["running", "running", "queued"]
    writer.note(job=0, state="failed", at=9.0)
    writer.note(job=1, state="succeeded", at=9.0)
    writer.flush()
    reader.refresh()
    assert [(job["state"], job["attempts"]) for job in reader.jobs[:2]] == [("failed", attempts), ("succeeded", 1)]


def test_what_is_told_of_failed_attempts_is_bounded(writer):
    reader = create(writer)
    for attempt in range(1, 1001):
        writer.note(job=0, state="running", at=1.0, attempt=attempt, pid=attempt, start=1)
        writer.note(job=0, state="queued", at=1.0, attempt=attempt, was="failed", msg="no")
    writer.flush()
    reader.refresh()
    told = reader.jobs[0]["failed_attempts"]
    assert [told[0]["attempt"], told[-1]["attempt"]] == [901, 1000]


def test_pids_that_the_journal_names_are_remembered_within_bounds(writer, monkeypatch):
    monkeypatch.setattr(journal, "_MOST_PIDS", 3)
    reader = create(writer)
    for pid in (1, 2, 3, 1, 4):
        writer.note(job=0, state="running", at=1.0, attempt=1, pid=pid, start=1)
    writer.flush()
    reader.refresh()
    assert list(reader.pids) == [3, 1, 4]


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
