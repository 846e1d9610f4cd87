# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Checks the answers of hosts on arrival: a host may be broken, or in the hands of somebody else.

What was checked here need not be doubted later: the answer is about the jobs that were asked for, in their order, states
are states, times are numbers, and texts that people see contain no control characters for their terminals.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Collection, Mapping

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing, records, states
from ansible_collections.background.jobs.plugins.plugin_utils._errors import kind, printable, shorten

Reply = dict[str, t.Any]

# A result, the results of a block's tasks, and those of other jobs: no honest host sends more at once.
MOST_UNPACKED = 2 * records.RESULT_LIMIT + 64 * 1024 * 1024

_TEXTS = frozenset(
    ("name", "msg", "batch_id", "module", "source", "pool", "result", "tasks", "stdout", "stderr", "revision")
)
_SHOWN = frozenset(("name", "msg", "batch_id", "module", "source", "pool"))
_FLAGS = frozenset(("finished", "deferred", "in_line", "ignore_errors", "no_log", "asked", "forgotten", "unchanged"))
_NUMBERS = frozenset(
    (
        "always_timeout",
        "attempts",
        "cpu_seconds",
        "duration",
        "ended_at",
        "ended_processes",
        "memory",
        "output_size",
        "pid",
        "processes",
        "queued_at",
        "started_at",
        "supervisor",
    )
)

# The types of JSON values, except text.
_OF_JSON = (type(None), bool, int, float, list, dict)


class Malformed(Exception):
    """An answer that no host gives if both halves of this collection are as they should be."""


def unpacked(text: object, request: Mapping[str, t.Any]) -> Reply:
    """Return the answer to a request; raise Malformed if it is no valid one."""
    try:
        reply = packing.unpack(str(text), MOST_UNPACKED)
    except ValueError as exc:
        raise Malformed(str(exc)) from exc
    _expect(isinstance(reply, dict) and isinstance(reply.get("jobs"), list), "it has no list of jobs")
    _expect(_is_number(reply.get("now")), "it does not say what time it is")
    for key in ("user", "async_dir"):
        _expect(isinstance(reply.get(key), str), f"it does not say {key!r}")
        reply[key] = printable(reply[key])
    for key in ("troubles", "leftovers"):
        reply[key] = _texts(reply.get(key, []), key)
    may_be_unchanged = {job["jid"] for job in request.get("jobs", ()) if "revision" in job}
    for job in reply["jobs"]:
        _check_job(job, may_be_unchanged)
    for key, (texts, numbers) in _OF_UPDATED.items():
        outcome = ("outcome",) if request.get("op") == "update" else ()
        _check_updated(reply.get(key, []), key, (*texts, *outcome), numbers)
    if "jobs" in request:
        asked = [job["jid"] for job in request["jobs"]]
        _expect([job["jid"] for job in reply["jobs"]] == asked, "it is about jobs other than those asked for")
    return t.cast("Reply", reply)


def launched(reply: Reply, count: int, may_miss: bool = False) -> Reply:
    """Return the answer to a launch of `count` jobs; raise Malformed if it is no valid one.

    may_miss: whether the host may miss parts that were not sent.
    """
    _expect(isinstance(reply.get("async_dir"), str), "it does not say where the jobs are recorded")
    reply = {**reply, "async_dir": printable(reply["async_dir"])}
    for key in {"missing", "shared"} & reply.keys():
        reply[key] = _texts(reply[key], key)
    _expect(may_miss or "missing" not in reply, "it lacks what it was sent")
    found = reply.get("states")
    if found is not None:
        _expect(isinstance(found, list) and len(found) == count, "it is about jobs other than those launched")
        for state in found:
            _expect(state in states.ALL, f"{shorten(state, 40)!r} is not a state")
    if "attached" in reply:
        _check_job(reply["attached"])
        _expect("state" in reply["attached"], "it does not say how far the job is")
    if "warnings" in reply:
        reply["warnings"] = _warnings(reply["warnings"])
    return reply


def _check_job(job: object, may_be_unchanged: Collection[str] = ()) -> None:
    if not isinstance(job, dict):
        raise Malformed(f"a job is {kind(job)}")
    told: Reply = job
    for key in ("jid", "dir"):
        _expect(isinstance(told.get(key), str), f"a job has no {key!r}")
        told[key] = printable(told[key])
    _check_keys(told)
    for key in told.keys() & _SHOWN:
        if told[key] is not None:
            told[key] = printable(told[key])
    if "depends_on" in told:
        told["depends_on"] = _texts(told["depends_on"], "depends_on")
    ending = told.get("ending", [])
    _expect(isinstance(ending, list) and all(map(_is_process, ending)), "'ending' of a job names no processes")
    if "error" not in told and not (told.get("unchanged") and told["jid"] in may_be_unchanged):
        state = told.get("state")
        if state not in states.ALL:
            raise Malformed(f"{shorten(state, 40)!r} is not a state")
        _expect(told.get("finished") is (state in states.TERMINAL), f"a job is {state}, and 'finished' says otherwise")


# The keys of a batch or a pool in the answer to an update: texts, and numbers if they are known.
_OF_UPDATED = {
    "batches": (("batch_id",), ("before", "concurrency", "supervisor")),
    "pools": (("name",), ("before", "size", "taken", "waiting")),
}


def _check_updated(updated: object, key: str, texts: tuple[str, ...], numbers: tuple[str, ...]) -> None:
    _expect(
        isinstance(updated, list) and all(isinstance(one, dict) for one in updated),
        f"{key!r} is not a list of dictionaries",
    )
    for one in t.cast("list[Reply]", updated):
        for name in texts:
            _expect(isinstance(one.get(name), str), f"{name!r} in {key!r} is {kind(one.get(name))}")
        for name in numbers:
            _expect(
                one.setdefault(name) is None or _is_number(one[name]), f"{name!r} in {key!r} is {kind(one.get(name))}"
            )
        one.update((name, printable(value)) for name, value in one.items() if isinstance(value, str))


def _check_keys(told: Reply) -> None:
    for is_fit, keys in _FIT.items():
        for key in told.keys() & keys:
            if not is_fit(told[key]):
                raise Malformed(f"{key!r} of a job is {kind(told[key])}")


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_number_if_any(value: object) -> bool:
    return value is None or _is_number(value)


# Thousands of jobs may be told of: what is said of a bad one is put together for that one alone.
_FIT = {_is_text: _TEXTS, _is_flag: _FLAGS, _is_number_if_any: _NUMBERS}


def _is_process(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], int)


def _texts(value: object, key: str) -> list[str]:
    _expect(isinstance(value, list) and all(isinstance(text, str) for text in value), f"{key!r} is not a list of texts")
    return [printable(text) for text in t.cast("list[str]", value)]


def _warnings(value: object) -> list[t.Any]:
    """Return the module's warnings, and those that ansible-core 2.21 adds: the task's so far, as objects of its own."""
    _expect(isinstance(value, list), "'warnings' is not a list of texts")
    warnings = t.cast("list[t.Any]", value)
    _expect(not any(isinstance(warning, _OF_JSON) for warning in warnings), "'warnings' is not a list of texts")
    return [printable(warning) if isinstance(warning, str) else warning for warning in warnings]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Malformed(otherwise)
