# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Walks through the tasks of a script. No clock, no I/O."""

from __future__ import annotations

SECTIONS = ("block", "rescue", "always", "body")


def turns_of(script):
    """Yield (task, turn) for each turn of each task of a script, its handlers too, in the order written."""
    yield from _turns(script["body"])
    for handler in script.get("handlers", ()):
        yield from _turns([handler["task"]])


def _turns(nodes):
    for node in nodes:
        for section in SECTIONS:
            yield from _turns(node.get(section) or ())
        for turn in node.get("turns", ()):
            yield node, turn
