# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The turns of a task's loop: its items, and the variables of each turn. No I/O."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._late import loops, results
from ansible_collections.background.jobs.plugins.module_utils._late.failures import type_name


def around(items, index, with_all):
    """Return `ansible_loop` of an extended loop for one of its items. with_all: whether it includes all items."""
    length = len(items)
    told = {
        "index": index + 1,
        "index0": index,
        "first": index == 0,
        "last": index + 1 == length,
        "length": length,
        "revindex": length - index,
        "revindex0": length - index - 1,
    }
    if with_all:
        told["allitems"] = items
    if index + 1 < length:
        told["nextitem"] = items[index + 1]
    if index:
        told["previtem"] = items[index - 1]
    return told


class NoList(Exception):
    """There is nothing to loop over; the message is core's."""


class Loop:
    """The loop of a task, or none."""

    def __init__(self, node, core):
        self._node = node
        self._core = core
        control = node.get("loop_control", {})
        self.name = control.get("loop_var", "item")
        self._index_name = control.get("index_var")
        self._extended = control.get("extended", False)
        self._with_all = control.get("extended_allitems", True)

    def turns(self, render, item_of):
        """Return [(turn, variables of the loop)], None if there is no loop.

        render(value): renders it outside of the loop; item_of(turn): the item of a turn known at launch.
        """
        node = self._node
        if "loop" in node:
            turn = node["turns"][0] if node.get("turns") else {}
            items = self._items(render)
            turns = [turn] * len(items)
        elif "items" in node:
            items = render(node["items"])
            turns = [node["turns"][0] if node.get("turns") else {}] * len(items)
        elif node.get("looped"):
            turns = node["turns"]
            items = [item_of(turn) for turn in turns]
        else:
            return None
        return [(turn, self._variables(items, index)) for index, turn in enumerate(turns)]

    def _items(self, render):
        if self._node.get("with"):
            return loops.items(self._node["with"], self._node["loop"], render)
        items = render(self._node["loop"])
        if not isinstance(items, list):
            raise NoList("The `loop` value must resolve to a 'list', not %r." % type_name(items))
        return items

    def _variables(self, items, index):
        variables = {"ansible_loop_var": self.name, self.name: items[index]}
        if self._index_name:
            variables["ansible_index_var"] = self._index_name
            variables[self._index_name] = index
        if self._extended:
            variables["ansible_loop"] = around(items, index, self._with_all)
        return variables

    def mark(self, result, variables):
        """Add the loop's variables to the Result of a turn; core 2.21 leaves out an item that is null."""
        has_fields = results.version_of(self._core) >= (2, 21)
        result.value.update((name, value) for name, value in variables.items() if value is not None or not has_fields)
