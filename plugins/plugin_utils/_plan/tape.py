# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What an action plugin with a controller half (copy, template, script, ...) asks of the host.

Such an action plugin is run at launch against stand-ins for the host, each in another state (`HostState`). What it asks of
them is a `Tape`. The tapes of one step together tell all calls that it may need, and with what it decides between them:
recipes.py makes that of them.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.background.jobs.plugins.plugin_utils._errors import plainly
from ansible_collections.background.jobs.plugins.plugin_utils._plan.staging import UNKNOWN_ACTION, Transfer

Record = dict[str, t.Any]


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """A module that an action plugin runs on the host."""

    module: str
    arguments: Record
    ignore_unknown: bool = False

    @property
    def leaf(self) -> str:
        return self.module.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Command:
    """A line that an action plugin hands to the host's shell."""

    words: tuple[str, ...]


class _EqualToAll(str):
    """The checksum of a file on the host that is the same as that of any file here; it remembers which that was."""

    compared: list[str]

    def __eq__(self, other: object) -> bool:
        self.compared.append(str(other))
        return True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


ABSENT: t.Final[Record] = {"exists": False}
DIRECTORY: t.Final[Record] = {"exists": True, "isdir": True, "islnk": False}
SAME: t.Final[Record] = {"exists": True, "isdir": False, "islnk": False, "checksum": ""}
"""A file with whatever content core compares it with."""


@dataclass(frozen=True, slots=True)
class HostState:
    """A stand-in for the host: its answers to `stat` and to commands, in turn; the last one counts for all that follow."""

    stats: tuple[Record, ...] = (ABSENT,)
    codes: tuple[int, ...] = (0,)


@dataclass(slots=True)
class Tape:
    """What an action plugin asked of one world, in order, and the result that it came to."""

    world: HostState
    events: list[ModuleCall | Command | Transfer] = field(default_factory=list)
    result: Record = field(default_factory=dict)
    compared: list[str] = field(default_factory=list)
    """The checksums that core compared those of the host with, in order."""

    def answer(self, call: ModuleCall) -> Record:
        """Note a call; return what the host would say to it."""
        asked = sum(isinstance(event, ModuleCall) and event.leaf == "stat" for event in self.events)
        self.events.append(call)
        if call.leaf == "stat":
            status = dict(self.world.stats[min(asked, len(self.world.stats) - 1)])
            if "checksum" in status:
                status["checksum"] = checksum = _EqualToAll()
                checksum.compared = self.compared
            return {"changed": False, "stat": status}
        if call.leaf == "file" and "_diff_peek" in call.arguments:
            return {"changed": False, "state": "file", "size": 1}
        if call.leaf == "slurp":
            return {"changed": False, "content": "", "encoding": "base64"}
        return {"changed": True}

    def run(self, command: Command) -> int:
        """Note a command; return its status."""
        asked = sum(isinstance(event, Command) for event in self.events)
        self.events.append(command)
        return self.world.codes[min(asked, len(self.world.codes) - 1)]

    def only_call(self) -> ModuleCall | None:
        """Return the call where it is all that was asked, so that no decision is left."""
        match self.events:
            case [ModuleCall() as call] if call.leaf != "stat":
                return call
        return None


class Reader:
    """Takes the events of a tape in the order that is expected."""

    def __init__(self, tape: Tape) -> None:
        self._events = list(tape.events)

    def call(self, leaf: str, *keys: str) -> ModuleCall | None:
        """Take the next event where it is a call of this module, with all of these arguments."""
        match self._events[:1]:
            case [ModuleCall() as call] if call.leaf == leaf and all(key in call.arguments for key in keys):
                del self._events[0]
                return call
        return None

    def stat(self, path: str) -> ModuleCall | None:
        """Take the next event where it is a look at this path."""
        match self._events[:1]:
            case [ModuleCall() as call] if call.leaf == "stat" and call.arguments.get("path") == path:
                return self.call("stat")
        return None

    def file(self, *states: str) -> ModuleCall | None:
        """Take the next event where it is a call of the module `file` for one of these states."""
        match self._events[:1]:
            case [ModuleCall() as call] if call.leaf == "file" and call.arguments.get("state") in states:
                return self.call("file")
        return None

    def take(self, kind: type[t.Any]) -> t.Any:
        if not self._events or not isinstance(self._events[0], kind):
            raise plainly(UNKNOWN_ACTION)
        return self._events.pop(0)

    def end(self) -> None:
        if self._events:
            raise plainly(UNKNOWN_ACTION)
