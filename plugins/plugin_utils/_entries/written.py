# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""A task, a block or an include as written in the playbook."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ansible_collections.background.jobs.plugins.plugin_utils._entries import keywords, loops, names
from ansible_collections.background.jobs.plugins.plugin_utils._entries.context import Around
from ansible_collections.background.jobs.plugins.plugin_utils._entries.loops import Turn
from ansible_collections.background.jobs.plugins.plugin_utils._entries.values import Values, layers
from ansible_collections.background.jobs.plugins.plugin_utils._errors import (
    JobRefused,
    Refused,
    kind,
    nearest,
    shorten,
    unfit_kind,
)
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Scope, Step, seconds

LEFT_OUT = "its tags, --tags and --skip-tags keep it from running"
NEVER = "its tag 'never' keeps it from running"
# Keys of loop_control that are evaluated for each item, and not before the loop.
_AT_ITS_ITEM = ("break_when", "label")
_NOT_OF_INCLUDE = (
    "the items of an include are worked out before its tasks run. Put it on a loop of the tasks in the file."
)


class Written(Values):
    """A task, a block or an include as written, and what it inherits from around it."""

    def __init__(self, where: str, source: object, around: Around, keys: keywords.Keys) -> None:
        super().__init__(where, source, around)
        self.keys = keys
        self.title = self._title()
        self.action = self._action()
        self.variables = self._variables()
        self.tags = around.tags
        if "tags" in self.source:
            self.tags += _tags(self.source["tags"])
        self.loop_key = self._loop_key()

    def _loop_key(self) -> str | None:
        """Return the key that defines the loop: `loop`, or a with_<lookup>."""
        found = [key for key in self.source if keywords.is_loop(key)]
        if len(found) > 1:
            raise self.refuse(
                found[1], f"there is {found[0]!r} as well, but a task has only one loop. Keep one of them."
            )
        return found[0] if found else None

    @property
    def is_left_out(self) -> bool:
        """Whether its tags keep it from running."""
        return self.language.is_left_out(self.tags)

    def _title(self) -> str | None:
        name = self.source.get("name")
        if name is not None:
            return str(name)
        return next((str(key) for key in self.source if not self.keys.is_keyword(str(key))), None)

    def _action(self) -> str | None:
        """Return the one key that names a module, or an include; refuse other keys that are not allowed."""
        candidates = []
        for key in self.source:
            if not isinstance(key, str):
                raise self.refuse(str(key), "it is not a string, and keys must be strings. Put it in quotes.")
            reason = self.keys.why_refused(key)
            if reason is not None:
                raise self.refuse(key, reason)
            if not self.keys.allows(key):
                candidates.append(key)
        if "block" in self.keys.allowed:
            if candidates:
                raise self._odd(candidates)
            return None
        if not candidates:
            raise self.refuse(None, "it names no module. Add one, such as 'ansible.builtin.command: ...'.")
        if len(candidates) > 1:
            raise self._odd(candidates)
        return candidates[0]

    def _odd(self, candidates: list[str]) -> JobRefused:
        noun = self.keys.noun
        modules = [key for key in candidates if self.language.is_module(key, self.around.home)]
        if modules and "block" in self.keys.allowed:
            return self.refuse(
                modules[0], "a block runs the tasks in it, and no module of its own. Move the module into the block."
            )
        if len(modules) > 1:
            each = "entries" if noun == "job" else "tasks"
            return self.refuse(
                modules[1],
                f"a {noun} runs one module, but this one names {len(modules)} ({', '.join(modules)}). Make them separate {each}.",
            )
        unknown = [key for key in candidates if key not in modules]
        known = ", ".join(sorted(self.keys.allowed - {"args"}))
        hint = nearest(
            unknown[0],
            [*self.keys.allowed, *self.keys.refused],
            also=self.language.modules_like(unknown[0], self.around.home),
        )
        return self.refuse(unknown[0], f"neither a key of a {noun} nor a module.{hint} Keys are: {known}.")

    def _variables(self) -> dict[str, object]:
        value = self.source.get("vars") or {}
        merged: dict[str, object] = {}
        for layer in value if isinstance(value, list) else [value]:
            if not isinstance(layer, Mapping):
                raise self.refuse("vars", unfit_kind("it must be a dictionary", layer))
            merged.update(layer)
        return merged

    def inside(self, keys: Sequence[str] = keywords.INHERITED) -> Around:
        """Return what the tasks in this block, or in this import, inherit from it and from around it."""
        around = self.around
        return replace(
            around,
            variables={**around.variables, **self.variables},
            loop={**around.loop, **self.loop},
            flags={**around.flags, **{key: self.source[key] for key in keys if key in self.source}},
            environment=(*around.environment, *layers(self.source.get("environment"))),
            conditions=(*around.conditions, *self._own_conditions()),
            tags=self.tags,
            notify=(*around.notify, *layers(self.source.get("notify"))),
        )

    def turns(self) -> Iterator[Turn]:
        """Yield a Turn for each item of the loop, or a single one without a loop."""
        if self.loop_key is None:
            if "loop_control" in self.source:
                raise self.refuse("loop_control", "there is no 'loop' for it to control.")
            yield Turn(self.where)
            return
        control = self._loop_control()
        items = self._items()
        if isinstance(items, str):
            yield Turn(self.where, skip=items)
            return
        for index, item in enumerate(items):
            yield Turn(f"{self.where}, item {index}", loops.variables(control, items, index), item, control)

    def _loop_control(self, late: bool = False) -> dict[str, t.Any]:
        """Return the rendered keys of loop_control. late: the host loops over the items, and can act between them."""
        control = self.source.get("loop_control") or {}
        if not isinstance(control, Mapping):
            raise self.refuse("loop_control", unfit_kind("it must be a dictionary", control))
        self._check_loop_control(control, inside=late or self.around.flow is not None)
        scope = self.scope({})
        rendered = {
            key: self.rendered(f"loop_control.{key}", value, scope)
            for key, value in control.items()
            if key not in _AT_ITS_ITEM
        }
        for key in ("loop_var", "index_var"):
            if rendered.get(key) is not None and not str(rendered[key]).isidentifier():
                raise self.refuse(f"loop_control.{key}", _no_variable(rendered[key]))
        if rendered.get("pause") is not None:
            rendered["pause"] = self.guarded("loop_control.pause", seconds, rendered["pause"])
        as_written = {key: control.get(key) for key in _AT_ITS_ITEM}
        return {**rendered, **as_written, "loop_var": rendered.get("loop_var") or "item"}

    def _check_loop_control(self, control: Mapping[t.Any, object], inside: bool) -> None:
        possible = keywords.LOOP_CONTROL_INSIDE if inside else ()
        for key in control:
            if key == "break_when" and inside and self.keys is keywords.INCLUDE:
                raise self.refuse(f"loop_control.{key}", _NOT_OF_INCLUDE)
            if key in keywords.LOOP_CONTROL_REFUSED and key not in possible:
                raise self.refuse(f"loop_control.{key}", keywords.LOOP_CONTROL_REFUSED[key])
            if key not in keywords.LOOP_CONTROL and key not in possible:
                known = ", ".join(sorted((*keywords.LOOP_CONTROL, *possible)))
                hint = nearest(key, [*keywords.LOOP_CONTROL, *keywords.LOOP_CONTROL_REFUSED])
                raise self.refuse(f"loop_control.{key}", f"unknown.{hint} Options are: {known}.")

    def _items(self) -> list[object] | str:
        """Return the items; if the loop cannot be rendered, but a condition is false anyway, return that condition."""
        scope = self.scope({})
        key = t.cast("str", self.loop_key)
        try:
            self.check_references(key, self.source[key], scope)
            if key == "loop":
                items = self.language.template(self.source[key], scope)
            else:
                items = self.language.looked_up(key.removeprefix("with_"), self.source[key], scope)
        except Refused as exc:
            false = self._false_without_items(scope)
            if false is not None:
                return false
            raise exc if isinstance(exc, JobRefused) else self.refuse(key, exc) from exc
        if not isinstance(items, (list, tuple)):
            raise self.refuse(key, unfit_kind("it must give a list", items))
        return list(items)

    def _false_without_items(self, scope: Scope) -> str | None:
        try:
            return self.false_condition(scope)
        except Refused:
            return None

    def _own_conditions(self) -> list[object]:
        conditions = self.source.get("when", True)
        return conditions if isinstance(conditions, list) else [conditions]

    def false_condition(self, scope: Scope) -> str | None:
        """Return the first condition that is false, in words; None if the task has to run."""
        if self.is_left_out:
            return LEFT_OUT if "never" not in self.tags else NEVER
        if self.is_for_another_host(scope):
            return f"it runs once, on {self.language.runs_once_on()}"
        for condition in (*self.around.conditions, *self._own_conditions()):
            self.check_references("when", condition, scope, expression=True)
            if not self.guarded("when", self.language.holds, condition, scope):
                return f"its condition was false: {condition}"
        return None

    def call(self) -> t.Any:
        module = t.cast("str", self.action)
        args = self.source.get("args", ABSENT)
        return self.guarded(module, self.language.call, module, self.source[module], args, self.around.home)

    def step(self, call: t.Any, scope: Scope, item: object, name: str, no_log: bool) -> Step:
        """Return the Step for one item, without what belongs to a job, such as its time limit."""
        module = t.cast("str", self.action)
        self.check_references(module, self.source[module], scope)
        self.check_references("args", self.source.get("args"), scope)
        if self.around.flow is not None:
            self._check_what_it_reads(call, scope)
        return Step(
            call=call,
            scope=scope,
            environment=self.environment(scope),
            check_mode=self.flag("check_mode", scope, self.around.defaults.check_mode),
            diff=self.flag("diff", scope, self.around.defaults.diff),
            no_log=no_log,
            name=name,
            where=self.at,
            source=self.source,
            item=item,
            search=self.around.home.search,
            become=self.become(scope),
        )

    def defaults(self, fqcn: str, given: Mapping[str, object], scope: Scope) -> dict[str, object]:
        """Return what module_defaults adds to the arguments of a task, as written."""
        found = self.guarded("module_defaults", self.language.argument_defaults, fqcn, scope)
        return {key: value for key, value in found.items() if key not in given}

    def _check_what_it_reads(self, call: t.Any, scope: Scope) -> None:
        """Raise NeedsScript, or refuse, if module_defaults, or the file of a `template`, use what only the host knows."""
        self.check_references("module_defaults", self.defaults(call.fqcn, call.arguments, scope), scope)
        try:
            found = self.language.template_file(call, call.arguments, scope)
        except Refused:
            return  # it is reported when the arguments are rendered
        if found is not None:
            text, dummy, own = found
            self.check_references(t.cast("str", self.action), self.language.trusted(text), {**scope, **own})

    def base_name(self, scope: Scope, fallback: str, lenient: bool) -> tuple[str, bool]:
        """Return the rendered name, and whether it was given; if not, it is the last word of `fallback`."""
        try:
            name = self.value("name", scope)
        except Refused:
            if not lenient:
                raise
            name = self.source.get("name")
        if name is not None:
            return self.guarded("name", names.check, str(name)), True
        return fallback.rpartition(".")[2], False

    def name(self, scope: Scope, turn: Turn, fallback: str, no_log: bool, lenient: bool) -> tuple[str, bool]:
        """Return the name for one item, and whether it is generated, so that it may be changed to be unique."""
        base, given = self.base_name(scope, fallback, lenient)
        if turn.control is None:
            return base, not given
        if given and names.tells_items_apart(self.source["name"], turn.control):
            return base, False
        return f"{base} ({self._label(scope, turn.item, turn.control, no_log)})", True

    def _label(self, scope: Scope, item: object, control: Mapping[str, t.Any], no_log: bool) -> str:
        if no_log:
            return "item hidden"
        if control["label"] is not None:
            item = self.rendered("loop_control.label", control["label"], scope)
        return names.label(item, control["loop_var"])


def _no_variable(name: object) -> Refused:
    said = "cannot be the name of a variable."
    return Refused(f"{shorten(name, 80)!r} {said}", f"{kind(name, show=False)} that {said}")


def _tags(value: object) -> tuple[str, ...]:
    given = value if isinstance(value, (list, tuple)) else [value]
    return tuple(tag.strip() for text in given for tag in str(text).split(","))
