# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Tasks that need no module: the host carries them out itself."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping

from ansible_collections.background.jobs.plugins.plugin_utils._entries import keywords
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._late.script_values import Value, is_constant
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Node

if t.TYPE_CHECKING:
    from ansible_collections.background.jobs.plugins.plugin_utils._late.rounds import Round, TaskInRounds

ARGS = "_variable_params"
"""The argument that stands for `args` if that is one template."""
_METAS = ("flush_handlers", "noop", "end_role")


def turn(task: TaskInRounds, fqcn: str, one: Round) -> Node:
    """Return the turn, carried out by the host itself, for one item."""
    name = fqcn.rpartition(".")[2]
    given = _arguments(task, one)
    if name == "include_vars":
        return {"local": name, "args": _read(task, one, given)}
    if name == "meta":
        return {"local": name, "args": _meta(task, given)}
    if name == "pause":
        _refuse_prompt(given)
    lenient = one.uncertain or task.around.uncertain
    special: dict[str, t.Any] = {"assert": {"that": _that}, "debug": {"var": _var}}.get(name, {})
    if name == "set_fact":
        _refuse_late_names(one, given)
    args: dict[str, Value] = {}
    for key, value in given.items():
        key = str(task.language.template(key, one.scope))
        args[key] = special[key](one, value) if key in special else one.view.value(value, lenient=lenient)
        if name == "set_fact" and is_constant(args[key]) and one.view.trail(value) is None:
            task.known[key] = task.language.template(value, one.scope)
    return {"local": name, "args": args}


def _arguments(task: TaskInRounds, one: Round) -> dict[str, t.Any]:
    action = t.cast("str", task.action)
    given = task.language.arguments(action, task.source[action], task.source.get("args", ABSENT))
    whole = given.pop(ARGS, None)
    if whole is not None:
        if one.view.trail(whole) is not None:
            raise late_as_a_whole(one, whole)
        given = {**task.language.template(whole, one.scope), **given}
    name = action.rpartition(".")[2]
    if name == "meta":
        return given
    return {**task.defaults(f"ansible.builtin.{name}", given, one.scope), **given}


def late_as_a_whole(one: Round, whole: object) -> Refused:
    return Refused(
        f"its arguments as a whole cannot be one template that {one.view.account(whole)}. Write them one by one."
    )


def _that(one: Round, value: object) -> Value:
    conditions = value if isinstance(value, list) else [value]
    return [[str(each), one.view.value(each, expression=True, lenient=True)] for each in conditions]


def _var(one: Round, value: object) -> Value:
    return one.view.expression(str(value))


def _meta(task: TaskInRounds, given: Mapping[str, t.Any]) -> str:
    what = str(given.get("_raw_params"))
    if what == "flush_handlers":
        task.around.flow.known.clear()  # handlers may change the values
    if what not in _METAS:
        raise Refused(
            f"'meta: {what}' steers the play on the controller. A job supports: {', '.join(_METAS)}. "
            "Put it in the play, outside of the jobs."
        )
    return what


def _refuse_prompt(given: Mapping[str, t.Any]) -> None:
    if given.get("seconds") is None and given.get("minutes") is None:
        raise Refused("nobody can answer a 'pause' in a job. Give it 'seconds' or 'minutes', or put it into the play.")


def _refuse_late_names(one: Round, given: Mapping[str, t.Any]) -> None:
    for name in given:
        if one.view.trail(name) is not None:
            raise Refused(
                f"the name of the variable {one.view.account(name)}. Use one variable that holds a dictionary with such keys."
            )


def _read(task: TaskInRounds, one: Round, given: Mapping[str, t.Any]) -> Node:
    """Return the arguments with the variables of include_vars: files are read at launch, even with late values in them."""
    for key, value in given.items():
        if one.view.trail(value) is not None:
            raise Refused(
                f"its option {key!r} {one.view.account(value)}, and files of variables are read at launch. "
                "Use an include_vars with 'when' for each file."
            )
    rendered = {key: task.language.template(value, one.scope) for key, value in given.items()}
    files, data = task.language.read_variables(rendered, task.around.home, one.scope)
    weaker = [name for name in data if name in task.language.set_before()]
    new = {name: value for name, value in data.items() if name not in weaker}
    task.included.update(new)
    task.known.update(new)
    read: Node = {
        "files": files,
        "data": {str(key): one.view.value(value, lenient=True) for key, value in data.items()},
    }
    return {**read, "weaker": weaker} if weaker else read


def caches(task: TaskInRounds, action: str) -> Iterator[str]:
    """Yield those variables set by a task of this action that become facts of the host."""
    if action.rpartition(".")[2] == "set_fact" and any("cacheable" in _arguments(task, one) for one in task.rounds):
        yield from sets(task, action)


def sets(task: TaskInRounds, action: str) -> Iterator[str]:
    """Yield the names of the variables that a task of this action sets."""
    leaf = action.rpartition(".")[2]
    if not keywords.is_local(action):
        return
    if leaf == "include_vars":
        yield from (str(name) for name in task.included)
    if leaf == "set_fact":
        for one in task.rounds:
            scope = one.scope
            names = (name for name in _arguments(task, one) if name != "cacheable")
            yield from (str(task.language.template(name, scope)) for name in names)
