# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Actions with a controller half (copy, template, script, ...): what they ask of the host, turned into a recipe.

Such an action plugin is run at launch against stand-ins for the host, each in another state (`World`). What it asks of
them is a `Tape`. The tapes of one step together tell all calls that it may need, and with what it decides between them;
the decision itself falls at the job's turn, by a recipe (module_utils/_supervisor/recipes.py, which tells the form of each).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import tempfile
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.background.jobs.plugins.plugin_utils._errors import plainly
from ansible_collections.background.jobs.plugins.plugin_utils._plan.contents import Contents

Record = dict[str, t.Any]
Staged = list[t.Any]
"""[name below the job's staging folder, SHA-256 of the content, mode]"""

IN_PLAN: t.Final = 4 * 1024 * 1024
"""Bytes of files that travel in the plan; more than that go as a file of their own."""

FILE_MODE: t.Final = 0o600
SCRIPT_MODE: t.Final = 0o700
_BLOCK = 1024 * 1024

_UNKNOWN = (
    "its action plugin is not that of ansible-core, and does what cannot be put off to a job. Use a plain task, "
    "or the full name (such as ansible.builtin.copy)."
)


@dataclass(frozen=True, slots=True)
class Call:
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


@dataclass(frozen=True, slots=True)
class Transfer:
    """A file that an action plugin sends to the host; `name` is its path below the job's staging folder."""

    name: str
    sha256: str
    sha1: str


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
class World:
    """A stand-in for the host: its answers to `stat` and to commands, in turn; the last one counts for all that follow."""

    stats: tuple[Record, ...] = (ABSENT,)
    codes: tuple[int, ...] = (0,)


@dataclass(slots=True)
class Tape:
    """What an action plugin asked of one world, in order, and the result that it came to."""

    world: World
    events: list[Call | Command | Transfer] = field(default_factory=list)
    result: Record = field(default_factory=dict)
    compared: list[str] = field(default_factory=list)
    """The checksums that core compared those of the host with, in order."""

    def answer(self, call: Call) -> Record:
        """Note a call; return what the host would say to it."""
        asked = sum(isinstance(event, Call) and event.leaf == "stat" for event in self.events)
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

    def only_call(self) -> Call | None:
        """Return the call where it is all that was asked, so that no decision is left."""
        match self.events:
            case [Call() as call] if call.leaf != "stat":
                return call
        return None


class _Reader:
    """Takes the events of a tape in the order that is expected."""

    def __init__(self, tape: Tape) -> None:
        self._events = list(tape.events)

    def call(self, leaf: str, *keys: str) -> Call | None:
        """Take the next event where it is a call of this module, with all of these arguments."""
        match self._events[:1]:
            case [Call() as call] if call.leaf == leaf and all(key in call.arguments for key in keys):
                del self._events[0]
                return call
        return None

    def stat(self, path: str) -> Call | None:
        """Take the next event where it is a look at this path."""
        match self._events[:1]:
            case [Call() as call] if call.leaf == "stat" and call.arguments.get("path") == path:
                return self.call("stat")
        return None

    def file(self, *states: str) -> Call | None:
        """Take the next event where it is a call of the module `file` for one of these states."""
        match self._events[:1]:
            case [Call() as call] if call.leaf == "file" and call.arguments.get("state") in states:
                return self.call("file")
        return None

    def take(self, kind: type[t.Any]) -> t.Any:
        if not self._events or not isinstance(self._events[0], kind):
            raise plainly(_UNKNOWN)
        return self._events.pop(0)

    def end(self) -> None:
        if self._events:
            raise plainly(_UNKNOWN)


@dataclass(slots=True)
class Work:
    """What a step is on the host: its calls, the recipe that chooses between them, the files that they need."""

    calls: list[Call | Command] = field(default_factory=list)
    recipe: Record | None = None
    staged: list[Staged] = field(default_factory=list)
    _known: dict[str, int] = field(default_factory=dict)

    def add(self, call: Call | Command | None) -> int:
        """Return the index of a call, which calls that are the same share."""
        if call is None:
            raise plainly(_UNKNOWN)
        key = repr(call)
        if key not in self._known:
            self._known[key] = len(self.calls)
            self.calls.append(call)
        return self._known[key]

    def stage(self, transfer: Transfer, mode: int = FILE_MODE) -> None:
        if self.staged and self.staged[-1][0] == transfer.name:
            return  # in another world
        self.staged.append([transfer.name, transfer.sha256, mode])


@dataclass(frozen=True, slots=True)
class Settings:
    """What a recipe has to know of the task: its keywords, and how many bytes of a file a difference shows (0: all)."""

    check_mode: bool = False
    no_log: bool = False
    most_shown: int = 0


def plain_call(tape: Tape) -> Work | None:
    """Return the work of an action that leaves all to one module, as with remote_src; None where it does more."""
    call = tape.only_call()
    return None if call is None else Work([call])


