# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Turns jobs into the plan that the host carries out."""

from __future__ import annotations

import json
import secrets
import typing as t
from dataclasses import dataclass

from ansible_collections.background.jobs.plugins.module_utils._protocol import defaults, plans
from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused, combined
from ansible_collections.background.jobs.plugins.plugin_utils._model import (
    ABSENT,
    Become,
    Block,
    Job,
    Step,
    refusal_of,
)
from ansible_collections.background.jobs.plugins.plugin_utils._plan import payloads

_SECTIONS = ("block", "rescue", "always")
_DIGITS = 15

Record = dict[str, t.Any]


class Maker(t.Protocol):
    """What planning needs to know of Ansible; see _core.Core."""

    def ask(self, step: Step) -> t.Any: ...

    def complete(self, asked: t.Any, step: Step) -> dict[str, t.Any]: ...

    def overrides(self, step: Step) -> str: ...

    def build(self, asked: t.Any, arguments: dict[str, t.Any], step: Step) -> payloads.Built: ...


@dataclass(frozen=True, slots=True)
class _Known:
    """A payload that jobs share; its key is None if each job has a program of its own."""

    key: str | None
    style: str
    profile: str


# Keys that a record has only if they differ from these defaults.
_RETRIES = {"retries": 0, "delay": defaults.DELAY, "backoff": defaults.BACKOFF}
_OF_JOB = {
    "run_when": "success",
    **_RETRIES,
    "always_timeout": defaults.ALWAYS_TIMEOUT,
    "nice": None,
    "memory_max": None,
    "cpu_quota": None,
    "pool": None,
}
_OF_STEP = {"timeout": 0.0, **_RETRIES, "ignore_errors": False, "no_log": False}


def new_batch_id() -> str:
    return f"b{secrets.randbelow(10**_DIGITS):0{_DIGITS}d}"


def jid(batch_id: str, index: int) -> str:
    """Return the id of a job, in core's form (digits, a dot, digits) after a j."""
    return f"j{batch_id[1:]}.{index}"


