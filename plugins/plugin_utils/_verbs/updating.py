# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Changing how many jobs run at once: the batches and pools, the remote call, the result. Callers pass in the call."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.background.jobs.plugins.plugin_utils._errors import amount, plainly
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import operating

Options = dict[str, t.Any]
Result = dict[str, t.Any]
Call = Callable[[dict[str, t.Any]], Result]

_PATIENCE = 5.0  # seconds for supervisors to answer
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to change; None for what stays."""

    selection: operating.Selection
    concurrency: int | None
    pools: dict[str, int] | None

    @classmethod
    def of(cls, options: Options) -> Wanted:
        """Return what the options ask for; raise Refused if they ask for nothing, or contradict each other."""
        concurrency, pool, size = options["concurrency"], options["pool"], options["pool_size"]
        if concurrency is None and pool is None and size is None:
            raise plainly("Say what to change: 'concurrency', or 'pool' and 'pool_size'.")
        if pool is None and size is not None:
            raise plainly("Option 'pool_size': it does not say of which pool. Add 'pool'.")
        if pool is not None and size is None:
            raise plainly("Option 'pool': it does not say how many places the pool should have. Add 'pool_size'.")
        if concurrency is None:
            cls._check_no_selection(options)
            selection = operating.Selection([], None)
        else:
            selection = operating.Selection.of(options, options["all"], core=False)
        return cls(selection, concurrency, None if pool is None else {pool: size})

    @staticmethod
    def _check_no_selection(options: Options) -> None:
        given = [key for key in ("jobs", *operating.SELECTING) if options.get(key) is not None]
        given += ["all"] if options["all"] else []
        if given:
            raise plainly(
                f"Option {given[0]!r}: it says whose 'concurrency' to change, but there is no 'concurrency'. Add it."
            )

    def request(self, check_mode: bool) -> dict[str, t.Any]:
        """Return the request for it (its form: module_utils/_protocol/requests.py)."""
        more: dict[str, t.Any] = {"check": check_mode, "block": _PATIENCE}
        if self.concurrency is not None:
            more["concurrency"] = self.concurrency
        if self.pools is not None:
            more["pools"] = self.pools
        return self.selection.request("update", **more)


def update(call: Call, wanted: Wanted, check_mode: bool) -> Result:
    """Change how many jobs run at once."""
    reply = call(wanted.request(check_mode))
    batches = [_batch(batch, wanted, check_mode) for batch in reply.get("batches") or ()]
    pools = [_pool(pool) for pool in reply.get("pools") or ()]
    errors = _errors(reply, wanted)
    told = [*_of_batches(batches, wanted, check_mode), *_of_pools(pools, check_mode)]
    result: Result = {
        "changed": any(one["outcome"] == "updated" for one in (*batches, *pools)),
        "batches": batches,
        "pools": pools,
        "jobs": [operating.listed(job) for job in reply["jobs"] if "error" not in job],
        "msg": " ".join(told),
    }
    if errors:
        result.update(failed=True, msg=" ".join([*errors, *(told if result["changed"] else ())]))
    elif reply.get("troubles"):
        result["warnings"] = list(reply["troubles"])
    return result


def _batch(batch: Result, wanted: Wanted, check_mode: bool) -> Result:
    now = wanted.concurrency if check_mode and batch["outcome"] == "updated" else batch.get("concurrency")
    told = {**{key: batch.get(key) for key in ("batch_id", "outcome", "before")}, "concurrency": now}
    return {key: value for key, value in told.items() if value is not None}


def _pool(pool: Result) -> Result:
    told = {key: pool.get(key) for key in ("name", "outcome", "before")}
    if pool["outcome"] in ("updated", "unchanged"):
        told["size"] = pool["size"]
    return {key: value for key, value in told.items() if value is not None}


def _errors(reply: Result, wanted: Wanted) -> list[str]:
    """Return sentences on what could not be done."""
    errors = [_sentence(str(job.get("msg") or job["jid"])) for job in reply["jobs"] if "error" in job]
    errors += [
        f"{job['jid']} was launched by ansible-core's async, which runs each job on its own: it has no concurrency."
        for job in reply["jobs"]
        if job.get("source") == "core"
    ]
    for batch in reply.get("batches") or ():
        if batch["outcome"] == "unheard":
            errors.append(
                f"Batch {batch['batch_id']} did not apply the change: its supervisor, process {batch.get('supervisor')}, "
                "may be stopped, its disk full, or it is of an earlier version of background.jobs."
            )
        elif batch["outcome"] == "elsewhere":
            errors.append(
                f"Batch {batch['batch_id']} runs on another machine, {batch.get('machine')}, and can only be changed there."
            )
    if any(pool["outcome"] == "unheard" for pool in reply.get("pools") or ()):
        errors += [_sentence(trouble) for trouble in reply.get("troubles") or ()]
    return errors


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def _of_batches(batches: list[Result], wanted: Wanted, check_mode: bool) -> list[str]:
    """Return the message on batches."""
    if wanted.concurrency is None:
        return []
    updated, running = (
        [batch for batch in batches if batch["outcome"] in outcomes]
        for outcomes in (("updated",), ("updated", "unchanged"))
    )
    at_once = (
        "as many jobs at once as there are"
        if not wanted.concurrency
        else amount(wanted.concurrency, "job") + " at once"
    )
    if updated:
        number = "1 batch" if len(updated) == 1 else f"{len(updated)} batches"
        changed = "would be changed" if check_mode else "was changed" if len(updated) == 1 else "were changed"
        return [f"{number} {changed}: {at_once}."]
    return [
        f"All running batches already allow {at_once}."
        if running
        else "No such batch is running: there is nothing to change."
    ]


def _of_pools(pools: list[Result], check_mode: bool) -> list[str]:
    """Return the messages on pools."""
    return [text for text in (_of_pool(pool, check_mode) for pool in pools) if text]


def _of_pool(pool: Result, check_mode: bool) -> str:
    name, outcome = pool["name"], pool["outcome"]
    if outcome == "ended":
        return f"Pool {name} is not in use: the next launch sets its size."
    if outcome == "unchanged":
        return f"Pool {name} has {amount(pool['size'], 'place')} already."
    if outcome != "updated":
        return ""
    if check_mode:
        return f"Pool {name} would have {amount(pool['size'], 'place')}, and has {pool.get('before')}."
    return f"Pool {name} has {amount(pool['size'], 'place')} now, and had {pool.get('before')}."
