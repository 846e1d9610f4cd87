# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Listing, cancelling and pruning jobs: the selection, the remote calls, the result. Callers pass in the calls."""

from __future__ import annotations

import signal
import typing as t
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.background.jobs.plugins.module_utils._protocol import states as _states
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, amount, nearest, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._host.codec import decode_result
from ansible_collections.background.jobs.plugins.plugin_utils._options import WaitOptions
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import report
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import selection as _selection
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.selection import Target
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import (
    MAX_BLOCK,
    MAX_BYTES,
    Begun,
    Surroundings,
    Waiter,
)

Options = dict[str, t.Any]
Result = dict[str, t.Any]
Call = Callable[[dict[str, t.Any]], Result]

_PATIENCE = 30.0  # seconds that a job may take to end after SIGKILL
_LONGEST_ALWAYS = 86400.0  # seconds; a bound on what hosts say
_NAMED = 5  # processes
_NAME_WIDTH = 60
SELECTING = ("name", "batch_id", "state", "older_than", "newer_than")
# The keys of a listed job, in this order; others are for internal use.
_LISTED = (
    "name",
    "ansible_job_id",
    "state",
    "finished",
    "item",
    "depends_on",
    "pool",
    "in_line",
    "msg",
    "source",
    "batch_id",
    "module",
    "attempts",
    "failed_attempts",
    "queued_at",
    "started_at",
    "ended_at",
    "duration",
    "pid",
    "processes",
    "cpu_seconds",
    "memory",
    "output_size",
    "stdout",
    "stdout_lines",
    "stderr",
    "stderr_lines",
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The jobs that a task is about: listed one by one, or those that fit criteria."""

    targets: list[Target] | None
    fitting: dict[str, t.Any] | None

    @classmethod
    def of(cls, options: Options, everything: bool, core: bool) -> Selection:
        """Return what the options select; everything: all jobs if they select none in particular."""
        given = [key for key in SELECTING if options.get(key) is not None]
        if options.get("jobs") is not None:
            if given or options.get("all"):
                raise Refused(f"Option {(given or ['all'])[0]!r}: 'jobs' already says which jobs. Keep one of them.")
            return cls(_selection.select(options["jobs"]), None)
        if not given and not everything:
            raise Refused(
                "Say which jobs: 'jobs', 'name', 'batch_id', 'state', 'older_than', 'newer_than', or 'all: true'."
            )
        return cls(None, _fitting(options, core))

    def request(self, op: str, **more: t.Any) -> dict[str, t.Any]:
        """Return a request about them (its form: module_utils/_protocol/requests.py)."""
        request: dict[str, t.Any] = {"op": op}
        if self.targets is not None:
            asked = [target for target in self.targets if target.jid is not None]
            request["jobs"] = [{"jid": target.jid, "dir": target.directory} for target in asked]
        else:
            request["select"] = self.fitting
        return {**request, **more}


def _fitting(options: Options, core: bool) -> dict[str, t.Any]:
    states = options.get("state")
    for state in states or ():
        if state not in _states.ALL:
            raise Refused(
                f"Option 'state': {shorten(state, 40)!r} is not a state.{nearest(state, _states.ALL)} "
                f"States are: {', '.join(_states.ALL)}."
            )
    return {
        "names": options.get("name"),
        "batch_ids": options.get("batch_id"),
        "states": states,
        # converted to seconds already, but turned into text again
        **{key: None if options.get(key) is None else float(options[key]) for key in ("older_than", "newer_than")},
        "core": core,
    }


def listed(job: Result) -> Result:
    view = {**job, "ansible_job_id": job["jid"], "name": job.get("name") or job["jid"]}
    return {key: view[key] for key in _LISTED if view.get(key) is not None}


def _finish(result: Result, reply: Result) -> Result:
    if reply.get("troubles"):
        result["warnings"] = list(reply["troubles"])
    return result


def _errors(reply: Result) -> list[str]:
    return [str(job.get("msg") or f"{job['jid']} cannot be read") for job in reply["jobs"] if "error" in job]


def info(call: Call, selection: Selection, tail: int | None = None) -> Result:
    """List jobs; tail: with so many of the last lines that they have printed."""
    reply = call(selection.request("list", **({} if tail is None else {"tail": tail})))
    errors = _errors(reply)
    jobs = [listed(job) for job in reply["jobs"] if "error" not in job]
    counts = {state: sum(job["state"] == state for job in jobs) for state in _states.ALL}
    result: Result = {"changed": False, "jobs": jobs, "counts": counts, "pools": _pools(reply)}
    if errors:
        result.update(failed=True, msg="; ".join(errors))
    return _finish(result, reply)


def _pools(reply: Result) -> list[Result]:
    return [{key: pool.get(key) for key in ("name", "size", "taken", "waiting")} for pool in reply.get("pools") or ()]


def find(call: Call, selection: Selection) -> tuple[list[Target], list[str]]:
    """Return the jobs that fit (of several with the same name, those of the newest batch), and warnings."""
    reply = call(selection.request("list"))
    newest = {job["name"]: job["batch_id"] for job in reply["jobs"]}  # the oldest batch comes first
    targets = [
        Target(where=repr(job["name"]), jid=job["jid"], directory=job["dir"], name=job["name"])
        for job in reply["jobs"]
        if newest[job["name"]] == job["batch_id"]
    ]
    return targets, list(reply.get("troubles") or ())


def targets_of(options: Options, call: Call) -> tuple[list[Target], list[str]]:
    """Return the jobs that async_wait has to wait for, and warnings; raise Refused if there are none."""
    named = [key for key in ("name", "batch_id") if options.get(key) is not None]
    if options.get("jobs") is not None:
        if named:
            raise Refused(f"Option {named[0]!r}: 'jobs' already says which jobs. Keep one of them.")
        return _selection.select(options["jobs"]), []
    if not named:
        raise Refused("Say which jobs: 'jobs', 'name' or 'batch_id'.")
    targets, warnings = find(call, Selection(None, _fitting(options, core=False)))
    if not targets and not options["missing_ok"]:
        what = " and ".join(f"{key} {', '.join(repr(shorten(one, 60)) for one in options[key])}" for key in named)
        raise Refused(
            f"There are no jobs with {what} on this host. Check that this task has the user (remote_user, become) and "
            "ansible_async_dir of the one that launched, or set 'missing_ok: true' if that is fine."
        )
    return targets, warnings


def prune(call: Call, selection: Selection, check_mode: bool) -> Result:
    """Remove the records of jobs that have ended, and what former launches and batches have left behind."""
    leftovers = {} if selection.fitting is None else {"leftovers": selection.fitting}
    reply = call(selection.request("prune", remove=False, **leftovers))
    errors = _errors(reply)
    finished = [job for job in reply["jobs"] if "error" not in job and job["finished"]]
    ended = [job for job in finished if not job.get("processes")]
    reply["troubles"] = [
        *(reply.get("troubles") or ()),
        *(
            f"The record of {listed(job)['name']} is kept: the job is lost, but some of its processes still run. async_cancel ends them."
            for job in finished
            if job not in ended
        ),
    ]
    jobs = [listed(job) for job in ended]
    if check_mode or errors:
        number = len(reply.get("leftovers") or ())
        result: Result = {"changed": bool(jobs or number) and not errors, "jobs": jobs, "leftovers": number}
        result["msg"] = f"{_records(jobs, number)} would be removed."
        if errors:
            result.update(failed=True, msg="; ".join(errors))
        return _finish(result, reply)
    targets = [Target(where=job["jid"], jid=job["jid"], directory=job["dir"]) for job in ended]
    done = call(Selection(targets, None).request("prune", remove=True, **leftovers))
    removed = [job for job, answer in zip(jobs, done["jobs"], strict=True) if answer.get("forgotten")]
    number = len(done.get("leftovers") or ())
    told = f"{_records(removed, number)} {'was' if len(removed) == 1 and not number else 'were'} removed."
    reply["troubles"] = list(dict.fromkeys([*reply["troubles"], *(done.get("troubles") or ())]))
    return _finish({"changed": bool(removed or number), "jobs": removed, "leftovers": number, "msg": told}, reply)


def _records(jobs: list[Result], leftovers: int) -> str:
    records = "The record of 1 job" if len(jobs) == 1 else f"The records of {len(jobs)} jobs"
    return records if not leftovers else f"{records} and {leftovers} leftover{'' if leftovers == 1 else 's'}"


def signal_number(value: object) -> int:
    """Return the number of a signal, given by number or by name, with or without SIG."""
    text = str(value).strip().upper()
    try:
        if text.isdecimal():
            return int(signal.Signals(int(text)))
        return int(signal.Signals[text if text.startswith("SIG") else f"SIG{text}"])
    except (KeyError, ValueError):
        raise Refused(
            f"Option 'signal': {shorten(value, 40)!r} is not a signal.{_signals_like(text)} "
            "Use a name such as TERM, INT or HUP."
        ) from None


def _signals_like(text: str) -> str:
    return nearest(text.removeprefix("SIG"), (known.name.removeprefix("SIG") for known in signal.Signals))


def cancel(surroundings: Surroundings, selection: Selection, options: Options, host: str, check_mode: bool) -> Result:
    """End jobs, and wait until they have ended."""
    if check_mode:
        reply = surroundings.call(selection.request("list"))
        jobs = [listed(job) for job in reply["jobs"] if "error" not in job]
        running = [job for job in jobs if not job["finished"] or job.get("processes")]
        result: Result = {
            "changed": bool(running),
            "jobs": jobs,
            "msg": f"{amount(len(running), 'job')} would be cancelled.",
        }
        return _finish(result, reply)
    number = signal_number(options["signal"])
    begun = surroundings.clock()
    request = selection.request("cancel", grace=options["grace"], signal=number, block=MAX_BLOCK, max_bytes=MAX_BYTES)
    reply = surroundings.call(request)
    asked = {job["jid"] for job in reply["jobs"] if job.get("asked")}
    far = [str(job["msg"]) for job in reply["jobs"] if job.get("error") == "elsewhere"]
    near = [job for job in reply["jobs"] if job.get("error") != "elsewhere"]
    targets = [
        Target(where=job.get("name") or job["jid"], jid=job["jid"], directory=job["dir"], name=job.get("name"))
        for job in near
    ]
    always = max([job.get("always_timeout") or 0 for job in near], default=0)
    patience = options["grace"] + _PATIENCE + min(always, _LONGEST_ALWAYS)
    waiter = Waiter(
        targets, WaitOptions(timeout=patience, poll=options["poll"], on_timeout="return"), surroundings, host
    )
    waiter.kill_at = begun + options["grace"]
    waiter.take(Begun({**reply, "jobs": near}, surroundings.clock() - begun))
    waited = waiter.run()
    jobs = [report.job_of(view, decode_result) for view in waited.views]
    ended = [job for job in jobs if job["ansible_job_id"] in asked and job["state"] == _states.CANCELLED]
    result = {"changed": bool(ended), "jobs": jobs, "msg": f"{amount(len(ended), 'job')} cancelled."}
    left = sum(job.get("ended_processes", 0) for job in reply["jobs"])
    if left:
        result["changed"] = True
        result["msg"] += (
            f" {left} process{'' if left == 1 else 'es'} that lost jobs had left {'was' if left == 1 else 'were'} ended."
        )
    if selection.targets is None:  # for a selection, jobs on other machines are no errors
        reply["troubles"] = [*(reply.get("troubles") or ()), *far]
        far = []
    if waited.errors or far or waited.unreachable is not None:
        result.update(failed=True, msg="; ".join([*far, *waited.errors]) or str(waited.unreachable))
    elif waited.timed_out:
        held = [_not_ended(view) for view in waited.views if not view["finished"] or view.get("ending")]
        result.update(failed=True, msg=f"After {patience:g} s, some jobs have not ended: {'; '.join(held)}.")
    return _finish(result, reply)


def _not_ended(view: Result) -> str:
    """Return the name of a job, with what holds it up, as far as that is known."""
    name = shorten(view["name"], _NAME_WIDTH)
    if view.get("ending"):
        pids = ", ".join(str(pid) for pid, dummy in view["ending"][:_NAMED])
        return f"{name} (what it started survives SIGKILL: process {pids})"
    if pid := view.get("supervisor"):
        return f"{name} (its supervisor, process {pid}, may be stopped: 'kill -CONT {pid}' resumes it)"
    return name
