# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""From task syntax to jobs: loops, conditions, names. Templating and modules are asked of a `Language`."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.background.jobs.plugins.plugin_utils import _keys, _loops, _names, _tasks
from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused, kind, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._tasks import (
    ABSENT,
    Defaults,
    Job,
    Language,
    Scope,
    Step,
)


def expand(
    entries: object, language: Language, defaults: Defaults, option: str = "tasks"
) -> tuple[list[Job], list[str]]:
    """Return the jobs that `entries`, a list in task syntax, ask for, and warnings."""
    try:
        entries = language.resolve(entries)
    except Refused as exc:
        raise Refused(f"'{option}': {exc}") from exc
    if not isinstance(entries, (list, tuple)):
        raise Refused(f"'{option}' must be a list of tasks: got {kind(entries)}.")
    jobs: list[Job] = []
    tagged: list[str] = []
    for where, entry in _flatten(entries, language, option):
        expansion = _Entry(where, entry, language, defaults)
        jobs.extend(expansion.jobs())
        if "tags" in expansion.entry:
            tagged.append(where)
    _names.make_unique(jobs)
    return jobs, _warnings(tagged)


def _flatten(entries: t.Iterable[object], language: Language, option: str) -> t.Iterator[tuple[str, object]]:
    for index, entry in enumerate(entries):
        where = option if option == "task" else f"{option}[{index}]"
        if isinstance(entry, str):
            entry = language.resolve(entry)
            if isinstance(entry, (list, tuple)):
                yield from _flatten(entry, language, where)
                continue
        yield where, entry


def _warnings(tagged: list[str]) -> list[str]:
    if not tagged:
        return []
    more = f" and {len(tagged) - 3} more" if len(tagged) > 3 else ""
    return [
        f"'tags' is ignored in {', '.join(tagged[:3])}{more}: jobs are launched together. Put tags on the task that launches."
    ]


