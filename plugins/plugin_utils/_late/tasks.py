# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""One task of a script: its record for the host."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from functools import partial

from ansible_collections.background.jobs.plugins.plugin_utils._entries import keywords, references
from ansible_collections.background.jobs.plugins.plugin_utils._entries.values import layers
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, kind, unfit_kind
from ansible_collections.background.jobs.plugins.plugin_utils._late import arguments, local
from ansible_collections.background.jobs.plugins.plugin_utils._late.rounds import Round, TaskInRounds
from ansible_collections.background.jobs.plugins.plugin_utils._late.script_values import Value, constant
from ansible_collections.background.jobs.plugins.plugin_utils._late.view import FACTS, PINNED, VARS
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Node, Scope, Step
from ansible_collections.background.jobs.plugins.plugin_utils._plan.contents import Contents
from ansible_collections.background.jobs.plugins.plugin_utils._plan.planner import plain

_CONDITIONS = ("until", "changed_when", "failed_when")


class LateTask(TaskInRounds):
    """A task, or an include, in a job with a script."""

    # the record for the host

    def node(self, name: str | None = None) -> Node:
        """Return the record of the task; name: its job's, if the task is the whole job."""
        fqcn = self._fqcn()
        self.hidden = self.is_hidden(self.scope({}))
        record: Node = {
            "kind": "task",
            "name": name if name is not None else self._name(fqcn),
            "module": fqcn,
            "where": self.language.sources.position(self.source) or self.where,
        }
        record["turns"] = [self._turn(one, fqcn) for one in self.rounds]
        self._keep(record, fqcn)
        record.update(self._tables())
        return record

    def _fqcn(self) -> str:
        action = t.cast("str", self.action)
        if keywords.is_local(action) or (self.keys is not keywords.TASK and keywords.include_in(self.source)):
            return f"ansible.builtin.{action.rpartition('.')[2]}"
        if all(one.false is not None for one in self.rounds) and not self._can_run():
            return action
        return str(self._call().fqcn)

    def _can_run(self) -> bool:
        try:
            self.call()
        except Refused:
            if not self.language.is_module(t.cast("str", self.action), self.around.home):
                raise
            return False
        return True

    def _call(self) -> t.Any:
        return self.call()

    def _name(self, fqcn: str) -> Value:
        written = self.source.get("name")
        if written is None:
            return fqcn.rpartition(".")[2]
        return self.guarded("name", self._text_of_name, written)

    def _text_of_name(self, written: object) -> Value:
        return self.general.value(written, lenient=True)

    def _keep(self, record: Node, fqcn: str) -> None:
        """Add to the record what the host has to know of the task."""
        scope = self.scope({})
        if self.when:
            record["when"] = self.when
        self._keep_loop(record)
        self._register(record)
        for key in _CONDITIONS:
            if key in self.source:
                record[key] = self.conditions_after(key, self.source[key])
        self.keep_break(record)
        self._keep_retries(record, scope)
        for key, default in (("check_mode", self.around.defaults.check_mode), ("diff", self.around.defaults.diff)):
            record[key] = self.flag(key, scope, default)
        record.update(no_log=self.hidden)
        if ignoring := self._either("ignore_errors", boolean=True):
            record["ignore_errors"] = ignoring
        if timeout := self.seconds("timeout", scope, 0.0):
            record["timeout"] = timeout
        if notified := self._notified():
            record["notify"] = notified
        late_layers = self._environment()[1]
        if late_layers:
            record["environment"] = late_layers

    def _keep_loop(self, record: Node) -> None:
        if self.loop_key is None:
            return
        record["looped"] = True
        record.update(self.late_loop)
        if "loop_control" not in record and self.rounds and self.rounds[0].turn.control:
            record["loop_control"] = self.control_record(self.rounds[0].turn.control)

    def _register(self, record: Node) -> None:
        """Make what the task registers late from here on, even for its own conditions."""
        if "register" not in self.source:
            return
        registered = self.source["register"]
        if not isinstance(registered, str) or not registered.isidentifier():
            raise self.refuse("register", unfit_kind("it must be the name of a variable", registered))
        record["register"] = str(registered)
        self.around.flow.set([registered], self.at)
        self.general.forget()

    def _keep_retries(self, record: Node, scope: Scope) -> None:
        for key in ("retries", "delay"):
            if key in self.source and self.general.trail(self.source[key]) is not None:
                record[key] = self.guarded(key, self.general.value, self.source[key])
        if "retries" not in self.source and "until" in self.source:
            if "delay" in self.source and "delay" not in record:
                record["delay"] = self.seconds("delay", scope, 5.0)
            return
        if "retries" not in record:
            record.update((key, one) for key, one in self.retrying(scope).items() if key not in record)

    def _either(self, key: str, boolean: bool = False) -> Value:
        """Return a key of the task, its own or inherited, as a Value if it is late, else evaluated."""
        written = self.source.get(key, self.around.flags.get(key))
        if isinstance(written, str) and self.general.trail(written) is not None:
            return self.guarded(key, self.general.value, written)
        return self.flag(key, self.scope({})) if boolean else self.value(key, self.scope({}))

    def _notified(self) -> list[Value]:
        written = [*self.around.notify, *layers(self.source.get("notify"))]
        found = [self.guarded("notify", self._text_of_name, one) for one in written if one is not None]
        if any(one.false is None for one in self.rounds) and self.source.get("changed_when") is not False:
            known = [topic for one in found for topic in (one if isinstance(one, list) else [one])]
            refuse = partial(self.refuse, "notify")
            self.script.notified += [(topic, refuse) for topic in known if isinstance(topic, str)]
        return found

    def _environment(self) -> tuple[list[object], list[Value]]:
        """Return the known layers up to the first late one, and Values of all from that on."""
        written = [
            one for one in (*self.around.environment, *layers(self.source.get("environment"))) if one is not None
        ]
        first = next((index for index, one in enumerate(written) if self.general.trail(one) is not None), len(written))
        late = [self.guarded("environment", self.general.value, one) for one in written[first:]]
        return written[:first], late

    def _tables(self) -> Node:
        """Return the tables of variables that its values use, except those that depend on the item."""
        tables = self.general.tables
        for one in self.rounds:
            if one.view is self.general:
                continue
            for name in (VARS, FACTS):
                for key, value in one.view.tables[name].items():
                    if self.general.is_late(key) and not one.view.is_late(key):
                        continue  # it depends on the item
                    tables[name].setdefault(key, value)
        return self.script.indexes(tables)

    # what runs

    def _turn(self, one: Round, fqcn: str) -> Node:
        self.at = one.turn.where
        record: Node = {}
        scope = self.scope(one.turn.variables)
        if one.turn.item is not ABSENT and not self.hidden:
            record["item"] = plain(one.turn.item)
        if one.false is not None:
            record.update(skip="Conditional result was False", false_condition=plain(one.false))
        else:
            if keywords.is_local(fqcn):
                record.update(self.guarded(self.action, local.turn, self, fqcn, one))
            else:
                self._run(record, one, scope)
            if one.late:
                record["late"] = one.late
        if one.view is not self.general:
            record.update(self._pinned(one))
        return record

    def _pinned(self, one: Round) -> Node:
        """Return the variables that belong to this item of the loop only, above all its own."""
        pinned: dict[str, Value] = {name: constant(value) for name, value in one.turn.variables.items()}
        pinned.update(one.view.tables[PINNED])
        for name in (VARS, FACTS):
            for key, value in one.view.tables[name].items():
                if self.general.is_late(key) and not one.view.is_late(key):
                    pinned[key] = value
        # Expressions that all items share may use variables that depend on the item.
        return self.script.indexes({PINNED: pinned}, (PINNED,))

    def _run(self, record: Node, one: Round, scope: Scope) -> None:
        become = self.become(scope)
        call = self._call()
        defaults = self.defaults(call.fqcn, call.arguments, scope)
        late = {key: value for key, value in defaults.items() if one.view.trail(value) is not None}
        if late and local.ARGS in call.arguments:
            raise self.refuse(
                "args",
                f"they are one template, and what module_defaults adds {one.view.account(late)}. Write them one by one.",
            )
        written = arguments.Arguments(self, one, call)
        given = {
            str(key): self.guarded(self.action, written.ready, str(key), value)
            for key, value in {**late, **call.arguments}.items()
        }
        record["step"] = Step(
            call=self.language.recall(call, given),
            contents=Contents(self.script.token, one.late, written.template(scope)),
            scope=scope,
            environment=self._known_environment(scope),
            check_mode=self.flag("check_mode", scope, self.around.defaults.check_mode),
            diff=self.flag("diff", scope, self.around.defaults.diff),
            no_log=self.hidden,
            name=str(self.title or call.fqcn),
            where=self.at,
            source=self.source,
            search=self.around.home.search,
            become=become,
        )

    def _known_environment(self, scope: Scope) -> dict[str, str]:
        merged: dict[str, str] = {}
        for layer in self._environment()[0]:
            rendered = self.rendered("environment", layer, scope)
            if rendered is None:
                continue
            if not isinstance(rendered, Mapping):
                raise self.refuse(
                    "environment", f"it must be a dictionary, or a list of them: got {kind(rendered, show=False)}."
                )
            merged.update((str(key), str(text)) for key, text in rendered.items())
        return merged

    # an include

    def include(self, one: Round, body: list[Node]) -> Node:
        """Return the record of an include whose tasks run on a condition, or repeatedly."""
        self.hidden = self.is_hidden(self.scope({}))
        fqcn = self._fqcn()
        record: Node = {
            "kind": "include",
            "name": self._name(fqcn),
            "module": fqcn,
            "where": self.language.sources.position(self.source) or self.where,
            "body": body,
        }
        if self.when:
            record["when"] = self.when
        if self.late_loop:
            record.update(looped=True, **self.late_loop)
        self._register(record)
        record["no_log"] = self.hidden
        record.update(self._tables())
        if one.view is not self.general:
            record.setdefault(PINNED, {}).update(self._pinned(one).get(PINNED, {}))
        return record

    # what later tasks have to know

    def end(self) -> None:
        """Note what the task sets."""
        flow = self.around.flow
        for name in references.names_of(self.source["register"]) if "register" in self.source else ():
            flow.set([name], self.where, stronger=True)
        if any(one.false is None for one in self.rounds):
            action = t.cast("str", self.action)
            flow.gather(action, self.where)
            reads = action.rpartition(".")[2] == "include_vars"
            flow.set(local.sets(self, action), self.where, stronger=not reads)
            flow.cache(local.caches(self, action), self.where)
            if self._is_certain:
                flow.know({name: one for name, one in self.known.items() if not (reads and name in flow.stronger)})

    @property
    def _is_certain(self) -> bool:
        """Whether it is certain at launch that the task takes effect, if the host reaches it."""
        judged = self.when or self.late_loop or any(key in self.source for key in _CONDITIONS)
        unsure = self.around.uncertain or self.around.failed
        return not (judged or unsure or any(one.false is not None for one in self.rounds))
