# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import requests
from ansible_collections.background.jobs.plugins.modules.async_update import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import updating

BATCH = "b123456789012345"
JOB = {"jid": "j123456789012345.0", "dir": "/d", "name": "a", "state": "running", "finished": False, "batch_id": BATCH}


def wanted(**given: t.Any) -> updating.Wanted:
    return updating.Wanted.of(_options.read(given, ARGUMENT_SPEC))


def batch(outcome: str, before: int | None = 1, now: int | None = 1, **more: t.Any) -> dict[str, t.Any]:
    return {"batch_id": BATCH, "outcome": outcome, "before": before, "concurrency": now, "supervisor": 7, **more}


def pool(outcome: str, before: int | None = 2) -> dict[str, t.Any]:
    return {"name": "p", "outcome": outcome, "before": before, "size": 4}


def update(reply: dict[str, t.Any], check_mode: bool = False, **given: t.Any) -> dict[str, t.Any]:
    def call(request: dict[str, t.Any]) -> dict[str, t.Any]:
        requests.check(request, ("update",))
        return {"jobs": [], **reply}

    return updating.update(call, wanted(**given), check_mode)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "Say what to change"),
        ({"batch_id": BATCH}, "Say what to change"),
        ({"pool": "p"}, "Option 'pool': .* Add 'pool_size'"),
        ({"pool_size": 3}, "Option 'pool_size': .* Add 'pool'"),
        ({"concurrency": 3}, "Say which jobs"),
        ({"pool": "p", "pool_size": 3, "name": "a"}, "Option 'name': .* 'concurrency' .* Add it"),
        ({"pool": "p", "pool_size": 3, "all": True}, "Option 'all': .* 'concurrency' .* Add it"),
        ({"concurrency": 3, "jobs": ["j1.1"], "name": "a"}, "Option 'name': 'jobs' already says"),
        ({"concurrency": -1, "all": True}, "'concurrency': .* whole number"),
        ({"pool": "a/b", "pool_size": 3}, "'pool': it must be a name"),
        ({"pool": "p", "pool_size": 0}, "'pool_size': .* 1 or more"),
    ],
)
def test_what_says_nothing_or_too_much_is_refused(given: dict[str, t.Any], says: str) -> None:
    with pytest.raises(Refused, match=says):
        wanted(**given)


def test_the_request() -> None:
    both = wanted(jobs=[JOB["jid"]], concurrency=3, pool="p", pool_size=4).request(True)
    assert both == {
        "op": "update",
        "jobs": [{"jid": JOB["jid"], "dir": None}],
        "check": True,
        "block": 5.0,
        "concurrency": 3,
        "pools": {"p": 4},
    }
    only = wanted(pool="p", pool_size=4).request(False)
    assert (only["jobs"], "concurrency" in only) == ([], False)
    assert "pools" not in wanted(all=True, concurrency=0).request(False)


@pytest.mark.parametrize(
    ("batches", "concurrency", "changed", "msg"),
    [
        ([batch("updated", now=4)], 4, True, "1 batch was changed: 4 jobs at once."),
        ([batch("updated"), batch("unchanged")], 1, True, "1 batch was changed: 1 job at once."),
        ([batch("updated"), batch("updated")], 0, True, "2 batches were changed: as many jobs at once as there are."),
        ([batch("unchanged"), batch("ended")], 1, False, "All running batches already allow 1 job at once."),
        ([batch("ended")], 1, False, "No such batch is running: there is nothing to change."),
        ([], 1, False, "No such batch is running: there is nothing to change."),
    ],
)
def test_what_is_said_of_batches(batches: list[dict[str, t.Any]], concurrency: int, changed: bool, msg: str) -> None:
    result = update({"batches": batches}, all=True, concurrency=concurrency)
    assert (result["changed"], result["msg"], result.get("failed")) == (changed, msg, None)


@pytest.mark.parametrize(
    ("told", "check", "changed", "msg"),
    [
        (pool("updated"), False, True, "Pool p has 4 places now, and had 2."),
        (pool("updated"), True, True, "Pool p would have 4 places, and has 2."),
        (pool("unchanged", 4), False, False, "Pool p has 4 places already."),
        (pool("ended", None), False, False, "Pool p is not in use: the next launch sets its size."),
    ],
)
def test_what_is_said_of_pools(told: dict[str, t.Any], check: bool, changed: bool, msg: str) -> None:
    result = update({"pools": [told]}, check, pool="p", pool_size=4)
    assert (result["changed"], result["msg"]) == (changed, msg)
    assert ("size" in result["pools"][0]) is (told["outcome"] != "ended")


def test_check_mode_tells_what_there_would_be() -> None:
    result = update({"batches": [batch("updated", 1, 1)], "jobs": [JOB]}, True, all=True, concurrency=4)
    assert result["msg"] == "1 batch would be changed: 4 jobs at once."
    assert result["batches"] == [{"batch_id": BATCH, "outcome": "updated", "before": 1, "concurrency": 4}]
    assert result["jobs"][0]["ansible_job_id"] == JOB["jid"]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (
            {"batches": [batch("unheard")]},
            f"Batch {BATCH} did not apply the change: its supervisor, process 7, may be stopped",
        ),
        (
            {"batches": [batch("elsewhere", machine="web2")]},
            "runs on another machine, web2, and can only be changed there",
        ),
        ({"jobs": [{**JOB, "source": "core"}]}, "launched by ansible-core's async, .* it has no concurrency"),
        (
            {"jobs": [{"jid": "j1.1", "dir": "/d", "error": "not_found", "msg": "could not find job j1.1?"}]},
            r"Could .*1[?]$",
        ),
    ],
)
def test_what_could_not_be_done_fails_and_says_so(reply: dict[str, t.Any], says: str) -> None:
    result = update(reply, all=True, concurrency=4)
    assert result["failed"] is True
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(result["msg"])


def test_a_pool_that_could_not_be_changed_says_why() -> None:
    reply = {"pools": [pool("unheard", None)], "troubles": ["the size of pool p can't be changed: read-only"]}
    result = update(reply, pool="p", pool_size=4)
    assert (result["failed"], result["msg"]) == (True, "The size of pool p can't be changed: read-only.")


def test_what_was_changed_is_told_beside_what_could_not_be() -> None:
    reply = {"batches": [batch("updated"), batch("unheard")]}
    result = update(reply, all=True, concurrency=4)
    assert (result["failed"], result["changed"]) == (True, True)
    assert result["msg"].endswith("1 batch was changed: 4 jobs at once.")