def sent(tape: Tape) -> Work:
    """Return the work of an action that sends files, and leaves all else to one module."""
    work = Work()
    *transfers, call = tape.events
    for transfer in transfers:
        if not isinstance(transfer, Transfer):
            raise plainly(_UNKNOWN)
        work.stage(transfer)
    if not isinstance(call, Call):
        raise plainly(_UNKNOWN)
    work.calls.append(call)
    return work


def is_single(absent: Tape) -> bool:
    """Whether `copy` has one file to write, whose place depends on whether its dest is a directory."""
    stats = [event for event in absent.events if isinstance(event, Call) and event.leaf == "stat"]
    copies = [event for event in absent.events if isinstance(event, Call) and event.leaf == "copy"]
    return len(stats) == len(copies) == 1 and stats[0].arguments["path"] == copies[0].arguments.get("dest")


def copy(absent: Tape, same: Tape, into: Tape | None, settings: Settings) -> Work:
    """Return the work of `copy`.

    absent: no file of it is there; same: all are, with the same content; into: its dest is a directory (see is_single).
    """
    work = Work()
    files = []
    reader, kept, compared = _Reader(absent), _Reader(same), iter(same.compared)
    while stat := reader.call("stat"):
        way, transfer = _written(work, reader, stat, settings)
        way["sha1"] = transfer.sha1
        if kept.stat(way["path"]) is None:
            raise plainly(_UNKNOWN)
        kept.stat(way["path"])  # with follow: where a link leads to, which the file module finds out for itself
        found = kept.file("file")
        if found is not None:
            way.update(file=work.add(found), sha1=next(compared, transfer.sha1))
        files.append(way)
    afterwards = _afterwards(work, reader, kept, [way["path"] for way in files])
    reader.end()
    kept.end()
    if into is not None:
        files[0]["into"] = _into(work, into, settings)
    _show_difference(files[0] if len(files) == 1 and not afterwards else None, absent, into, files)
    unchanged = same if "dest" in same.result else absent
    work.recipe = _recipe(
        "copy",
        settings,
        files=files,
        then=afterwards,
        otherwise={key: unchanged.result.get(key) for key in ("dest", "src")},
        **{key: absent.result[key] for key in ("invocation",) if key in absent.result},
    )
    return work


def _afterwards(work: Work, absent: _Reader, same: _Reader, paths: list[str]) -> list[int | Record]:
    """Return the calls for directories and links. What has to be written makes the directories above it needless."""
    needed, found = [], []
    while call := absent.file("directory", "link"):
        needed.append(repr(call))
    while call := same.file("directory", "link"):
        number = work.add(call)
        below = f"{call.arguments['path']}/"
        above = [index for index, path in enumerate(paths) if path.startswith(below)]
        found.append(number if repr(call) in needed else {"call": number, "unless": above})
    return found


def _written(work: Work, reader: _Reader, stat: Call, settings: Settings) -> tuple[Record, Transfer]:
    """Take what writing a file needs after the `stat` of its place."""
    way: Record = {"path": stat.arguments["path"], "stat": work.add(stat)}
    if peek := reader.call("file", "_diff_peek"):
        way["peek"], way["slurp"] = work.add(peek), work.add(reader.call("slurp"))
    transfer: Transfer = reader.take(Transfer)
    call = reader.call("copy")
    if not settings.check_mode:
        way["copy"] = work.add(call)
        work.stage(transfer)
    return way, transfer


def _into(work: Work, into: Tape, settings: Settings) -> Record:
    reader = _Reader(into)
    reader.call("stat")
    stat = reader.call("stat")
    if stat is None:
        return {"result": _without_invocation(into.result)}
    way, dummy = _written(work, reader, stat, settings)
    reader.end()
    return way


def _show_difference(single: Record | None, absent: Tape, into: Tape | None, files: list[Record]) -> None:
    """Keep the new half of a difference, which core has made; without it where the result has no place for one."""
    for way, tape in ((single, absent), ((single or {}).get("into"), into)):
        if way is not None and tape is not None and "peek" in way:
            way["after"] = _after(tape.result["diff"][0])
    if single is None:
        for way in files:
            way.pop("peek", None)
            way.pop("slurp", None)


def _after(difference: Record) -> Record:
    return {key: value for key, value in difference.items() if key not in ("before", "before_header")}


def assemble(absent: Tape, same: Tape, settings: Settings) -> Work:
    """Return the work of `assemble` from fragments on the controller; the tapes are as for `copy`."""
    work = Work()
    reader, kept = _Reader(absent), _Reader(same)
    stat = reader.call("stat")
    if stat is None or kept.call("stat") is None:
        raise plainly(_UNKNOWN)
    # The copy module itself knows about check mode here.
    way, transfer = _written(work, reader, stat, Settings())
    reader.end()
    # Core compares something else than the content here, so that it always copies.
    way.update(sha1=next(iter(same.compared), transfer.sha1), file=work.add(kept.call("file")))
    if "peek" in way:
        way["after"] = _after(absent.result["diff"])
    work.recipe = _recipe("assemble", settings, **way)
    return work


