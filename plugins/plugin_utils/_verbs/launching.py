# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What async_run and async_batch have in common: from options to started jobs, waited for or not."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing, shared
from ansible_collections.background.jobs.plugins.module_utils._protocol import states as _states
from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._core import dependencies, prebuilt
from ansible_collections.background.jobs.plugins.plugin_utils._core.core import Core
from ansible_collections.background.jobs.plugins.plugin_utils._core.own_task import (
    flag,
    hand_on_discovered_interpreter,
    variable,
)
from ansible_collections.background.jobs.plugins.plugin_utils._entries import expansion, keywords
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._host import replies, transport
from ansible_collections.background.jobs.plugins.plugin_utils._late import archive, scripted
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Defaults, Job
from ansible_collections.background.jobs.plugins.plugin_utils._options import WaitOptions
from ansible_collections.background.jobs.plugins.plugin_utils._plan import planner as _planner
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import pooling, preview, resuming
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import remote as _remote
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.selection import Target
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import FIRST_CONTACT, Begun, first_request

Result = dict[str, t.Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """The options of a batch as a whole.

    max_failures: percent of its jobs, None for any number of them; singleton: its one job must not run already;
    batch_id: its id, None for a new one; if the host has this batch, nothing is started;
    resume: the id of an earlier batch, of which only jobs that did not succeed are started again;
    keep_output: bytes to keep of each stream of a job;
    pool, pool_size: the pool of jobs that name none, and how many places it has;
    holds: start_delay (seconds), min_free_memory (bytes) and max_load, as far as they are given.
    """

    concurrency: int = 0
    max_failures: float | None = None
    on_failure: str = "finish"
    singleton: bool = False
    batch_id: str | None = None
    resume: str | None = None
    keep_output: int = 0
    pool: str | None = None
    pool_size: int | None = None
    holds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, options: dict[str, t.Any]) -> Limits:
        """Return the Limits that the options of a batch set; raise Refused if they contradict each other."""
        percentage = options["max_fail_percentage"]
        if percentage is None and not options["any_errors_fatal"] and options["on_failure"] != "finish":
            raise Refused(
                f"Option 'on_failure': {options['on_failure']!r} has no effect without a limit. "
                "Add 'any_errors_fatal: true' or 'max_fail_percentage'."
            )
        if options["any_errors_fatal"]:
            percentage = 0.0
        kept = _options.kept_output(options["keep_output"])
        return cls(
            options["concurrency"],
            percentage,
            options["on_failure"],
            batch_id=options["batch_id"],
            resume=options["resume"],
            keep_output=kept,
            pool=options["pool"],
            pool_size=options["pool_size"],
            holds={key: options[key] for key in ("start_delay", "min_free_memory", "max_load") if options[key]},
        )

    def plan(self) -> Result:
        """Return the part of the plan that sets them."""
        planned: Result = {"keep_output": self.keep_output, **self.holds}
        if self.max_failures is not None:
            planned.update(max_failures=self.max_failures, on_failure=self.on_failure)
        return planned


@dataclass(slots=True)
class Launch:
    """A batch that was started."""

    batch_id: str | None
    jobs: list[Result]
    targets: list[Target]
    changed: bool
    warnings: list[str]
    attached: str | None = None
    """Why nothing was started: what exists already. None if the jobs were started."""
    begun: Begun | None = None
    """The first answer on the jobs' ends, if the task waits for them."""
    preview: str | None = None
    """In check mode, which jobs would be started."""
    difference: Result | None = None


class LaunchFailed(Exception):
    """The host did not take the batch; `result` is its answer."""

    def __init__(self, result: Result) -> None:
        super().__init__(str(result.get("msg", "")))
        self.result = result


def defaults_of(core: Core, options: Mapping[str, t.Any]) -> Defaults:
    """Return what the jobs take over from the task that launches them, and from its options."""
    task = core.action._task
    return Defaults(
        timeout=options["timeout"],
        check_mode=bool(task.check_mode),
        diff=bool(task.diff),
        no_log=bool(task.no_log),
        limits={key: options[key] for key in keywords.LIMITS if options[key] is not None},
    )


