# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Writes parsed templates, or parts of them, as text again."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from jinja2 import nodes

_OPERATORS = {
    "eq": "==",
    "ne": "!=",
    "gt": ">",
    "gteq": ">=",
    "lt": "<",
    "lteq": "<=",
    "in": "in",
    "notin": "not in",
}


def as_template(node: nodes.Node) -> str:
    """Return the template that gives the value of an expression, with its type."""
    return f"{{{{ {Writer(escaping=False).visit(node)} }}}}"


def statement(node: nodes.Node) -> str:
    return Writer(escaping=False).statements([node])


class Writer:
    """Writes parts of templates, with brackets everywhere, so that precedence does not matter."""

    def __init__(self, escaping: bool) -> None:
        self._escaping = escaping

    def visit(self, node: t.Any) -> str:
        method: Callable[[t.Any], str] | None = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is not None:
            return method(node)
        if isinstance(node, nodes.BinExpr):
            return f"({self.visit(node.left)} {node.operator} {self.visit(node.right)})"
        if isinstance(node, nodes.UnaryExpr):
            return f"({node.operator} {self.visit(node.node)})"
        raise TypeError(f"a {type(node).__name__} cannot be written")

    def _each(self, parts: t.Iterable[t.Any]) -> str:
        return ", ".join(self.visit(part) for part in parts)

    def _name(self, node: nodes.Name) -> str:
        return node.name

    def _nsref(self, node: nodes.NSRef) -> str:
        return f"{node.name}.{node.attr}"

    def _const(self, node: nodes.Const) -> str:
        if isinstance(node.value, str):
            return self._text(node.value)
        return repr(node.value).lower() if node.value in (None, True, False) else repr(node.value)

    def _text(self, text: str) -> str:
        if self._escaping:
            return repr(text)
        if '"' not in text:
            return f'"{text}"'
        if "'" not in text:
            return f"'{text}'"
        return "(" + " ~ '\"' ~ ".join(f'"{part}"' for part in text.split('"')) + ")"

    def _templatedata(self, node: nodes.TemplateData) -> str:
        if any(mark in node.data for mark in ("{{", "{%", "{#")):
            return f"{{{{ {self._text(node.data)} }}}}"
        return node.data

    def _tuple(self, node: nodes.Tuple) -> str:
        return f"({self._each(node.items)}{',' if len(node.items) == 1 else ''})"

    def _list(self, node: nodes.List) -> str:
        return f"[{self._each(node.items)}]"

    def _dict(self, node: nodes.Dict) -> str:
        return "{" + self._each(node.items) + "}"

    def _pair(self, node: nodes.Pair) -> str:
        return f"{self.visit(node.key)}: {self.visit(node.value)}"

    def _keyword(self, node: nodes.Keyword) -> str:
        return f"{node.key}={self.visit(node.value)}"

    def _condexpr(self, node: nodes.CondExpr) -> str:
        other = f" else {self.visit(node.expr2)}" if node.expr2 else ""
        return f"({self.visit(node.expr1)} if {self.visit(node.test)}{other})"

    def _concat(self, node: nodes.Concat) -> str:
        return "(" + " ~ ".join(self.visit(part) for part in node.nodes) + ")"

    def _compare(self, node: nodes.Compare) -> str:
        rest = "".join(f" {_OPERATORS[operand.op]} {self.visit(operand.expr)}" for operand in node.ops)
        return f"({self.visit(node.expr)}{rest})"

    def _getattr(self, node: nodes.Getattr) -> str:
        return f"{self._base(node.node)}.{node.attr}"

    def _getitem(self, node: nodes.Getitem) -> str:
        return f"{self._base(node.node)}[{self.visit(node.arg)}]"

    def _base(self, node: nodes.Node) -> str:
        text = self.visit(node)
        return text if isinstance(node, (nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Call)) else f"({text})"

    def _slice(self, node: nodes.Slice) -> str:
        parts = [node.start, node.stop, *([node.step] if node.step else [])]
        return ":".join(self.visit(part) if part else "" for part in parts)

    def _arguments(self, node: t.Any) -> str:
        parts = [self.visit(part) for part in (*node.args, *node.kwargs)]
        parts += [f"*{self.visit(node.dyn_args)}"] if node.dyn_args else []
        parts += [f"**{self.visit(node.dyn_kwargs)}"] if node.dyn_kwargs else []
        return ", ".join(parts)

    def _call(self, node: nodes.Call) -> str:
        return f"{self._base(node.node)}({self._arguments(node)})"

    def _filter(self, node: nodes.Filter) -> str:
        arguments = self._arguments(node)
        piped = f"{node.name}({arguments})" if arguments else node.name
        return f"({self.visit(node.node)} | {piped})" if node.node else piped

    def _test(self, node: nodes.Test) -> str:
        arguments = self._arguments(node)
        return f"({self.visit(node.node)} is {node.name}{f'({arguments})' if arguments else ''})"

    def _and(self, node: nodes.And) -> str:
        return f"({self.visit(node.left)} and {self.visit(node.right)})"

    def _or(self, node: nodes.Or) -> str:
        return f"({self.visit(node.left)} or {self.visit(node.right)})"

    def _not(self, node: nodes.Not) -> str:
        return f"(not {self.visit(node.node)})"

    def statements(self, body: t.Iterable[nodes.Node]) -> str:
        text, after_block = "", False
        for node in body:
            if isinstance(node, nodes.Output):
                for part in node.nodes:
                    written = (
                        self.visit(part) if isinstance(part, nodes.TemplateData) else f"{{{{ {self.visit(part)} }}}}"
                    )
                    # Jinja2 drops the first newline after a block: write it twice.
                    text += f"\n{written}" if after_block and written.startswith("\n") else written
                    after_block = False
            else:
                text += self._statement(node)
                after_block = True
        return text

    def _inner(self, body: t.Iterable[nodes.Node]) -> str:
        text = self.statements(body)
        return f"\n{text}" if text.startswith("\n") else text

    def _statement(self, node: t.Any) -> str:
        method: Callable[[t.Any], str] = getattr(self, f"_{type(node).__name__.lower()}_statement", self._unknown)
        return method(node)

    def _unknown(self, node: nodes.Node) -> str:
        raise TypeError(f"a {type(node).__name__} cannot be written")

    def _if_statement(self, node: nodes.If) -> str:
        text = f"{{% if {self.visit(node.test)} %}}{self._inner(node.body)}"
        for other in node.elif_:
            text += f"{{% elif {self.visit(other.test)} %}}{self._inner(other.body)}"
        if node.else_:
            text += f"{{% else %}}{self._inner(node.else_)}"
        return f"{text}{{% endif %}}"

    def _for_statement(self, node: nodes.For) -> str:
        test = f" if {self.visit(node.test)}" if node.test else ""
        recursive = " recursive" if node.recursive else ""
        target = self.visit(node.target).strip("()").rstrip(",") + ("," if self._is_single(node.target) else "")
        text = f"{{% for {target} in {self.visit(node.iter)}{test}{recursive} %}}{self._inner(node.body)}"
        if node.else_:
            text += f"{{% else %}}{self._inner(node.else_)}"
        return f"{text}{{% endfor %}}"

    @staticmethod
    def _is_single(target: nodes.Node) -> bool:
        return isinstance(target, nodes.Tuple) and len(target.items) == 1

    def _assign_statement(self, node: nodes.Assign) -> str:
        return f"{{% set {self.visit(node.target).strip('()')} = {self.visit(node.node)} %}}"

    def _assignblock_statement(self, node: nodes.AssignBlock) -> str:
        piped = f" | {self.visit(node.filter)}" if node.filter else ""
        return f"{{% set {self.visit(node.target)}{piped} %}}{self._inner(node.body)}{{% endset %}}"

    def _exprstmt_statement(self, node: nodes.ExprStmt) -> str:
        return f"{{% do {self.visit(node.node)} %}}"

    def _filterblock_statement(self, node: nodes.FilterBlock) -> str:
        return f"{{% filter {self.visit(node.filter)} %}}{self._inner(node.body)}{{% endfilter %}}"

    def _with_statement(self, node: nodes.With) -> str:
        pairs = zip(node.targets, node.values, strict=True)
        given = ", ".join(f"{self.visit(target)} = {self.visit(value)}" for target, value in pairs)
        return f"{{% with {given} %}}{self._inner(node.body)}{{% endwith %}}"

    def _macro_statement(self, node: nodes.Macro) -> str:
        return f"{{% macro {node.name}({self._parameters(node)}) %}}{self._inner(node.body)}{{% endmacro %}}"

    def _callblock_statement(self, node: nodes.CallBlock) -> str:
        given = f"({self._parameters(node)})" if node.args else ""
        return f"{{% call{given} {self.visit(node.call)} %}}{self._inner(node.body)}{{% endcall %}}"

    def _parameters(self, node: nodes.Macro | nodes.CallBlock) -> str:
        plain = len(node.args) - len(node.defaults)
        names = [argument.name for argument in node.args]
        given = zip(names[plain:], node.defaults, strict=True)
        return ", ".join([*names[:plain], *(f"{name}={self.visit(value)}" for name, value in given)])

    def _scope_statement(self, node: nodes.Scope) -> str:
        return self.statements(node.body)

    def _break_statement(self, node: nodes.Node) -> str:
        return "{% break %}"

    def _continue_statement(self, node: nodes.Node) -> str:
        return "{% continue %}"