def unarchive(unpacked: Tape, missing: Tape, created: Tape | None, settings: Settings) -> Work:
    """Return the work of `unarchive`.

    unpacked: all is well; missing: dest is no directory; created: what `creates` names is there, None without it.
    """
    work = Work()
    reader = _Reader(unpacked)
    unless = [] if created is None else [_test(work, reader, True, created)]
    stat = reader.call("stat")
    if stat is None:
        raise plainly(_UNKNOWN)
    made: Record = {"unless": unless, "path": stat.arguments["path"], "stat": work.add(stat)}
    module = reader.call("unarchive")
    if module is None:
        work.stage(reader.take(Transfer))
        module = reader.call("unarchive")
    reader.end()
    work.recipe = _recipe(
        "unarchive", settings, **made, run=work.add(module), missing=_without_invocation(missing.result)
    )
    return work


def script(ran: Tape, created: Tape | None, removed: Tape | None, settings: Settings) -> Work:
    """Return the work of `script`.

    ran: it would run, or in check mode would have run; created, removed: `creates` or `removes` says that it must not.
    """
    work = Work()
    reader = _Reader(ran)
    unless = [] if created is None else [_test(work, reader, True, created)]
    if removed is not None:
        unless.append(_test(work, reader, False, removed))
    if settings.check_mode:
        reader.end()
        work.recipe = _recipe("script", settings, unless=unless, checked=_without_invocation(ran.result))
        return work
    work.stage(reader.take(Transfer), SCRIPT_MODE)
    work.recipe = _recipe("script", settings, unless=unless, run=work.add(reader.take(Command)))
    reader.end()
    return work


def _test(work: Work, reader: _Reader, there: bool, skipped: Tape) -> Record:
    return {
        "call": work.add(reader.take(Command)),
        "there": there,
        "result": _without_invocation(skipped.result),
    }


def _recipe(kind: str, settings: Settings, **more: t.Any) -> Record:
    recipe = {
        "kind": kind,
        "check_mode": settings.check_mode,
        "no_log": settings.no_log,
        "most_shown": settings.most_shown,
        **more,
    }
    # Plain JSON, free of the tags that Ansible puts on values.
    return t.cast("Record", json.loads(json.dumps(recipe, default=str)))


def _without_invocation(result: Record) -> Record:
    return {key: value for key, value in result.items() if key != "invocation"}


class Store:
    """The files that one launch hands over, the same content once; and the names that they get on the host."""

    def __init__(self, directory: str) -> None:
        """directory: a private one of the controller, for contents that wait to be sent."""
        self._directory = directory
        self._places: dict[str, tuple[int, int]] = {}
        self._stream: t.IO[bytes] | None = None
        self.token = "/" + secrets.token_hex(16)
        """Stands for the staging folder of a job wherever a path below it is written."""
        self._has_late = False
        self.contents: Contents | None = None
        """Of the step that is asked: files whose content is late."""
        self.number = 0
        """The folder of the next file: no two files of a launch share one, whatever they are called."""

    @property
    def size(self) -> int:
        """The bytes of all contents."""
        return sum(size for dummy, size in self._places.values())

    @property
    def path(self) -> str:
        """A file that holds all contents one after the other."""
        if self._stream is None:
            raise ValueError("nothing was added")
        self._stream.flush()
        return self._stream.name

    def transfer(self, local: str, remote: str) -> Transfer:
        """Take in a file that is to be at `remote`, a path below the token."""
        folder, dummy, name = remote.partition(f"{self.token}/")
        if folder or not name:
            raise plainly(_UNKNOWN)
        start, sha256, sha1 = self._append(local)
        if self.contents is not None and self.contents.take(local, name):
            self._cut(start)
            self._has_late = True
            return Transfer(name, sha256, sha1)
        if sha256 in self._places:
            self._cut(start)
        elif self._stream is not None:
            self._places[sha256] = (start, self._stream.tell() - start)
        return Transfer(name, sha256, sha1)

    def _append(self, local: str) -> tuple[int, str, str]:
        if self._stream is None:
            self._stream = tempfile.NamedTemporaryFile(dir=self._directory)  # noqa: SIM115  # closed by `close`
        start = self._stream.tell()
        hashes = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
        with Path(local).open("rb") as source:
            while block := source.read(_BLOCK):
                self._stream.write(block)
                for one in hashes:
                    one.update(block)
        return start, hashes[0].hexdigest(), hashes[1].hexdigest()

    def _cut(self, start: int) -> None:
        if self._stream is not None:
            self._stream.seek(start)
            self._stream.truncate()

    def in_plan(self, bundle: str | None = None) -> Record:
        """Return what the plan says of the files; `bundle` is where the host finds `path`, None: in the plan itself."""
        if not self._places:
            return {"staging_token": self.token} if self._has_late else {}
        if bundle is not None:
            places = {key: list(place) for key, place in self._places.items()}
            return {"staging_token": self.token, "bundle": bundle, "files": places}
        with Path(self.path).open("rb") as stream:
            texts = {key: self._text(stream, *place) for key, place in self._places.items()}
        return {"staging_token": self.token, "files": texts}

    @staticmethod
    def _text(stream: t.IO[bytes], start: int, size: int) -> str:
        stream.seek(start)
        return base64.b64encode(stream.read(size)).decode("ascii")

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
