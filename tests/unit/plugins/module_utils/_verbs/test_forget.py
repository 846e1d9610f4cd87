# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records that are removed."""

from __future__ import annotations

import os


def test_records_are_forgotten_when_asked_for_but_never_those_of_unfinished_jobs(batch):
    jobs = batch(["import time; time.sleep(300)", "pass"])
    jobs.wait(mode="any")
    assert [answer["forgotten"] for answer in jobs.serve("forget")] == [False, True]
    answers = jobs.wait(block=0.0)
    assert answers[0]["state"] == "running"
    assert answers[1]["error"] == "not_found"
    jobs.serve("cancel")
    assert jobs.serve("forget", jids=jobs.jids()[:1])[0]["forgotten"] is True
    assert os.listdir(jobs.async_dir) == [".background_jobs"]
    assert os.listdir(os.path.join(jobs.async_dir, ".background_jobs")) == ["lock"]
