# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Finds the variables that a value uses, without rendering it."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache

from jinja2 import Environment, TemplateSyntaxError, meta, nodes

from ansible_collections.background.jobs.plugins.plugin_utils._entries.writing import as_template
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, FILE, NAMED_FILE


class _AnyPlugin(dict[str, t.Any]):
    """Filters or tests of any name: whether they exist is checked when a template is rendered."""

    def get(self, name: str, default: object = None) -> t.Any:
        return super().get(name, _never_called)


def _never_called(*dummy: object) -> t.NoReturn:
    raise TypeError("a filter or test that stands in for another one")


def knowing_all_plugins(kind: type[Environment] = Environment) -> Environment:
    """Return an environment that parses templates whatever filters and tests they use."""
    environment = kind(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"], autoescape=True)
    environment.filters, environment.tests = _AnyPlugin(environment.filters), _AnyPlugin(environment.tests)
    return environment


ENVIRONMENT = knowing_all_plugins()
ALL_FACTS = "ansible_facts"
FACT = f"{ALL_FACTS}."
"""The prefix with which a fact's name is listed among the variables that a value uses."""
# Variables that hold all others, or much that no task has written.
HOLDERS = frozenset((ALL_FACTS, "groups", "hostvars", "vars"))
_OTHER_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
LOOKUPS = frozenset(("lookup", "query", "q"))


def find(
    value: object,
    wanted: Collection[str],
    variable: Callable[[str], object],
    is_template: Callable[[str], bool],
    expression: bool = False,
) -> list[str] | None:
    """Return how `value` uses one of the `wanted` variables: the names on the way, that one last; None if it does not.

    Follows the values of the variables that it uses, which `variable` returns. expression: a text is one, as in `when`.
    """
    waiting: list[tuple[object, list[str], bool]] = [(value, [], expression)]
    seen: set[str] = set()
    while waiting:
        value, trail, expression = waiting.pop()
        for name in sorted(_names(value, is_template, expression) - seen):
            if name in wanted:
                return [*trail, name]
            seen.add(name)
            used = ABSENT if is_held(name) else variable(name)
            if used is not ABSENT:
                waiting.append((used, [*trail, name], False))
    return None


def _names(value: object, is_template: Callable[[str], bool], expression: bool) -> set[str]:
    found: set[str] = set()
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, str):
            if is_template(inner):
                found |= _in_text(str.__str__(inner), expression)
        elif isinstance(inner, dict):
            waiting += [*inner.keys(), *inner.values()]
        elif isinstance(inner, (list, tuple)):
            waiting += inner
    return found


@lru_cache(maxsize=1000)
def _in_text(text: str, expression: bool) -> frozenset[str]:
    if not expression and "{{" not in text and "{%" not in text:
        return frozenset()
    try:
        tree = ENVIRONMENT.parse(f"{{% if {text} %}}{{% endif %}}" if expression else text)
    except TemplateSyntaxError:
        # A condition may be a template as well. Other errors are reported when it is rendered.
        return _in_text(text, False) if expression else frozenset()
    return used_in(tree)


def is_held(name: str) -> bool:
    """Whether a name stands for something that no task has written."""
    return name in HOLDERS or name.startswith(FACT)


def used_in(tree: nodes.Template) -> frozenset[str]:
    """Return the variables that a template uses, also by name in a string, and files and facts, as FILE and FACT."""
    return frozenset({*narrowed(meta.find_undeclared_variables(tree), tree), *by_name(tree)})


def narrowed(names: Collection[str], node: nodes.Node) -> Collection[str]:
    """Return the names with single facts in place of ansible_facts, if the node uses only single ones."""
    facts = set(facts_in(node)) if ALL_FACTS in names else {None}
    return names if None in facts else {*names, *(f"{FACT}{fact}" for fact in facts)} - {ALL_FACTS}


