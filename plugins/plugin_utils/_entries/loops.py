# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The items of a loop, and the variables of each item."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.background.jobs.plugins.module_utils._late import loop_items
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT


class Turn(t.NamedTuple):
    """One item of a loop, or the only run of a task without a loop, where `control` is None."""

    where: str
    variables: Mapping[str, object] = {}
    item: object = ABSENT
    control: Mapping[str, t.Any] | None = None
    skip: str | None = None


def variables(control: Mapping[str, t.Any], items: list[object], index: int) -> dict[str, object]:
    """Return the variables that a loop adds for one of its items."""
    added: dict[str, object] = {control["loop_var"]: items[index], "ansible_loop_var": control["loop_var"]}
    if control.get("index_var"):
        added[control["index_var"]] = index
        added["ansible_index_var"] = control["index_var"]
    if control.get("extended"):
        added["ansible_loop"] = loop_items.around(items, index, control.get("extended_allitems", True))
    return added
