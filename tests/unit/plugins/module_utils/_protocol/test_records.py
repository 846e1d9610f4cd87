# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import json
import os
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import records

from .conftest import BATCH, create


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
        records.NewerRecord, match=r"protocol 2, but this version of background\.jobs reads only up to 1: use"
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
