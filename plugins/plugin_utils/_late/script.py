# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The script of one job while it is being written: what its nodes share."""

from __future__ import annotations

import secrets
import typing as t
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.background.jobs.plugins.plugin_utils._entries.context import Around
from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused
from ansible_collections.background.jobs.plugins.plugin_utils._late.script_values import Value, ValueTable
from ansible_collections.background.jobs.plugins.plugin_utils._late.view import FACTS, PINNED, VARS
from ansible_collections.background.jobs.plugins.plugin_utils._model import Node, Variables

Tables = dict[str, dict[str, Value]]


@dataclass(slots=True)
class Handler:
    """A handler of a role, as written, and what it inherits there."""

    source: object
    around: Around
    role: str


@dataclass(slots=True)
class Script:
    """What the tasks of a job share: values, tokens that stand for late ones in arguments, handlers."""

    table: ValueTable = field(default_factory=ValueTable)
    token: str = field(default_factory=lambda: f"bgjlate{secrets.token_hex(8)}")
    handlers: list[Handler] = field(default_factory=list)
    roles: set[object] = field(default_factory=set)
    """The paths of roles whose handlers are known already."""
    notified: list[tuple[str, Callable[[object], JobRefused]]] = field(default_factory=list)
    """The known names of handlers that tasks notify, each with a function that makes the error for it."""

    def indexes(self, tables: t.Mapping[str, Variables], names: t.Sequence[str] = (VARS, PINNED, FACTS)) -> Node:
        """Return the tables of variables with indexes for their values, without empty tables."""
        found = {name: {key: self.table.add(one) for key, one in tables[name].items()} for name in names}
        return {name: table for name, table in found.items() if table}

    def stand_in(self, table: list[Value], value: Value) -> str:
        """Return the token for a value of a turn."""
        if value not in table:
            table.append(value)
        return f"{self.token}_{table.index(value)}_"
