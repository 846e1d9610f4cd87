# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing
from ansible_collections.background.jobs.plugins.plugin_utils._host import replies

JOB = {"jid": "j1.1", "dir": "/d", "state": "running", "finished": False, "started_at": 1.0, "msg": None}
ENDED = {**JOB, "state": "succeeded", "finished": True, "result": "{}"}
ASKED = {"jobs": [{"jid": "j1.1", "dir": None}]}


def reply(*jobs: object, **more: object) -> dict[str, t.Any]:
    return {"now": 2.0, "user": "me", "async_dir": "/d", "jobs": list(jobs), **more}


def arrive(value: object, request: t.Any = None) -> dict[str, t.Any]:
    return replies.unpacked(packing.pack(value), ASKED if request is None else request)


def test_an_honest_answer_arrives_as_it_is() -> None:
    for told in (reply(JOB, troubles=["x"], leftovers=[]), reply(ENDED, troubles=[], leftovers=["/d/x"])):
        assert arrive(told) == told
    pools = [{"name": "p", "before": None, "size": 3, "taken": 2, "waiting": 0}]
    assert arrive(reply(JOB, pools=pools))["pools"] == pools
    mistaken = {"jid": "j1.1", "dir": "/d", "error": "not_found", "msg": "nowhere"}
    assert arrive(reply(mistaken))["jobs"] == [mistaken]
    assert len(arrive(reply(JOB, ENDED), {"select": {}})["jobs"]) == 2


def test_that_nothing_has_changed_is_an_answer_to_who_knows_what_it_was() -> None:
    unchanged = {"jid": "j1.1", "dir": "/d", "unchanged": True}
    (asked,) = ASKED["jobs"]
    assert arrive(reply(unchanged), {"jobs": [{**asked, "revision": "running"}]})["jobs"] == [unchanged]
    for request in (ASKED, {"select": {}}):
        with pytest.raises(replies.Malformed, match="is not a state"):
            arrive(reply(unchanged), request)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([], "no list of jobs"),
        ({"now": 1.0}, "no list of jobs"),
        (reply(JOB, now="soon"), "what time it is"),
        (reply(JOB, now=float("inf")), "what time it is"),
        (reply(JOB, user=None), "'user'"),
        (reply(JOB, troubles="x"), "'troubles' is not a list of texts"),
        (reply(JOB, troubles=[1]), "'troubles' is not a list of texts"),
        (reply(), "jobs other than"),
        (reply(JOB, JOB), "jobs other than"),
        (reply({**JOB, "jid": "j1.2"}), "jobs other than"),
        (reply("j1.1"), "a job is a string"),
        (reply({**JOB, "jid": 1}), "no 'jid'"),
        (reply({**JOB, "dir": None}), "no 'dir'"),
        (reply({**JOB, "state": "asleep"}), "'asleep' is not a state"),
        (reply({**JOB, "state": ["running"]}), "is not a state"),
        (reply({"jid": "j1.1", "dir": "/d"}), "is not a state"),
        (reply({**JOB, "finished": True}), "'finished' says otherwise"),
        (reply({**ENDED, "finished": False}), "'finished' says otherwise"),
        (reply({**ENDED, "deferred": "for ever"}), "'deferred' of a job"),
        (reply({**JOB, "started_at": "1"}), "'started_at' of a job"),
        (reply({**JOB, "started_at": float("nan")}), "'started_at' of a job"),
        (reply({**JOB, "pid": True}), "'pid' of a job"),
        (reply({**JOB, "in_line": "yes"}), "'in_line' of a job"),
        (reply({**JOB, "pool": 1}), "'pool' of a job"),
        (reply(JOB, pools={}), "'pools' is not a list"),
        (reply(JOB, pools=[1]), "'pools' is not a list"),
        (reply(JOB, pools=[{"name": 1}]), "'name' in 'pools'"),
        (reply(JOB, pools=[{"name": "p", "size": "3"}]), "'size' in 'pools'"),
        (reply(JOB, batches=[{"batch_id": None}]), "'batch_id' in 'batches'"),
        (reply({**JOB, "name": ["x"]}), "'name' of a job"),
        (reply({**ENDED, "result": {}}), "'result' of a job"),
        (reply({**JOB, "depends_on": "x"}), "'depends_on' is not a list of texts"),
        (reply({**JOB, "depends_on": [1]}), "'depends_on' is not a list of texts"),
        (reply({**JOB, "ending": 7}), "'ending' of a job"),
        (reply({**JOB, "ending": [[1]]}), "'ending' of a job"),
        (reply({**JOB, "ending": [["1", 2]]}), "'ending' of a job"),
        (reply({**JOB, "supervisor": "1"}), "'supervisor' of a job"),
        (reply({**JOB, "always_timeout": float("inf")}), "'always_timeout' of a job"),
    ],
)
def test_what_no_host_says_is_not_used(told: object, why: str) -> None:
    with pytest.raises(replies.Malformed, match=why):
        arrive(told)


@pytest.mark.parametrize("text", ["", "nonsense", None, 7, packing.pack({})[:-8]])
def test_what_is_not_packed_is_no_answer(text: object) -> None:
    with pytest.raises(replies.Malformed):
        replies.unpacked(text, ASKED)


def test_what_is_shown_is_made_printable() -> None:
    evil = "a\x1b[2Jb\u202ec"
    told = arrive(reply({**ENDED, "name": evil, "msg": evil, "result": evil}, troubles=[evil], async_dir=evil))
    job = told["jobs"][0]
    for text in (job["name"], job["msg"], told["troubles"][0], told["async_dir"]):
        assert text == "a\ufffd[2Jb\ufffdc"
    assert job["result"] == evil  # data, which is decoded later


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, "where the jobs are recorded"),
        ({"async_dir": "/d", "states": ["queued"]}, "jobs other than"),
        ({"async_dir": "/d", "states": ["queued", "x"]}, "'x' is not a state"),
        ({"async_dir": "/d", "states": 2}, "jobs other than"),
        ({"async_dir": "/d", "attached": "j1.1"}, "a job is a string"),
        ({"async_dir": "/d", "attached": {"jid": "j1.1", "dir": "/d", "error": "x"}}, "how far the job is"),
        ({"async_dir": "/d", "warnings": "x"}, "'warnings' is not a list"),
        ({"async_dir": "/d", "warnings": ["x", {}]}, "'warnings' is not a list"),
        ({"async_dir": "/d", "warnings": [None]}, "'warnings' is not a list"),
    ],
)
def test_what_no_host_says_to_a_launch_is_not_used(told: t.Any, why: str) -> None:
    with pytest.raises(replies.Malformed, match=why):
        replies.launched(told, 2)
    assert replies.launched({"async_dir": "/d", "pid": 7}, 2) == {"async_dir": "/d", "pid": 7}


def test_warnings_of_a_launch_are_texts_or_what_ansible_core_makes_of_them() -> None:
    of_core = object()  # a WarningSummary in 2.21
    reply = replies.launched({"async_dir": "/d", "warnings": ["a\x1b[2J", of_core]}, 1)
    assert reply["warnings"] == ["a\ufffd[2J", of_core]


def test_what_an_update_has_come_to_must_be_told() -> None:
    request = {**ASKED, "op": "update"}
    pool = {"name": "p\x1b[2J", "outcome": "updated"}
    assert arrive(reply(JOB, pools=[pool]), request)["pools"][0]["name"] == "p\ufffd[2J"
    for odd in ({"name": "p"}, {"name": "p", "outcome": 7}):
        with pytest.raises(replies.Malformed, match="'outcome' in 'pools'"):
            arrive(reply(JOB, pools=[odd]), request)
