# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a reader makes of the lines of a journal, odd ones too."""

from __future__ import annotations

import json

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import journal

RUNNING = {"job": 0, "state": "running", "at": 2.0, "attempt": 1}
IN_LINE = {"job": 0, "state": "queued", "at": 1.0, "attempt": 0, "pool": "p"}
AGAIN = {"job": 0, "state": "queued", "at": 3.0, "attempt": 1, "was": "failed", "msg": "no"}


def read(*entries):
    states = journal.JobStates(1)
    states.take_in([json.dumps(entry).encode("ascii") for entry in entries])
    return states


def test_a_job_waits_for_a_place_until_it_runs():
    assert read(IN_LINE).jobs[0]["in_line"] is True
    assert read(IN_LINE, RUNNING).jobs[0]["in_line"] is False
    job = read(IN_LINE, RUNNING, AGAIN, IN_LINE).jobs[0]
    assert (job["state"], job["in_line"], job["attempts"]) == ("queued", True, 1)
    assert len(job["failed_attempts"]) == 1


def test_how_many_run_at_once_is_what_was_said_last():
    assert read(RUNNING).concurrency is None
    states = read({"concurrency": 3, "at": 1.0}, RUNNING, {"concurrency": 0, "at": 2.0})
    assert (states.concurrency, states.jobs[0]["state"]) == (0, "running")


@pytest.mark.parametrize(
    "entry",
    [
        {"concurrency": "many", "at": 1.0},
        {"concurrency": True, "at": 1.0},
        ["concurrency"],
        dict(IN_LINE, pool=None),
        dict(IN_LINE, pool=["p"]),
        {"job": 0, "state": "queued", "at": 1.0, "attempt": 0},
    ],
)
def test_lines_that_nobody_writes_are_passed_over(entry):
    states = read(entry)
    assert states.concurrency is None
    assert not states.jobs[0].get("in_line")
