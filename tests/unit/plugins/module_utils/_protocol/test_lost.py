# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Batches whose supervisor is gone."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import ids, records, results

from .conftest import BATCH, create


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
