# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The turns of a task of a script: what is known of them at launch, and what the host evaluates."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from ansible_collections.background.jobs.plugins.plugin_utils._entries import keywords, references
from ansible_collections.background.jobs.plugins.plugin_utils._entries.context import Around
from ansible_collections.background.jobs.plugins.plugin_utils._entries.loops import Turn
from ansible_collections.background.jobs.plugins.plugin_utils._entries.written import Written
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._late import local
from ansible_collections.background.jobs.plugins.plugin_utils._late.script import Script
from ansible_collections.background.jobs.plugins.plugin_utils._late.script_values import Value
from ansible_collections.background.jobs.plugins.plugin_utils._late.view import View
from ansible_collections.background.jobs.plugins.plugin_utils._model import Node, Scope
from ansible_collections.background.jobs.plugins.plugin_utils._plan.planner import plain

_LATE_LOOPS = frozenset(
    (
        "items",
        "list",
        "dict",
        "together",
        "nested",
        "cartesian",
        "subelements",
        "sequence",
        "flattened",
        "indexed_items",
    )
)


@dataclass(slots=True)
class Round:
    """One turn of a known loop, the only turn of a task without one, or a stand-in for all turns of a late loop."""

    turn: Turn
    scope: Scope
    view: View
    false: object = None
    """The condition that keeps it from running."""
    uncertain: bool = False
    late: list[Value] = field(default_factory=list)


class TaskInRounds(Written):
    """A task, or an include, in a job with a script: its turns, and which of them are known not to run."""

    def __init__(self, where: str, source: object, around: Around, keys: keywords.Keys | None = None) -> None:
        if keys is None:
            keys = keywords.of_task(source) if isinstance(source, Mapping) else keywords.TASK
        super().__init__(where, source, around, keys)
        self.script: Script = t.cast("Script", around.script)
        self.late_loop: Node = {}
        self.turning: frozenset[str] = frozenset()
        self.rounds: list[Round] = []
        self.general = self.view(self.scope({}))
        self.included: dict[str, object] = {}
        self.known: dict[str, object] = {}
        """What it sets, as far as known at launch."""

    def view(self, scope: Scope, turning: t.Iterable[str] = ()) -> View:
        around = self.around
        pinned = {*around.loop, *self.loop, *around.params, *self.language.strong()}
        return View(
            self.language,
            scope,
            around.flow,
            pinned=pinned,
            turning={*around.turning, *turning},
            failed=around.failed,
        )

    # the loop

    def begin(self) -> None:
        """Fill `rounds` with the turns of the task, and evaluate the conditions that are known."""
        key = self.loop_key
        if key is not None and self.guarded(key, self.general.trail, self.source[key]) is not None:
            self._begin_late(key)
        else:
            self._begin_known()
        if key is not None:
            self._take_for_late_what_turns_set()
        self._judge()

    def _begin_late(self, key: str) -> None:
        kind_of = key.removeprefix("with_") if key.startswith("with_") else None
        if kind_of is not None and kind_of not in _LATE_LOOPS:
            known = ", ".join(f"with_{name}" for name in sorted(_LATE_LOOPS))
            raise self.refuse(
                key,
                f"its items are known on the host only, where these loops work: {known}. Use one of them, or 'loop'.",
            )
        control = self._loop_control(late=True)
        names = {control["loop_var"], "ansible_loop_var", "ansible_loop"}
        if control.get("index_var"):
            names |= {control["index_var"], "ansible_index_var"}
        self.turning = frozenset(names)
        value = self.guarded(key, self.general.value, self.source[key])
        self.late_loop = {"loop": value, **({"with": kind_of} if kind_of else {})}
        before, self.general = self.general, self.view(self.scope({}), names)
        self.general.take(before)
        self.late_loop["loop_control"] = self.control_record(control)
        self.rounds = [Round(Turn(self.where, control=control), self.general.scope, self.general)]

    def _begin_known(self) -> None:
        turns = list(self.turns())
        if self.loop_key is None:
            scope = self.scope({})
            self.rounds = [Round(turn, scope, self.general) for turn in turns]
            return
        names = {name for turn in turns for name in turn.variables}
        self.general = self.view(self.scope({}), names)
        self.turning = frozenset(names)
        for turn in turns:
            scope = self.scope(turn.variables)
            self.rounds.append(Round(turn, scope, self.view(scope), false=turn.skip))
        self.scope({})

    def _take_for_late_what_turns_set(self) -> None:
        """Treat what turns register and set as late, because later turns of the loop see it."""
        names = references.names_of(self.source["register"]) if "register" in self.source else []
        with suppress(Refused):  # it is reported with the arguments
            names += local.sets(self, t.cast("str", self.action))
        self.around.flow.set(names, self.where)
        for view in (self.general, *(one.view for one in self.rounds)):
            view.forget()

    def control_record(self, control: Mapping[str, t.Any]) -> Node:
        keys = (*keywords.LOOP_CONTROL, "pause")
        given = {key: control[key] for key in keys if key != "label" and control.get(key) is not None}
        record = t.cast("Node", plain(given))
        if control.get("label") is not None:
            record["label"] = self.guarded("loop_control.label", self.general.value, control["label"])
        return record

    def keep_break(self, record: Node) -> None:
        """Have the host check `break_when` after each item; it may use what the task registers."""
        control = self.rounds[0].turn.control if self.rounds else None
        if control and control["break_when"] not in (None, []):
            conditions = self.conditions_after("loop_control.break_when", control["break_when"])
            record["loop_control"] = {**record["loop_control"], "break_when": conditions}

    # its conditions

    def _judge(self) -> None:
        self.when: list[list[Value]] = []
        for condition in self.conditions:
            if any(self.guarded("when", one.view.trail, condition, True) for one in self.rounds):
                value = self.guarded("when", self._condition, condition)
                self.when.append([plain(condition), value])
                for one in self.rounds:
                    one.uncertain = True
            else:
                self._judge_known(condition)

    @property
    def conditions(self) -> tuple[object, ...]:
        """Its own conditions and inherited ones; those of an import are inherited by its tasks."""
        return (*self.around.conditions, *self._own_conditions())

    def _condition(self, condition: object) -> Value:
        return self.general.value(condition, expression=True, lenient=True)

    def conditions_after(self, key: str, written: object) -> list[Value]:
        """Return conditions that the host evaluates after the task, each as written and as a Value."""
        each = written if isinstance(written, list) else [written]
        return [[plain(one), self.guarded(key, self._condition, one)] for one in each]

    def _judge_known(self, condition: object) -> None:
        for one in self.rounds:
            if one.false is not None:
                continue
            self.at = one.turn.where
            try:
                if not self.language.holds(condition, one.scope):
                    one.false = condition
            except Refused as exc:
                if not (one.uncertain or self.around.uncertain):
                    raise self.refuse("when", exc) from exc
                self.when.append([plain(condition), {"$failed": str(exc)}])
