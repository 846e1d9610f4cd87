# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The variables that one task sees, and the results of its templates: values if all is known, else Values for the script."""

from __future__ import annotations

import hashlib
import typing as t
from collections.abc import Collection, Iterable, Mapping

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_TESTS

from ansible_collections.background.jobs.plugins.module_utils._late.names import KNOWN_FILTERS, KNOWN_TESTS
from ansible_collections.background.jobs.plugins.module_utils._late.names import plain as short_name
from ansible_collections.background.jobs.plugins.plugin_utils._entries import references, writing
from ansible_collections.background.jobs.plugins.plugin_utils._entries.flow import Flow, Late
from ansible_collections.background.jobs.plugins.plugin_utils._entries.references import ALL_FACTS
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._late import expressions
from ansible_collections.background.jobs.plugins.plugin_utils._late.script_values import Value, constant
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, FILE, Language, Scope

_FILTERS = KNOWN_FILTERS | frozenset(DEFAULT_FILTERS)
_TESTS = KNOWN_TESTS | frozenset(DEFAULT_TESTS)
# Filters that take the name of another filter, or of a test, with the position of that argument.
_NAMING_FILTERS = {"map": 0}
_NAMING_TESTS = {"select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}
_TOO_MUCH = frozenset(("hostvars", "vars"))
_AS_TEXT = (nodes.For, nodes.FilterBlock, nodes.With, nodes.CallBlock, nodes.If)

Trail = list[str]
VARS, PINNED, FACTS = "vars", "pinned", "facts"


class View:
    """What is known at a task, and what is late there. pinned, turning, failed: see flow.Late."""

    def __init__(
        self,
        language: Language,
        scope: Scope,
        flow: Flow,
        *,
        pinned: Collection[str] = (),
        turning: Collection[str] = (),
        failed: bool = False,
    ) -> None:
        self.language = language
        self.scope = scope
        self._flow = flow
        self._pinned = pinned
        self._turning = turning
        self._set = Late(flow, language, scope, pinned=pinned, turning=turning, failed=failed)
        self._late: dict[str, bool] = {}
        self._facts: set[str] | None = set()
        self.tables: dict[str, dict[str, Value]] = {VARS: {}, PINNED: {}, FACTS: {}}

    def take(self, other: View) -> None:
        """Include the variables that `other` needs in those that are sent."""
        for name, table in other.tables.items():
            self.tables[name].update(table)

    def forget(self) -> None:
        """Forget what is late, because the job has set more."""
        self._late.clear()

    # what is late

    def is_set(self, name: str) -> bool:
        """Whether the job itself sets a variable, or may do so."""
        return name in self._set

    def _raw(self, name: str) -> object:
        return self.language.variable(name, self.scope)

    def trail(self, value: object, expression: bool = False) -> Trail | None:
        """Return how a value uses something late: the names on the way; None if it does not."""
        return references.find(value, self._set, self._raw, self.language.is_template, expression)

    def is_late(self, name: str) -> bool:
        """Whether a variable is set by the job, or uses one that is."""
        if name not in self._late:
            raw = ABSENT if references.is_held(name) else self._raw(name)
            self._late[name] = self.is_set(name) or (raw is not ABSENT and self.trail(raw) is not None)
        return self._late[name]

    # values for the script

    def value(self, value: object, expression: bool = False, lenient: bool = False) -> Value:
        """Return the Value for a value as written. lenient: what cannot be rendered now fails when it is used."""
        if self.trail(value, expression) is None:
            return self._known(value, expression, lenient)
        if isinstance(value, str):
            return self._text(value, expression)
        if isinstance(value, Mapping):
            return self._mapping(value, lenient)
        return [self.value(one, expression, lenient) for one in t.cast("list[object]", value)]

    def _known(self, value: object, expression: bool, lenient: bool) -> Value:
        try:
            if expression:
                return self.language.holds(value, self.scope)
            return constant(self.language.template(value, self.scope))
        except Refused as exc:
            if not lenient:
                raise
            if expression and isinstance(value, str):
                return self._text(value, expression)  # it fails on the host, as it would here
            return {"$undefined": str(exc)}

    def _mapping(self, value: Mapping[t.Any, object], lenient: bool) -> Value:
        pairs = [(self.value(key, lenient=lenient), self.value(one, lenient=lenient)) for key, one in value.items()]
        if all(isinstance(key, str) for key, dummy in pairs):
            return dict(pairs)
        return {"$items": [[key, one] for key, one in pairs]}

    def expression(self, text: str) -> Value:
        """Return the Value for an expression that the host evaluates in any case."""
        return self._text(text, expression=True)

    def _text(self, text: str, expression: bool) -> Value:
        written = str.__str__(text)
        # A condition may be a template as a whole.
        if expression and written.strip().startswith("{{"):
            expression = False
        parsed = expressions.parse(written, expression)
        if parsed is None:
            raise Refused(f"it cannot be read as a template: {shorten(written, 80)}.")
        if self._needs_controller(parsed.tree):
            parsed.tree.body = [self._ahead(node, parsed) for node in parsed.tree.body]
            written = parsed.text
        self._need(parsed.tree)
        return {"$expr": written} if expression else {"$template": written}

    def file(self, text: str, options: Mapping[str, t.Any]) -> Value | None:
        """Return the record for a template file that uses late values; None for one that does not."""
        try:
            parsed, known = expressions.file_of(text, options)
        except (TemplateSyntaxError, ValueError, SyntaxError):
            return None  # core reports it
        used = references.used_in(parsed.tree)
        if not any(self.is_late(name) for name in used):
            return None
        if not expressions.stands_alone(parsed.tree):
            raise Refused(
                f"its template {self._account_of(used)}, and such a template cannot include or import another "
                "file, which is not there. Write it as one file."
            )
        if self._needs_controller(parsed.tree):
            parsed.tree.body = [self._ahead(node, parsed) for node in parsed.tree.body]
            text = parsed.text
            options = {"newline_sequence": known.get("newline_sequence", "\n"), "trim_blocks": True}
        self._need(parsed.tree)
        return {"text": text, "options": dict(options)}

    # parts that the controller evaluates ahead

    def _needs_controller(self, node: nodes.Node) -> bool:
        kinds = (nodes.Filter, nodes.Test, nodes.Name, nodes.Call)
        return self._why_controller(node) is not None or any(self._why_controller(one) for one in node.find_all(kinds))

    def _why_controller(self, node: nodes.Node) -> str | None:
        if isinstance(node, nodes.Filter):
            return self._why_filter(node)
        if isinstance(node, nodes.Test) and short_name(node.name) not in _TESTS:
            return f"the test {node.name!r}"
        if isinstance(node, nodes.Name) and node.ctx == "load" and node.name in references.HOLDERS:
            return None if node.name == ALL_FACTS and self.is_set(ALL_FACTS) else f"{node.name!r}"
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in references.LOOKUPS:
            name = node.args[0].value if node.args and isinstance(node.args[0], nodes.Const) else "?"
            return f"the lookup {name!r}"
        return None

    def _why_filter(self, node: nodes.Filter) -> str | None:
        name = short_name(node.name)
        if name not in _FILTERS:
            return f"the filter {node.name!r}"
        named = _argument(node, _NAMING_FILTERS.get(name))
        if named is not None and short_name(named) not in _FILTERS:
            return f"the filter {named!r}"
        tested = _argument(node, _NAMING_TESTS.get(name))
        return f"the test {tested!r}" if tested is not None and short_name(tested) not in _TESTS else None

    def _ahead(self, node: nodes.Node, parsed: expressions.Parsed | expressions.ParsedFile) -> nodes.Node:
        """Return a part of a template in which the parts that need the controller are replaced by their values."""
        if not self._needs_controller(node):
            return node
        if isinstance(node, nodes.Expr):
            bare = isinstance(node, nodes.Name) and node.name in _TOO_MUCH
            if not bare and self._is_free(node, parsed.local):
                return nodes.Name(self._constant(writing.as_template(node)), "load")
            if why := self._why_controller(node):
                raise self._refused(node, why)
        elif isinstance(node, _AS_TEXT) and not list(node.find_all((nodes.Assign, nodes.AssignBlock))):
            own = expressions.stored_in(node)
            if self._is_free(node, parsed.local - own, own):
                return nodes.Output([nodes.Name(self._constant(writing.statement(node)), "load")])
        return expressions.mapped(node, lambda part: self._ahead(part, parsed))

    def _is_free(self, node: nodes.Node, local: Collection[str], own: Collection[str] = ()) -> bool:
        """Whether nothing in a part of a template is late, or set by the template outside of the part."""
        used = _used_in(node) - set(own)
        return not any(name in local or self.is_late(name) for name in used)

    def _refused(self, node: nodes.Node, why: str) -> Refused:
        used = _used_in(node)
        late = next((name for name in sorted(used) if self.is_late(name)), None)
        what = f"it uses {why}, which only the controller has"
        if late is None:
            return Refused(f"{what}, together with what is known on the host only. {_WAY_OUT}")
        return Refused(f"{what}, for {late!r}, which {self._said_of(late)}. {_WAY_OUT}")

    def account(self, value: object, expression: bool = False) -> str:
        """Return in words why a value is not known at launch."""
        trail = self.trail(value, expression) or ["?"]
        name = trail[-1]
        by_way = "" if len(trail) == 1 else f" (by way of {' and '.join(repr(one) for one in trail[:-1])})"
        return f"uses {name!r}{by_way}, which {self._flow.said_of(name)}"

    def _account_of(self, names: Iterable[str]) -> str:
        """Return in words which of a template's variables and files is late, and why."""
        name = next(one for one in sorted(names) if self.is_late(one))
        if name == FILE:
            return f"includes a file that {self._flow.said_of(name)}"
        if not name.startswith(FILE):
            return f"uses {name!r}, which {self._said_of(name)}"
        used = (self.trail(self._raw(name)) or [FILE])[-1]
        file = f"includes the file {name.removeprefix(FILE)!r}"
        said = self._flow.said_of(used)
        return (
            f"{file}, which includes one that {said}" if used == FILE else f"{file}, which uses {used!r}, which {said}"
        )

    def _said_of(self, name: str) -> str:
        trail = [name] if self.is_set(name) else [name, *(self.trail(self._raw(name)) or ())]
        return self._flow.said_of(trail[-1])

    def _constant(self, template: str) -> str:
        name = f"background_jobs_{hashlib.sha256(template.encode()).hexdigest()[:12]}"
        if name not in self.tables[PINNED]:
            self.tables[PINNED][name] = self._known(self.language.trusted(template), expression=False, lenient=True)
        return name

    # the variables that are sent

    def _need(self, tree: nodes.Template) -> None:
        names = meta.find_undeclared_variables(tree)
        if ALL_FACTS in names:
            self._need_facts(tree)
        for name in sorted(names - references.HOLDERS):
            self._send(name)

    def _send(self, name: str) -> None:
        if name == "omit" or name in self._turning or any(name in table for table in self.tables.values()):
            return
        raw = self._raw(name)
        if raw is ABSENT:
            return
        table = PINNED if name in self._pinned else FACTS if self.language.is_fact(name) else VARS
        self.tables[table][name] = None  # against endless recursion, if variables use each other
        self.tables[table][name] = self.value(raw, lenient=True)

    def _need_facts(self, tree: nodes.Template) -> None:
        """Send the known facts that a template uses: all of them if it is unclear which."""
        used = list(references.facts_in(tree))
        if None in used:
            self._facts = None
        elif self._facts is not None:
            self._facts.update(t.cast("list[str]", used))
        known = self._raw(ALL_FACTS)
        if isinstance(known, Mapping):
            kept = {key: one for key, one in known.items() if self._facts is None or key in self._facts}
            self.tables[FACTS][ALL_FACTS] = self._known(kept, expression=False, lenient=True)


_WAY_OUT = "Evaluate it before the launch, put it into a variable that needs nothing from the job, or launch the rest after an async_wait."


def _used_in(node: nodes.Node) -> set[str]:
    """Return the variables that a part of a template uses, including those named in strings."""
    around = nodes.Output([node])  # the searches look only inside of a node
    return {*references.narrowed(expressions.used_in(node), around), *references.by_name(around)}


def _argument(node: nodes.Filter, index: int | None) -> str | None:
    if index is None or len(node.args) <= index:
        return None
    argument = node.args[index]
    return str(argument.value) if isinstance(argument, nodes.Const) else None