@dependencies.looked_through_once()
@prebuilt.used()
def launch(
    core: Core,
    entries: object,
    defaults: Defaults,
    limits: Limits | None = None,
    *,
    module: str = "async_batch",
    waiting: WaitOptions | None = None,
) -> Launch:
    """Start the jobs that `entries` ask for, all or none; raise Refused or LaunchFailed if nothing was started.

    waiting: how to wait for them, if at all; the call that launches them begins to wait.
    """
    jobs = expansion.expand(entries, core, defaults, "task" if module == "async_run" else "tasks", scripted)
    warnings: list[str] = []
    if not jobs:
        return Launch(batch_id=None, jobs=[], targets=[], changed=False, warnings=warnings)
    limits = limits or Limits()
    remote = _remote.Remote(core.action, core.task_vars, module)
    if limits.resume:
        known = remote.call_until_answered(resuming.request(limits.resume))
        jobs = resuming.left(jobs, known, limits.resume)
        if not jobs:
            why = f"All jobs of batch {limits.resume} have succeeded: nothing was started."
            return Launch(batch_id=None, jobs=[], targets=[], changed=False, warnings=warnings, attached=why)
    pools = pooling.sizes(jobs, limits.pool, limits.pool_size, variable(core.action, core.task_vars, pooling.VARIABLE))
    batch_id = limits.batch_id or _planner.new_batch_id()
    planner = _planner.Planner(core, flag(core.action, core.task_vars, "background_jobs_fork", True))
    plan = {**planner.plan(jobs, batch_id, limits.concurrency), **limits.plan(), **_evaluator(jobs)}
    if pools:
        plan["pools"] = pools
    name = jobs[0].name if limits.singleton and jobs[0].skip is None else None
    jids = [_planner.jid(batch_id, index) for index in range(len(jobs))]
    request = first_request(jids, waiting) if waiting else None
    plan.update(_send_files(core, remote))
    reply, was_asked_once = _send(remote, plan, singleton=name, request=request)
    if "attached" in reply:
        return _attached({**reply["attached"], "name": jobs[0].name}, warnings)
    states = reply.get("states") or [_states.SKIPPED if job.skip else _states.QUEUED for job in jobs]
    started = Launch(
        batch_id=batch_id,
        jobs=[_listed(*one, reply["async_dir"]) for one in zip(jobs, jids, states, strict=True)],
        targets=[_target(job, jid, reply["async_dir"]) for job, jid in zip(jobs, jids, strict=True)],
        changed=any(job.skip is None for job in jobs),
        warnings=warnings + list(reply.get("warnings") or ()),
        begun=_begun(reply, request),
    )
    if started.changed and defaults.check_mode:
        started.preview = preview.sentence(jobs)
        started.difference = preview.difference(jobs) if defaults.diff else None
    # If the host had to be asked again, the jobs on it were launched by this task.
    if "states" in reply and was_asked_once:
        started.changed = False
        started.preview = started.difference = None
        started.attached = f"Batch {batch_id} already exists: nothing was started."
    return started


def _begun(reply: Result, request: Result | None) -> Begun | None:
    """Return the launch's answer to the wait; None if it is missing or malformed: then it is requested again."""
    if request is None or "reply" not in reply or not isinstance(reply.get("waited"), (int, float)):
        return None
    try:
        return Begun(replies.unpacked(reply["reply"], request), reply["waited"])
    except replies.Malformed:
        return None


def _evaluator(jobs: list[Job]) -> Result:
    """Return the evaluator and Jinja2 for the plan, if jobs need them."""
    scripts = [job.script for job in jobs if job.script is not None]
    if not scripts:
        return {}
    return {"evaluator": archive.evaluator(), "archive": archive.archive(any(script["yaml"] for script in scripts))}


def _attached(job: Result, warnings: list[str]) -> Launch:
    listed = {
        "name": job["name"],
        "ansible_job_id": job["jid"],
        "results_file": f"{job['dir']}/{job['jid']}",
        "state": job["state"],
    }
    target = Target(where=job["name"], jid=job["jid"], directory=job["dir"], name=job["name"])
    why = f"{job['name']} is {job['state']} already as {job['jid']}: attached to it."
    return Launch(job["batch_id"], [listed], [target], changed=False, warnings=warnings, attached=why)


def _send_files(core: Core, remote: _remote.Remote) -> Result:
    """Return the part of the plan for the files that jobs need."""
    try:
        return remote.send(lambda: remote.attempt(core.send_files))[0]
    except (transport.Unreached, transport.Unanswered) as exc:
        raise AnsibleConnectionFailure(str(exc)) from exc
    finally:
        core.files.close()


def _send(
    remote: _remote.Remote, plan: Result, *, singleton: str | None, request: Result | None
) -> tuple[Result, bool]:
    """Return the host's answer to a plan and a request, and whether it was asked only once."""
    arguments = {} if singleton is None else {"_singleton": singleton}
    if request:
        arguments["_request"] = packing.pack(request)
    texts, known = shared.take_out(plan), remote.keeps()
    unknown = {digest: text for digest, text in texts.items() if digest not in known}
    reply, was_asked_once = _order(remote, {**plan, "shared": unknown}, arguments, may_miss=len(unknown) < len(texts))
    if "missing" in reply:  # a kept part was removed or changed meanwhile
        known = set()
        remote.note_kept((), ())  # or each later launch would find out anew
        reply, again = _order(remote, {**plan, "shared": texts}, arguments)
        was_asked_once = was_asked_once and again
    if told := reply.get("shared"):
        remote.note_kept(set(told) & texts.keys(), known)
    return reply, was_asked_once


