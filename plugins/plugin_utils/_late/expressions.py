# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Parses templates, and writes them as text again after parts were replaced."""

from __future__ import annotations

import ast
import typing as t
from collections.abc import Callable, Iterator

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import Lexer

from ansible_collections.background.jobs.plugins.plugin_utils._entries import references
from ansible_collections.background.jobs.plugins.plugin_utils._entries.writing import Writer


class _Lexer(Lexer):
    """Takes backslashes in strings of templates literally, as ansible-core does; in conditions they escape."""

    def tokeniter(self, *args: t.Any, **kwargs: t.Any) -> Iterator[tuple[int, str, str]]:
        for line, kind, value in super().tokeniter(*args, **kwargs):
            yield line, kind, value.replace("\\", "\\\\") if kind == "string" else value


class _Environment(Environment):
    @property
    def lexer(self) -> Lexer:
        return _LEXER


_TEMPLATES = references.knowing_all_plugins(_Environment)
_TEMPLATES.trim_blocks = _TEMPLATES.keep_trailing_newline = True
_LEXER = _Lexer(_TEMPLATES)


class ParsedFile:
    """The text of a template file."""

    def __init__(self, text: str, options: t.Mapping[str, t.Any]) -> None:
        known = {key: value for key, value in options.items() if key in _PARSING}
        environment = references.ENVIRONMENT.overlay(keep_trailing_newline=True, **known)
        self.tree = environment.parse(text)

    @property
    def text(self) -> str:
        """The equivalent text for default options, with all replacements."""
        return Writer(escaping=True).statements(self.tree.body)

    @property
    def local(self) -> frozenset[str]:
        """The variables that it sets itself, somewhere."""
        return frozenset(references.stored(self.tree))


class Parsed:
    """A template, or with `expression` a bare expression, as in `when`."""

    def __init__(self, text: str, expression: bool) -> None:
        self.expression = expression
        if expression:
            tree = references.ENVIRONMENT.parse(f"{{% if {text} %}}{{% endif %}}")
        else:
            tree = _TEMPLATES.parse(text)
        self.tree = tree

    @property
    def text(self) -> str:
        """The equivalent text, with all replacements."""
        if self.expression:
            return Writer(escaping=True).visit(t.cast("nodes.If", self.tree.body[0]).test)
        return Writer(escaping=False).statements(self.tree.body)

    @property
    def local(self) -> frozenset[str]:
        """The variables that it sets itself, somewhere."""
        return frozenset(references.stored(self.tree))


_HEADER = "#jinja2:"
_PARSING = frozenset(
    (
        "block_end_string",
        "block_start_string",
        "comment_end_string",
        "comment_start_string",
        "lstrip_blocks",
        "trim_blocks",
        "variable_end_string",
        "variable_start_string",
    )
)
_NOT_ALONE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


def file_of(text: str, options: t.Mapping[str, t.Any]) -> tuple[ParsedFile, dict[str, t.Any]]:
    """Return a parsed template file, and its options: those of its first line override the given ones."""
    options = dict(options)
    if text.startswith(_HEADER):
        line, dummy, text = text.partition("\n")
        for pair in line.removeprefix(_HEADER).split(","):
            key, dummy, value = pair.partition(":")
            options[key.strip()] = ast.literal_eval(value.strip())
    return ParsedFile(text, options), options


def stands_alone(tree: nodes.Node) -> bool:
    """Whether a template includes and imports no other file."""
    return next(iter(tree.find_all(_NOT_ALONE)), None) is None


def parse(text: str, expression: bool) -> Parsed | None:
    """Return a parsed text, None if it is no valid template. The error is reported when it is rendered."""
    try:
        return Parsed(text, expression)
    except TemplateSyntaxError:
        return None


def stored_in(node: nodes.Node) -> frozenset[str]:
    return frozenset(references.stored(node)) | (
        {node.name} if isinstance(node, nodes.Name) and node.ctx != "load" else set()
    )


def used_in(node: nodes.Node) -> frozenset[str]:
    """Return the variables that a part of a template reads, including those that it sets itself."""
    found = {name.name for name in node.find_all(nodes.Name) if name.ctx == "load"}
    return frozenset(found | ({node.name} if isinstance(node, nodes.Name) and node.ctx == "load" else set()))


def mapped(node: nodes.Node, change: Callable[[nodes.Node], nodes.Node]) -> nodes.Node:
    """Replace the direct children of a node by what `change` returns for them."""
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            setattr(node, name, change(value))
        elif isinstance(value, list):
            setattr(node, name, [change(one) if isinstance(one, nodes.Node) else one for one in value])
    return node
