# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Records what an action plugin with a controller half (copy, template, script, ...) asks of the host.

Such an action plugin is run at launch against stand-ins for the host, each in another state (`HostState`). A `Tape` has
what it asks of one. Together the tapes of a step show all calls that it may need, and what decides between them: recipes.py
makes recipes of that.
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
    """A checksum on the host that equals the checksum of any file here; it remembers those that it was compared with."""

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
"""A file with the same content as the one that core compares it with."""


@dataclass(frozen=True, slots=True)
class HostState:
    """A stand-in for the host: its answers to `stat` and to commands, in order; the last one is repeated."""

    stats: tuple[Record, ...] = (ABSENT,)
    codes: tuple[int, ...] = (0,)


@dataclass(slots=True)
class Tape:
    """What an action plugin asked of one HostState, in order, and its result."""

    state: HostState
    events: list[ModuleCall | Command | Transfer] = field(default_factory=list)
    result: Record = field(default_factory=dict)
    compared: list[str] = field(default_factory=list)
    """The checksums that core compared with those of the host, in order."""

    def answer(self, call: ModuleCall) -> Record:
        """Note a call; return the host's answer to it."""
        asked = sum(isinstance(event, ModuleCall) and event.leaf == "stat" for event in self.events)
        self.events.append(call)
        if call.leaf == "stat":
            status = dict(self.state.stats[min(asked, len(self.state.stats) - 1)])
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
        return self.state.codes[min(asked, len(self.state.codes) - 1)]

    def only_call(self) -> ModuleCall | None:
        """Return the call if nothing else was asked, so that there is nothing to decide."""
        match self.events:
            case [ModuleCall() as call] if call.leaf != "stat":
                return call
        return None


class Reader:
    """Takes the events of a tape in the expected order."""

    def __init__(self, tape: Tape) -> None:
        self._events = list(tape.events)

    def call(self, leaf: str, *keys: str) -> ModuleCall | None:
        """Take the next event if it is a call of this module, with all of these arguments."""
        match self._events[:1]:
            case [ModuleCall() as call] if call.leaf == leaf and all(key in call.arguments for key in keys):
                del self._events[0]
                return call
        return None

    def stat(self, path: str) -> ModuleCall | None:
        """Take the next event if it is a `stat` of this path."""
        match self._events[:1]:
            case [ModuleCall() as call] if call.leaf == "stat" and call.arguments.get("path") == path:
                return self.call("stat")
        return None

    def file(self, *states: str) -> ModuleCall | None:
        """Take the next event if it is a call of the module `file` for one of these states."""
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
