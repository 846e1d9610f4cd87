# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The tasks inside of one job: of its block, of blocks in that, and of what they include."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.background.jobs.plugins.plugin_utils._entries import flow as flows
from ansible_collections.background.jobs.plugins.plugin_utils._entries import includes, keywords
from ansible_collections.background.jobs.plugins.plugin_utils._entries.context import Around
from ansible_collections.background.jobs.plugins.plugin_utils._entries.loops import Turn
from ansible_collections.background.jobs.plugins.plugin_utils._entries.written import Written
from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused, unfit_kind
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Block, Body, Included, Scope, Step


@dataclass(frozen=True, slots=True)
class NoCall:
    """Replaces the module call of a task that does not run."""

    fqcn: str


class StepBuilder:
    """Makes the tasks inside of one job. Errors are collected in `refused`, so that all of them can be reported."""

    def __init__(self, where: str, refused: list[JobRefused]) -> None:
        self._where = where
        self._refused = refused

    def block(self, written: Written, around: Around) -> Block:
        """Return the Block for `written`; around: what its tasks inherit from it and from around it."""
        return Block(**self.sections(written, around))

    def sections(self, written: Written, around: Around) -> dict[str, Body]:
        """Return the tasks of each section of a block."""
        sections: dict[str, Body] = {}
        for name in keywords.SECTIONS:
            sources = written.source.get(name)
            if sources is None and name != "block":
                continue
            sources = written.guarded(name, written.language.resolve, sources)
            if not isinstance(sources, (list, tuple)):
                raise written.refuse(name, unfit_kind("it must be a list of tasks", sources))
            if not sources and name == "block":
                raise written.refuse(name, "it has no tasks. Add one.")
            failed = around.failed or name != "block"
            sections[name] = self.tasks(
                sources,
                f"{written.at}{'.' if written.at == written.where else ', '}{name}",
                replace(around, failed=failed),
            )
        return sections

    def checked(self, included: Included, around: Around) -> Included:
        """Return the tasks of a role with the part of its argument specification that can be checked now."""
        return included

    def included(self, included: Included, where: str, around: Around) -> Body:
        """Return the tasks of a file, or of a role."""
        return self.tasks(included.tasks, where, around)

    def tasks(self, sources: Sequence[object], where: str, around: Around) -> Body:
        body: Body = []
        for index, source in enumerate(sources):
            position = around.language.sources.position(source) if around.home.files else None
            try:
                body += self._task(f"{self._where}, {position}" if position else f"{where}[{index}]", source, around)
            except JobRefused as exc:
                self._refused.append(exc)
        return body

    def _task(self, where: str, source: object, around: Around) -> Body:
        task = _Task(where, source, around)
        task.ask_for_script()
        if task.keys is keywords.BLOCK:
            return [self.block(task, task.inside())]
        body: Body = []
        turn = None
        for turn in task.turns():
            body += self._turn(task, turn)
        return body if turn else [task.skipped(Turn(where), task.scope({}), "its loop has no items")]

    def _turn(self, task: _Task, turn: Turn) -> Body:
        task.at = turn.where
        scope = task.scope(turn.variables)
        include = task.keys in (keywords.INCLUDE, keywords.IMPORT)
        # The condition of an import applies to each of its tasks.
        false = turn.skip if turn.skip or task.keys is keywords.IMPORT else task.false_condition(scope)
        if false is not None:
            return [task.skipped(turn, scope, false)]
        if include:
            return includes.tasks(task, scope, self, task.inside() if task.keys is keywords.IMPORT else _included(task))
        return [task.run(turn, scope)]


def _included(task: Written) -> Around:
    """Return what tasks inherit from an include: its variables and those of its loop, but no other key."""
    around = task.around
    return replace(around, params={**around.params, **task.variables}, loop={**around.loop, **task.loop})


class _Task(Written):
    """A task inside of a job."""

    def __init__(self, where: str, source: object, around: Around) -> None:
        super().__init__(
            where, source, around, keywords.of_task(source) if isinstance(source, Mapping) else keywords.TASK
        )
        self._call: t.Any = None

    def run(self, turn: Turn, scope: Scope) -> Step:
        """Return the Step that runs for one item."""
        if self._call is None:
            self._call = self.call()
        hidden = self.is_hidden(scope)
        name, dummy = self.name(scope, turn, self._call.fqcn, hidden, lenient=False)
        step = self.step(self._call, scope, ABSENT if hidden else turn.item, name, hidden)
        step.timeout = self.seconds("timeout", scope, 0.0)
        step.ignore_errors = self.flag("ignore_errors", scope)
        for key, value in self.retrying(scope).items():
            setattr(step, key, value)
        return step

    def skipped(self, turn: Turn, scope: Scope, reason: str) -> Step:
        """Return the Step for an item that does not run. Its action may be one that could not run at all."""
        action = t.cast("str", self.action)
        if self.keys is not keywords.TASK:
            action = f"ansible.builtin.{action.rpartition('.')[2]}"
        try:
            call = self.call()
        except Refused:
            if not self.language.is_module(action, self.around.home):
                raise
            call = NoCall(action)
        hidden = self.is_hidden(scope)
        return Step(
            call=call,
            scope=scope,
            environment={},
            check_mode=False,
            diff=False,
            no_log=hidden,
            name=self.name(scope, turn, call.fqcn, hidden, lenient=True)[0],
            where=self.at,
            source=self.source,
            item=ABSENT if hidden else turn.item,
            skip=reason,
        )

    def ask_for_script(self) -> None:
        """Raise NeedsScript if the host has to evaluate part of it; note the facts that it gathers."""
        if any(key in self.source for key in keywords.SCRIPTED) or keywords.is_local(self.action or ""):
            raise flows.NeedsScript
        control = self.source.get("loop_control")
        if isinstance(control, Mapping) and any(key in control for key in keywords.LOOP_CONTROL_INSIDE):
            raise flows.NeedsScript
        self.around.flow.gather(self.action or "", self.where)