class Planner:
    """Collects the jobs of one launch."""

    def __init__(self, maker: Maker, fork: bool = True) -> None:
        self._maker = maker
        self._fork = fork
        self._known: dict[tuple[str, str], _Known] = {}
        self._payloads: dict[str, payloads.Payload] = {}
        self._become: dict[Become, int] = {}
        self._as_others = 0  # calls that run as another user

    def plan(self, jobs: list[Job], batch_id: str, concurrency: int) -> Record:
        """Return the plan; a job that its action plugin skips is marked so in `jobs` as well."""
        records = [self._job(job) for job in jobs]
        plan = {
            "protocol": plans.PROTOCOL,
            "batch_id": batch_id,
            "concurrency": concurrency,
            "payloads": self._payloads,
            "jobs": records,
        }
        if self._become:
            plan["become"] = [{"user": one.user, "command": list(one.command)} for one in self._become]
        return plan

    def _job(self, job: Job) -> Record:
        before = self._as_others
        body = [] if job.skip else [self._node(node, job) for node in job.body]
        if job.refused:
            raise combined(job.refused)
        if not job.script and len(job.body) == 1 and isinstance(job.body[0], Step) and job.body[0].skip:
            job.skip, body = job.body[0].skip, []
        record = {
            "name": job.name,
            "module": job.fqcn,
            "timeout": job.timeout,
            "no_log": job.no_log,
            "ignore_errors": job.ignore_errors,
            "depends_on": job.depends_on,
            "skip": job.skip,
            **_unusual(job, _OF_JOB),
            "body": body,
        }
        if job.script is not None and not job.skip:
            record["script"] = self._script(job)
        if self._as_others != before:
            _refuse_limits(job)
        if job.item is not ABSENT:
            job.item = record["item"] = plain(job.item)
        return record

    def _node(self, node: Step | Block, job: Job) -> Record:
        if isinstance(node, Step):
            try:
                return self._step(node)
            except JobRefused as exc:
                job.refused.append(exc)
            except Refused as exc:
                job.refused.append(refusal_of(node, None, exc))
            return {}
        sections = {"block": node.block, "rescue": node.rescue, "always": node.always}
        return {
            name: [self._node(inner, job) for inner in section]
            for name, section in sections.items()
            if section or name == "block"
        }

    def _script(self, job: Job) -> Record:
        script = t.cast("Record", self._scripted(job.script, job))
        if job.refused:
            raise combined(job.refused)
        return script

    def _scripted(self, node: t.Any, job: Job) -> t.Any:
        """Return a part of a script with the calls of its tasks."""
        if isinstance(node, list):
            return [self._scripted(inner, job) for inner in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("step"), Step):
            return self._turn(node, job)
        inner = ("body", "handlers", "task", "turns", *_SECTIONS)
        return {key: self._scripted(value, job) if key in inner else value for key, value in node.items()}

    def _turn(self, turn: Record, job: Job) -> Record:
        step: Step = turn["step"]
        record = {key: value for key, value in turn.items() if key != "step"}
        try:
            asked = self._maker.ask(step)
            if asked.skip:
                return {**record, "skip": asked.skip}
            made = {**record, **self._calls(asked, step), "environment": step.environment}
            _check_tokens(made, t.cast("Record", job.script)["token"])
            return made
        except JobRefused as exc:
            job.refused.append(exc)
        except Refused as exc:
            job.refused.append(refusal_of(step, None, exc))
        return record

    def _step(self, step: Step) -> Record:
        """Return the record of a step; if its action plugin skips it, it is marked so in `step` as well."""
        record: Record = {"name": step.name, "module": step.call.fqcn, "calls": []}
        if step.item is not ABSENT:
            record["item"] = plain(step.item)
        if step.skip:
            return {**record, "skip": step.skip}
        asked = self._maker.ask(step)
        if asked.skip:
            step.skip = asked.skip
            return {**record, "skip": step.skip}
        return {**record, **self._calls(asked, step), "environment": step.environment, **_unusual(step, _OF_STEP)}

    def _calls(self, asked: t.Any, step: Step) -> Record:
        """Return the calls of a step's record: one module, or a recipe and the calls that it chooses from."""
        record: Record = {"calls": [self._call(call, step) for call in asked.calls or (asked,) if call.module]}
        recipe, staged = asked.recipe, list(asked.staged)
        if step.contents is not None and step.contents.render:
            recipe, staged = step.contents.swapped(recipe), step.contents.left(staged)
            record["render"] = step.contents.render
        if recipe is not None:
            record["recipe"] = recipe
        if staged:
            record["staged"] = staged
        return record

    def _call(self, asked: t.Any, step: Step) -> Record:
        if asked.module == payloads.COMMAND:
            payload, params = payloads.command(), json.dumps(asked.arguments)
            key = payloads.key_of(payload)
            self._payloads[key] = payload
        else:
            key, params = self._payload(asked, self._maker.complete(asked, step), step)
        call = {"module": asked.module, "payload": key, "params": params}
        if step.become is not None:
            self._as_others += 1
            call["become"] = self._become.setdefault(step.become, len(self._become))
        return call

    def _payload(self, asked: t.Any, arguments: dict[str, t.Any], step: Step) -> tuple[str, str]:
        if step.contents is not None:
            arguments = step.contents.swapped(arguments)
        group = (asked.module, self._maker.overrides(step))
        known = self._known.get(group)
        if known is not None and known.key is not None:
            encoded = payloads.encode(known.style, known.profile, arguments)
            return known.key, encoded if known.style == "new" else payloads.args_file(known.style, encoded, arguments)
        built = self._maker.build(asked, arguments, step)
        payload, params = payloads.split(built, payloads.encode(built.style, built.profile, arguments), arguments)
        key = payloads.key_of(payload)
        self._payloads[key] = payload if self._fork else {**payload, "fork": False}
        self._known[group] = _Known(None if payload["style"] == "text" else key, built.style, built.profile)
        return key, params


def _refuse_limits(job: Job) -> None:
    for key in ("memory_max", "cpu_quota"):
        if getattr(job, key) is not None:
            raise JobRefused(job.where, job.name, key, _LIMITED, job.source)


_LIMITED = (
    "the host can enforce it only for tasks that run as the user of the launch. "
    "Launch the job with a task that becomes that user, or leave out the limit."
)


def _check_tokens(turn: Record, token: str) -> None:
    """Raise Refused if an action plugin has used up a late value, so that its token is gone."""
    if not turn.get("late") or "checked" in turn.get("recipe", ()):  # a script in check mode, which is not run
        return
    text = json.dumps([turn.get(key) for key in ("calls", "recipe", "environment", "render")])
    for number in range(len(turn["late"])):
        if f"{token}_{number}_" not in text and "render" not in turn:
            raise Refused(_USED_UP)


_USED_UP = (
    "its action plugin uses an argument on the controller that is known on the host only, while the job runs. "
    "Use tasks with 'when' for each case, or launch the rest after an async_wait."
)


def _unusual(node: Job | Step, defaults: t.Mapping[str, object]) -> Record:
    """Return those values of a job or a step that differ from the default."""
    values = {key: getattr(node, key) for key in defaults if node.retries or key not in ("delay", "backoff")}
    return {key: value for key, value in values.items() if value != defaults[key]}


def plain(value: object) -> object:
    """Return an item of a loop as plain JSON, free of the tags that Ansible puts on values."""
    if type(value) in (int, float, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    return json.loads(json.dumps(value, default=str))
