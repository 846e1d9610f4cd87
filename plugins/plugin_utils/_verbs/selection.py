# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The values that `jobs:` accepts: ids, jobs, registered results, registered loops, and nested lists of these."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.plugin_utils._entries.names import label
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, kind, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT

_JID = re.compile(r"j?[0-9]{1,20}\.[0-9]{1,20}\Z", re.ASCII)
_WAYS_OUT = "Give a job id, a registered result of a task that launched jobs, or a list of these."

View = dict[str, t.Any]


@dataclass(slots=True)
class Target:
    """One job to wait for. `known` is its report, if the host need not be asked any more."""

    where: str
    jid: str | None
    directory: str | None = None
    name: str | None = None
    item: object = ABSENT
    known: View | None = None


def select(value: object) -> list[Target]:
    """Return the jobs that `value` stands for, in its order, each once."""
    targets: list[Target] = []
    seen: dict[str, Target] = {}
    for target in _walk(value, "jobs"):
        if target.jid is not None:
            first = seen.setdefault(target.jid, target)
            if first is not target:
                first.directory = first.directory or target.directory
                continue
        targets.append(target)
    return targets


def _walk(value: object, where: str) -> Iterator[Target]:
    if isinstance(value, str):
        yield _from_text(value, where)
    elif isinstance(value, Mapping):
        yield from _from_mapping(value, where)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{where}[{index}]")
    else:
        number = (
            " An id given as a number has lost its quotes on the way."
            if isinstance(value, (int, float)) and not isinstance(value, bool)
            else ""
        )
        raise Refused(f"{where} is not a job: it is {kind(value)}.{number} {_WAYS_OUT}")


def _from_text(text: str, where: str) -> Target:
    text = text.strip()
    if not _JID.match(text):
        raise Refused(
            f"{where} is not a job: {shorten(text, 60)!r} is not a job id (such as j123456789012.3456). "
            f"For the names of jobs, use the option 'name'. {_WAYS_OUT}"
        )
    return Target(where=where, jid=str.__str__(text))


def _from_mapping(value: Mapping[str, t.Any], where: str) -> Iterator[Target]:
    inner = _inner(value)
    if inner is not None:
        yield from _walk(value[inner], f"{where}.{inner}")
        return
    if value.get("ansible_job_id"):
        yield _from_job(value, where)
    elif value.get("skipped"):
        yield _finished(
            value,
            where,
            states.SKIPPED,
            value.get("skip_reason") or value.get("skipped_reason") or value.get("msg") or "skipped before its launch",
        )
    elif value.get("failed") or value.get("unreachable"):
        yield _finished(value, where, states.FAILED, f"it was not launched: {value.get('msg') or 'no message'}")
    elif value.get("state") in states.TERMINAL and "name" in value:
        yield Target(where=where, jid=None, name=_name(value), item=_item(value), known=dict(value))
    else:
        keys = ", ".join(sorted(str(key) for key in value)[:6]) or "none"
        raise Refused(
            f"{where} is not a job: it is a dictionary without 'ansible_job_id' (its keys: {keys}). {_WAYS_OUT}"
        )


def _inner(value: Mapping[str, t.Any]) -> str | None:
    """Return the key that holds the jobs of a launch or a wait, or the results of a loop.

    A module may return keys of these names too: then it is a job's result, and has an id beside them.
    """
    jobs = value.get("jobs")
    if isinstance(jobs, (list, tuple)) and all(isinstance(job, Mapping) and "state" in job for job in jobs):
        return "jobs"
    if isinstance(value.get("results"), (list, tuple)) and "ansible_job_id" not in value:
        return "results"
    return None


def _from_job(value: Mapping[str, t.Any], where: str) -> Target:
    target = _from_text(str(value["ansible_job_id"]), f"{where}.ansible_job_id")
    target.where = where
    target.name = _name(value)
    target.item = _item(value)
    path = value.get("results_file")
    if isinstance(path, str) and path.startswith("/") and path.endswith(f"/{target.jid}"):
        target.directory = path.rpartition("/")[0] or "/"
    if value.get("finished") and value.get("state") in states.TERMINAL:
        # A job as async_wait reported it: its record may be gone by now.
        target.known = dict(value)
    elif value.get("finished") and "state" not in value:
        # A task with 'poll' above 0 waited for its job itself and removed the record.
        target.known = _view(value, target, states.FAILED if value.get("failed") else states.SUCCEEDED, None)
    return target


def _finished(value: Mapping[str, t.Any], where: str, state: str, msg: object) -> Target:
    target = Target(where=where, jid=None, name=_name(value), item=_item(value))
    target.known = _view(value, target, state, shorten(msg, 400))
    return target


def _view(value: Mapping[str, t.Any], target: Target, state: str, msg: str | None) -> View:
    view: View = {
        "name": target.name or target.jid or target.where,
        "ansible_job_id": target.jid,
        "state": state,
        "finished": True,
    }
    view["changed"] = bool(value.get("changed", False))
    if target.item is not ABSENT:
        view["item"] = target.item
    view["result"] = dict(value)
    if msg is not None:
        view["msg"] = msg
    return view


def _item(value: Mapping[str, t.Any]) -> object:
    loop_var = value.get("ansible_loop_var", "item")
    return value.get(loop_var, ABSENT) if isinstance(loop_var, str) else ABSENT


def _name(value: Mapping[str, t.Any]) -> str | None:
    if isinstance(value.get("name"), str) and "state" in value:
        return str(value["name"])
    item = _item(value)
    return None if item is ABSENT else label(item, str(value.get("ansible_loop_var", "item")))