class _Entry:
    """One entry of `tasks`, which becomes one job, or one an item of its loop."""

    def __init__(self, where: str, entry: object, language: Language, defaults: Defaults) -> None:
        self.where = where
        # The entry, or the item of its loop, that errors are about.
        self.at = where
        self.language = language
        self.defaults = defaults
        if not isinstance(entry, Mapping):
            raise JobRefused(where, None, None, f"it must be a task (a dictionary): got {kind(entry)}.")
        self.entry = entry
        self.title = self._title()
        module = self._module()
        self.call = self._guarded(module, language.call, module, entry[module], entry.get("args", ABSENT))
        self.variables = self._variables()

    def refuse(self, key: str | None, text: str) -> JobRefused:
        return JobRefused(self.at, self.title, key, text, self.entry)

    def _guarded(self, key: str | None, function: t.Callable[..., t.Any], *args: object) -> t.Any:
        try:
            return function(*args)
        except JobRefused:
            raise
        except Refused as exc:
            raise self.refuse(key, str(exc)) from exc

    def _title(self) -> str | None:
        name = self.entry.get("name")
        if name is not None:
            return str(name)
        return next((str(key) for key in self.entry if not _keys.is_keyword(str(key))), None)

    def _module(self) -> str:
        """Return the one key that names a module; complain about every other key that isn't allowed."""
        candidates = []
        for key in self.entry:
            if not isinstance(key, str):
                raise self.refuse(str(key), "keys must be strings.")
            reason = _keys.why_refused(key)
            if reason is not None:
                raise self.refuse(key, reason)
            if key not in _keys.ALLOWED:
                candidates.append(key)
        if not candidates:
            raise self.refuse(None, "it names no module. Add one, such as 'ansible.builtin.command: ...'.")
        if len(candidates) == 1:
            return candidates[0]
        modules = [key for key in candidates if self.language.is_module(key)]
        if len(modules) > 1:
            raise self.refuse(
                modules[1],
                f"a job runs one module, and this names {len(modules)} ({', '.join(modules)}). Make them entries of their own.",
            )
        unknown = [key for key in candidates if key not in modules]
        raise self.refuse(
            unknown[0], f"neither a key of a job nor a module. Keys are: {', '.join(sorted(_keys.ALLOWED - {'args'}))}."
        )

    def _variables(self) -> dict[str, object]:
        value = self.entry.get("vars") or {}
        merged: dict[str, object] = {}
        for layer in value if isinstance(value, list) else [value]:
            if not isinstance(layer, Mapping):
                raise self.refuse("vars", f"it must be a dictionary: got {kind(layer)}.")
            merged.update(layer)
        return merged

    def jobs(self) -> t.Iterator[Job]:
        if "loop" not in self.entry:
            if "loop_control" in self.entry:
                raise self.refuse("loop_control", "there is no 'loop' that it could control.")
            yield self._job(self.where, {}, ABSENT, None)
            return
        control = self._loop_control()
        items = self._items()
        if items is None:
            return
        for index, item in enumerate(items):
            yield self._job(f"{self.where}, item {index}", _loops.variables(control, items, index), item, control)

    def _loop_control(self) -> dict[str, t.Any]:
        control = self.entry.get("loop_control") or {}
        if not isinstance(control, Mapping):
            raise self.refuse("loop_control", f"it must be a dictionary: got {kind(control)}.")
        for key in control:
            if key in _keys.LOOP_CONTROL_REFUSED:
                raise self.refuse(f"loop_control.{key}", _keys.LOOP_CONTROL_REFUSED[key])
            if key not in _keys.LOOP_CONTROL:
                raise self.refuse(
                    f"loop_control.{key}", f"unknown. Known are: {', '.join(sorted(_keys.LOOP_CONTROL))}."
                )
        scope = self.language.scope(self.variables, {})
        known = {key: self._value(control, key, scope) for key in control if key != "label"}
        for key in ("loop_var", "index_var"):
            if known.get(key) is not None and not str(known[key]).isidentifier():
                raise self.refuse(f"loop_control.{key}", f"{known[key]!r} cannot be the name of a variable.")
        return {**known, "label": control.get("label"), "loop_var": known.get("loop_var") or "item"}

    def _items(self) -> list[object] | None:
        scope = self.language.scope(self.variables, {})
        try:
            items = self.language.template(self.entry["loop"], scope)
        except Refused as exc:
            # As for a plain task: a loop that cannot be rendered does not matter where the condition is false anyway.
            if not self._is_false_without_items(scope):
                raise self.refuse("loop", str(exc)) from exc
            return None
        if not isinstance(items, (list, tuple)):
            raise self.refuse("loop", f"it must give a list: got {kind(items)}.")
        return list(items)

    def _is_false_without_items(self, scope: Scope) -> bool:
        try:
            return self._condition(scope) is not None
        except Refused:
            return False

    def _condition(self, scope: Scope) -> str | None:
        """Return the condition that is false; None where the job is to run."""
        conditions = self.entry.get("when", True)
        for condition in conditions if isinstance(conditions, list) else [conditions]:
            if not self._guarded("when", self.language.holds, condition, scope):
                return str(condition)
        return None

    def _job(self, where: str, loop: Mapping[str, object], item: object, control: Mapping[str, t.Any] | None) -> Job:
        self.at = where
        scope = self.language.scope(self.variables, loop)
        false = self._condition(scope)
        no_log = self.defaults.no_log or self._flag("no_log", scope, False)
        name, generated = self._name(scope, item, control, no_log, lenient=false is not None)
        job = Job(
            name=name,
            where=where,
            fqcn=self.call.fqcn,
            timeout=self.defaults.timeout,
            ignore_errors=False,
            no_log=no_log,
            item=ABSENT if no_log else item,
            source=self.entry,
            generated=generated,
        )
        if false is not None:
            job.skip = f"its condition was false: {false}"
            return job
        self._check_become(scope)
        timeout = self._value(self.entry, "timeout", scope)
        if timeout is not None:
            job.timeout = self._guarded("timeout", _tasks.seconds, timeout)
        job.ignore_errors = self._flag("ignore_errors", scope, False)
        job.body = [self._step(scope, job)]
        return job

    def _step(self, scope: Scope, job: Job) -> Step:
        return Step(
            call=self.call,
            scope=scope,
            name=job.name,
            where=job.where,
            source=self.entry,
            item=job.item,
            environment=self._environment(scope),
            check_mode=self._flag("check_mode", scope, self.defaults.check_mode),
            diff=self._flag("diff", scope, self.defaults.diff),
            no_log=job.no_log,
        )

    def _value(self, source: Mapping[str, object], key: str, scope: Scope) -> t.Any:
        value = source.get(key)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        rendered = self._guarded(key, self.language.template, value, scope)
        return None if rendered is ABSENT else rendered

    def _flag(self, key: str, scope: Scope, default: bool) -> bool:
        value = self._value(self.entry, key, scope)
        if value is None:
            return default
        try:
            return bool(boolean(value))
        except TypeError as exc:
            raise self.refuse(key, f"it must be true or false: got {shorten(value, 40)!r}.") from exc

    def _environment(self, scope: Scope) -> dict[str, str]:
        value = self.entry.get("environment")
        merged: dict[str, str] = {}
        for layer in value if isinstance(value, list) else [value]:
            rendered = self._guarded("environment", self.language.template, layer, scope)
            if rendered is ABSENT or rendered is None:
                continue
            if not isinstance(rendered, Mapping):
                raise self.refuse(
                    "environment", f"it must be a dictionary, or a list of them: got {kind(rendered, show=False)}."
                )
            merged.update((str(key), str(text)) for key, text in rendered.items())
        return merged

    def _check_become(self, scope: Scope) -> None:
        for key in _keys.BECOME:
            value = self._value(self.entry, key, scope)
            if value is None:
                continue
            wanted = self._flag(key, scope, False) if key == "become" else str(value)
            current = self.language.task_value(key)
            if wanted != (bool(current) if key == "become" else current):
                raise self.refuse(key, _keys.BECOME_DIFFERS)

    def _name(
        self, scope: Scope, item: object, control: Mapping[str, t.Any] | None, no_log: bool, lenient: bool
    ) -> tuple[str, bool]:
        """Return the name of the job, and whether it was made up, so that it may be changed to be unique."""
        raw = self.entry.get("name")
        try:
            name = self._value(self.entry, "name", scope)
        except Refused:
            if not lenient:
                raise
            name = raw
        if name is not None:
            name = self._guarded("name", _names.check, str(name))
        base = name or self.call.fqcn.rpartition(".")[2]
        if control is None:
            return base, name is None
        if name is not None and _names.tells_items_apart(raw, control):
            return base, False
        return f"{base} ({self._label(scope, item, control, no_log)})", True

    def _label(self, scope: Scope, item: object, control: Mapping[str, t.Any], no_log: bool) -> str:
        if no_log:
            return "item hidden"
        if control["label"] is not None:
            item = self._guarded("loop_control.label", self.language.template, control["label"], scope)
        return _names.label(item, control["loop_var"])