def _order(
    remote: _remote.Remote, plan: Result, arguments: dict[str, str], may_miss: bool = False
) -> tuple[Result, bool]:
    """Like `_send`; may_miss: whether the plan leaves out shared parts (shared.py)."""
    arguments = {**arguments, "_plan": packing.pack(plan)}
    try:
        reply, was_asked_once = remote.send(
            lambda: remote.execute(**arguments), FIRST_CONTACT if "_request" in arguments else transport.PATIENCE
        )
    except transport.Unreached as exc:
        raise AnsibleConnectionFailure(str(exc)) from exc
    except transport.Unanswered as exc:
        count, batch_id = len(plan["jobs"]), plan["batch_id"]
        what, they, them = ("1 job was", "It", "it") if count == 1 else (f"{count} jobs were", "They", "them")
        raise AnsibleConnectionFailure(
            f"The connection broke while {what} being launched, and did not come back: {exc} "
            f"{they} may be running. Launch again with 'batch_id: {batch_id}', which starts {them} if that was not "
            f"done, or wait with this batch_id. The id of the first job is {_planner.jid(batch_id, 0)}."
        ) from exc
    if reply.get("failed") or "async_dir" not in reply:
        raise LaunchFailed(
            _remote.failure(reply, "the host did not answer the launch. With -vvv, Ansible shows what it said instead.")
        )
    try:
        return replies.launched(reply, len(plan["jobs"]), may_miss), was_asked_once
    except replies.Malformed as exc:
        raise LaunchFailed(_remote.failure({}, _remote.malformed(exc))) from exc


def _listed(job: Job, jid: str, state: str, async_dir: str) -> Result:
    listed: Result = {
        "name": job.name,
        "ansible_job_id": jid,
        "results_file": f"{async_dir}/{jid}",
        "state": state,
    }
    if job.item is not ABSENT:
        listed["item"] = job.item
    return listed


def _target(job: Job, jid: str, async_dir: str) -> Target:
    return Target(where=job.where, jid=jid, directory=async_dir, name=job.name, item=job.item)


def single_entry(core: Core, task: object, name: object) -> list[object]:
    """Return the entry of async_run as a list of one, with the name from the option beside it."""
    try:
        task = core.resolve(task)
    except Refused as exc:
        raise Refused(f"'task': {exc}") from exc
    if isinstance(task, list):
        raise Refused("'task' must be one task (a dictionary): got a list. Use async_batch for many.")
    if not isinstance(task, dict):
        raise Refused("'task' must be a task (a dictionary), such as 'task: {ansible.builtin.command: uptime}'.")
    if "loop" in task or any(str(key).startswith("with_") for key in task):
        raise Refused("'task', key 'loop': async_run starts one job. Use async_batch for a loop.")
    for key in ("depends_on", "run_when"):
        if key in task:
            raise Refused(
                f"'task', key {key!r}: async_run starts one job. Use async_batch for jobs that depend on others."
            )
    if name is not None and task.get("name") not in (None, name):
        raise Refused("'task', key 'name': it differs from the 'name' beside 'task'. Keep one of them.")
    return [task if name is None else {**task, "name": name}]


def waiting_of(options: dict[str, t.Any]) -> WaitOptions | None:
    """Return how a task that launches waits, None if it does not."""
    return _options.of_waiter(options, "wait_timeout") if options["wait"] else None


def crowded(task_vars: Mapping[str, t.Any]) -> list[str]:
    """Return a warning if a launch that waits holds up other hosts. The text is the same for all of them, so that it is
    shown only once."""
    hosts, forks = len(task_vars.get("ansible_play_batch") or ()), task_vars.get("ansible_forks") or 0
    if not 0 < forks < hosts:
        return []
    return [
        f"There are {hosts} hosts and {forks} forks, and a launch with 'wait: true' holds a fork until the jobs of its host "
        "have ended: the jobs of other hosts start only then. Launch without it, and wait with async_wait in a later task."
    ]


def finish(core: Core, started: Launch, waiting: WaitOptions | None, module: str = "async_batch") -> Result:
    """Return the result of a task that launched, after waiting for the jobs if it asks for that."""
    result: Result = {"changed": started.changed, "jobs": started.jobs}
    if started.attached or started.preview:
        result["msg"] = started.attached or started.preview
    if started.difference:
        result["diff"] = started.difference
    if started.preview and (waiting is None or waiting.poll):
        host = str(core.task_vars.get("inventory_hostname") or "localhost")
        _remote.Remote(core.action, core.task_vars, module).say(f"[{host}] {started.preview}", [])
    if waiting:
        # With the module that launched: the host has its payload already.
        remote = _remote.Remote(core.action, core.task_vars, module)
        result.update(_remote.wait(remote, core.task_vars, started.targets, waiting, started.begun))
        if started.attached and not started.targets:
            result["msg"] = started.attached
    warnings = [*started.warnings, *(crowded(core.task_vars) if waiting else ())]
    if warnings:
        result["warnings"] = warnings + list(result.get("warnings") or ())
    hand_on_discovered_interpreter(core.action, result)
    return result