def facts_in(node: nodes.Node) -> t.Iterator[str | None]:
    """Yield the names of the facts that a node uses through ansible_facts, and None for a use of all of them."""
    named = 0
    for call in node.find_all(nodes.Call):  # ansible_facts.get('x'); the loop below skips its attribute
        if isinstance(call.node, nodes.Getattr) and _is_all_facts(call.node.node) and call.node.attr == "get":
            named += 1
            yield _text_of(call.args[0]) if call.args else None
    parts: t.Iterable[t.Any] = node.find_all((nodes.Getattr, nodes.Getitem))
    for part in parts:
        if _is_all_facts(part.node) and not _is_method(part):
            named += 1
            yield part.attr if isinstance(part, nodes.Getattr) else _text_of(part.arg)
    if sum(1 for name in node.find_all(nodes.Name) if _is_all_facts(name)) > named:
        yield None


def _is_all_facts(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == ALL_FACTS


def _is_method(part: nodes.Getattr | nodes.Getitem) -> bool:
    return isinstance(part, nodes.Getattr) and hasattr(dict, part.attr)


def _text_of(node: nodes.Node) -> str | None:
    return str(node.value) if isinstance(node, nodes.Const) else None


def by_name(tree: nodes.Node) -> t.Iterator[str]:
    """Yield the variables that are used by name in a string: vars['x'], hostvars[y].x, lookup('vars', 'x').

    And template files, as FILE with their names: lookup('template', 'x'), {% include 'x' %}; NAMED_FILE with a
    template of the name if that is one.
    """
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name in LOOKUPS and call.args:
            lookup = str(_text_of(call.args[0])).rpartition(".")[2]
            if lookup == "vars":
                yield from (str(name.value) for name in call.args[1:] if isinstance(name, nodes.Const))
            if lookup == "template":
                names = [*call.args[1:], *([call.dyn_args] if call.dyn_args else [])]
                yield from (_looked_up(name, frozenset(stored(tree))) for name in names)
    others: t.Iterable[t.Any] = tree.find_all(_OTHER_FILES)
    for other in others:
        yield from (f"{FILE}{name}" for name in _named(other.template))
    for item in tree.find_all(nodes.Getitem):
        if isinstance(item.arg, nodes.Const) and _is_holder(item.node):
            yield str(item.arg.value)
    for attribute in tree.find_all(nodes.Getattr):
        if _is_holder(attribute.node):
            yield attribute.attr


def _looked_up(name: nodes.Expr, local: Collection[str]) -> str:
    """Return FILE and the name of the file that a lookup renders; no name if it is in a variable of the template."""
    if isinstance(name, nodes.Const):
        return f"{FILE}{name.value}"
    used = nodes.Output([name]).find_all(nodes.Name)
    return FILE if any(one.name in local for one in used) else f"{NAMED_FILE}{as_template(name)}"


def stored(node: nodes.Node) -> t.Iterator[str]:
    """Yield the variables that a template sets itself, inside a node."""
    found: t.Iterator[t.Any] = iter(node.find_all((nodes.Name, nodes.Macro, nodes.CallBlock)))
    for name in found:
        if isinstance(name, nodes.Macro):
            yield name.name
        elif isinstance(name, nodes.CallBlock):
            yield "caller"
        elif name.ctx != "load":
            yield name.name
    if isinstance(node, nodes.For) or node.find(nodes.For):
        yield "loop"


def _named(node: nodes.Node) -> Collection[str]:
    """Return the names of files in an include; "" for those that are computed while it is rendered."""
    each = node.items if isinstance(node, (nodes.List, nodes.Tuple)) else [node]
    return [str(one.value) if isinstance(one, nodes.Const) else "" for one in each]


def _is_holder(node: nodes.Node) -> bool:
    """Whether a node is `vars`, or `hostvars` of a host."""
    if isinstance(node, (nodes.Getitem, nodes.Getattr)):
        return isinstance(node.node, nodes.Name) and node.node.name == "hostvars"
    return isinstance(node, nodes.Name) and node.name == "vars"


def names_of(register: object) -> list[str]:
    """Return the variables that a `register` sets."""
    return [str(name) for name in register] if isinstance(register, Mapping) else [str(register)]
