# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cancels, of core's jobs mostly."""

from __future__ import annotations

import json
import signal
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import records
from ansible_collections.background.jobs.plugins.module_utils._system import processes as _processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import cancel

from ..conftest import ask, gone, named


def cancelled(async_dir, **settings):
    return ask(async_dir, "cancel", **dict({"block": 20.0, "grace": 5.0}, **settings))["jobs"]


def test_a_cancelled_core_job_takes_its_descendants_with_it_and_reads_as_cancelled(tmp_path, core_job):
    jid, process = core_job()
    root = _processes.look(process.pid)
    tree = _processes.Snapshot().tree({root.pid: root.start})
    assert len(tree) == 2
    answer = cancelled(tmp_path, **named(jid))[0]
    assert answer["state"] == "cancelled"
    assert process.wait() == -signal.SIGTERM
    assert not _processes.Snapshot().tree({member.pid: member.start for member in tree.values()})
    assert json.loads((tmp_path / jid).read_text())["failed"] is True


def test_a_process_that_is_not_proven_to_be_the_jobs_is_left_alone(tmp_path, core_job):
    jid, process = core_job(wrapper="something_else.py")
    (answer,) = cancelled(tmp_path, **named(jid), grace=0.0, block=1.5)
    assert answer.get("ending") is None
    assert process.poll() is None


def test_a_call_that_cancels_comes_back_while_core_jobs_have_their_grace_and_another_kills_them(tmp_path, core_job):
    jid, process = core_job(ignoring=True)
    before = time.monotonic()
    (answer,) = cancelled(tmp_path, **named(jid), grace=25.0, block=0.5)
    assert time.monotonic() - before < 5
    assert (answer["state"], answer["asked"]) == ("running", True)
    assert process.pid in dict(answer["ending"])
    follow_up = {"jobs": [{"jid": jid, "dir": None, "ending": answer["ending"]}], "told": True}
    (answer,) = cancelled(tmp_path, grace=25.0, block=0.5, **follow_up)
    assert process.pid in dict(answer["ending"]), "it has some of its time left"
    (answer,) = cancelled(tmp_path, grace=0.0, **follow_up)
    assert (answer["state"], "ending" in answer) == ("cancelled", False)
    assert process.wait() == -signal.SIGKILL


def test_what_has_outlived_its_wrapper_is_killed_by_the_next_call_too(tmp_path, core_job):
    jid, process = core_job(ignoring=True)
    (answer,) = cancelled(tmp_path, **named(jid), grace=25.0, block=0.0)
    (child,) = (pid for pid, dummy in answer["ending"] if pid != process.pid)
    process.kill()
    process.wait()
    follow_up = {"jobs": [{"jid": jid, "dir": None, "ending": answer["ending"]}], "told": True}
    cancelled(tmp_path, grace=0.0, **follow_up)
    assert gone(child)


def test_live_jobs_are_told_to_end_before_what_lost_ones_have_left_is_looked_for(batch, monkeypatch):
    running = batch(["import time; time.sleep(300)"])
    order = []
    monkeypatch.setattr(records.BatchReader, "ask", lambda self, request: order.append("told") or True)
    monkeypatch.setattr(cancel.Cancellation, "_find_families", lambda self: order.append("looked") or {})
    running.serve("cancel", block=0.0)
    monkeypatch.undo()
    assert order == ["told", "looked"]
