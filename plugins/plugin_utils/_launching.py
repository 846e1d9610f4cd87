# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What async_run and async_batch have in common: from options to started jobs, waited for or not."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.background.jobs.plugins.module_utils import _blob, _states
from ansible_collections.background.jobs.plugins.plugin_utils import _options, _plan, _tasks
from ansible_collections.background.jobs.plugins.plugin_utils._core import Core
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._selection import Target
from ansible_collections.background.jobs.plugins.plugin_utils._tasks import ABSENT, Defaults, Job

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

Result = dict[str, t.Any]


@dataclass(slots=True)
class Launch:
    """A batch that was started."""

    batch_id: str
    jobs: list[Result]
    targets: list[Target]
    changed: bool
    warnings: list[str]


class LaunchFailed(Exception):
    """The host did not take the batch; `result` is what it said."""

    def __init__(self, result: Result) -> None:
        super().__init__(str(result.get("msg", "")))
        self.result = result


def defaults_of(action: ActionBase, timeout: float) -> Defaults:
    """Return what the jobs take from the task that launches them."""
    task = action._task
    return Defaults(timeout=timeout, check_mode=bool(task.check_mode), diff=bool(task.diff), no_log=bool(task.no_log))


def launch(
    action: ActionBase,
    task_vars: dict[str, t.Any],
    entries: object,
    defaults: Defaults,
    concurrency: int = 0,
    module: str = "async_batch",
) -> Launch:
    """Start the jobs that `entries` ask for, all or none; raise Refused or LaunchFailed where nothing was started."""
    core = Core(action, task_vars)
    jobs, warnings = _tasks.expand(entries, core, defaults)
    if not jobs:
        return Launch(batch_id="", jobs=[], targets=[], changed=False, warnings=warnings)
    batch_id = _plan.new_batch_id()
    plan = _plan.Planner(core).plan(jobs, batch_id, concurrency)
    reply = _send(action, task_vars, plan)
    return Launch(
        batch_id=batch_id,
        jobs=[_listed(job, _plan.jid(batch_id, index), reply["async_dir"]) for index, job in enumerate(jobs)],
        targets=[_target(job, _plan.jid(batch_id, index), reply["async_dir"]) for index, job in enumerate(jobs)],
        changed=any(job.skip is None for job in jobs),
        warnings=warnings + list(reply.get("warnings") or ()),
    )


def _send(action: ActionBase, task_vars: dict[str, t.Any], plan: Result) -> Result:
    arguments = {**_options.SMALLEST["async_batch"], "_plan": _blob.pack(plan), "_async_dir": _options.async_dir(action)}
    try:
        reply = action._execute_module("background.jobs.async_batch", arguments, task_vars=task_vars)
    except AnsibleConnectionFailure as exc:
        raise AnsibleConnectionFailure(
            f"The connection broke while {len(plan['jobs'])} jobs were being launched, and they may be running: "
            f"look for {_plan.jid(plan['batch_id'], 0)} and those after it with async_wait."
        ) from exc
    if reply.get("failed") or reply.get("unreachable") or "async_dir" not in reply:
        reply.setdefault("msg", "the host gave no answer to the launch")
        raise LaunchFailed({**reply, "failed": True, "changed": False})
    return reply


def _listed(job: Job, jid: str, async_dir: str) -> Result:
    listed: Result = {
        "name": job.name,
        "ansible_job_id": jid,
        "results_file": f"{async_dir}/{jid}",
        "state": _states.SKIPPED if job.skip else _states.QUEUED,
    }
    if job.item is not ABSENT:
        listed["item"] = job.item
    return listed


def _target(job: Job, jid: str, async_dir: str) -> Target:
    return Target(where=job.where, jid=jid, directory=async_dir, name=job.name, item=job.item)


def single_entry(task: object, name: object, language: Core) -> list[object]:
    """Return the entry of async_run, with the name that stands beside it, as a list of one."""
    task = language.resolve(task)
    if isinstance(task, list):
        raise Refused("'task' must be one task (a dictionary): got a list. Use async_batch for many.")
    if not isinstance(task, dict):
        raise Refused("'task' must be a task (a dictionary), such as 'task: {ansible.builtin.command: uptime}'.")
    if "loop" in task or any(str(key).startswith("with_") for key in task):
        raise Refused("'task', key 'loop': async_run starts one job. Use async_batch for a loop.")
    if name is not None and task.get("name") not in (None, name):
        raise Refused("'task', key 'name': 'name' beside 'task' says otherwise. Keep one of them.")
    return [task if name is None else {**task, "name": name}]
