# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Values in a script: JSON, in which a dict with one special key stands for what the host has to evaluate."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT
from ansible_collections.background.jobs.plugins.plugin_utils._plan.planner import plain

Value = t.Any

_SPECIAL = frozenset(("$template", "$expr", "$omit", "$undefined", "$failed", "$literal", "$items"))
OMITTED: t.Final[dict[str, bool]] = {"$omit": True}


def constant(value: object) -> Value:
    """Return the Value for a known value."""
    return OMITTED if value is ABSENT else _guarded(plain(value))


def _guarded(value: t.Any) -> Value:
    if isinstance(value, list):
        return [_guarded(one) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and next(iter(value)) in _SPECIAL:
        return {"$literal": value}
    return {key: _guarded(one) for key, one in value.items()}


def is_constant(value: Value) -> bool:
    """Whether nothing in a value has to be evaluated or left out."""
    if isinstance(value, list):
        return all(is_constant(one) for one in value)
    if not isinstance(value, dict):
        return True
    if len(value) == 1 and next(iter(value)) in _SPECIAL:
        return "$literal" in value
    return all(is_constant(one) for one in value.values())


class ValueTable:
    """The values of a script, each one once."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._known: dict[str, int] = {}

    def add(self, value: Value) -> int:
        """Return the index of a value."""
        key = json.dumps(value, sort_keys=True)
        if key not in self._known:
            self._known[key] = len(self.values)
            self.values.append(value)
        return self._known[key]
