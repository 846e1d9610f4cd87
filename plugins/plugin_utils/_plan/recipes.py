# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Makes recipes for jobs from what an action plugin asked of hosts in several states (tape.py).

The host decides, by module_utils/_supervisor/recipes.py, where the form of each recipe is described.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from ansible_collections.background.jobs.plugins.plugin_utils._errors import plainly
from ansible_collections.background.jobs.plugins.plugin_utils._plan.staging import (
    FILE_MODE,
    SCRIPT_MODE,
    UNKNOWN_ACTION,
    Staged,
    Transfer,
)
from ansible_collections.background.jobs.plugins.plugin_utils._plan.tape import (
    Command,
    ModuleCall,
    Reader,
    Record,
    Tape,
)


@dataclass(slots=True)
class Work:
    """The work of a step on the host: its calls, the recipe that chooses between them, the files that they need."""

    calls: list[ModuleCall | Command] = field(default_factory=list)
    recipe: Record | None = None
    staged: list[Staged] = field(default_factory=list)
    _known: dict[str, int] = field(default_factory=dict)

    def add(self, call: ModuleCall | Command | None) -> int:
        """Return the index of a call; equal calls share one."""
        if call is None:
            raise plainly(UNKNOWN_ACTION)
        key = repr(call)
        if key not in self._known:
            self._known[key] = len(self.calls)
            self.calls.append(call)
        return self._known[key]

    def stage(self, transfer: Transfer, mode: int = FILE_MODE) -> None:
        if self.staged and self.staged[-1][0] == transfer.name:
            return  # it was staged for another state of the host
        self.staged.append([transfer.name, transfer.sha256, mode])


@dataclass(frozen=True, slots=True)
class Settings:
    """What a recipe has to know of the task: keywords, and how many bytes of a file a diff shows (0: all)."""

    check_mode: bool = False
    no_log: bool = False
    most_shown: int = 0


def plain_call(tape: Tape) -> Work | None:
    """Return the work of an action that leaves all to one module, as with remote_src; None if it does more."""
    call = tape.only_call()
    return None if call is None else Work([call])


def sent(tape: Tape) -> Work:
    """Return the work of an action that sends files, and leaves everything else to one module."""
    work = Work()
    *transfers, call = tape.events
    for transfer in transfers:
        if not isinstance(transfer, Transfer):
            raise plainly(UNKNOWN_ACTION)
        work.stage(transfer)
    if not isinstance(call, ModuleCall):
        raise plainly(UNKNOWN_ACTION)
    work.calls.append(call)
    return work


def is_single(absent: Tape) -> bool:
    """Whether `copy` has one file to write, whose path depends on whether its dest is a directory."""
    stats = [event for event in absent.events if isinstance(event, ModuleCall) and event.leaf == "stat"]
    copies = [event for event in absent.events if isinstance(event, ModuleCall) and event.leaf == "copy"]
    return len(stats) == len(copies) == 1 and stats[0].arguments["path"] == copies[0].arguments.get("dest")


def copy(absent: Tape, same: Tape, into: Tape | None, settings: Settings) -> Work:
    """Return the work of `copy`.

    absent: no file of it is there; same: all are, with the same content; into: its dest is a directory (see is_single).
    """
    work = Work()
    files = []
    reader, kept, compared = Reader(absent), Reader(same), iter(same.compared)
    while stat := reader.call("stat"):
        way, transfer = _written(work, reader, stat, settings)
        way["sha1"] = transfer.sha1
        if kept.stat(way["path"]) is None:
            raise plainly(UNKNOWN_ACTION)
        kept.stat(way["path"])  # with follow: the target of a link, which the file module finds by itself
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


def _afterwards(work: Work, absent: Reader, same: Reader, paths: list[str]) -> list[int | Record]:
    """Return the calls for directories and links. A file that is written makes those for the directories above it needless."""
    needed, found = [], []
    while call := absent.file("directory", "link"):
        needed.append(repr(call))
    while call := same.file("directory", "link"):
        number = work.add(call)
        below = f"{call.arguments['path']}/"
        above = [index for index, path in enumerate(paths) if path.startswith(below)]
        found.append(number if repr(call) in needed else {"call": number, "unless": above})
    return found


def _written(work: Work, reader: Reader, stat: ModuleCall, settings: Settings) -> tuple[Record, Transfer]:
    """Return the place of a file, with the calls for writing it that follow its `stat`, and the Transfer."""
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
    reader = Reader(into)
    reader.call("stat")
    stat = reader.call("stat")
    if stat is None:
        return {"result": _without_invocation(into.result)}
    way, dummy = _written(work, reader, stat, settings)
    reader.end()
    return way


def _show_difference(single: Record | None, absent: Tape, into: Tape | None, files: list[Record]) -> None:
    """Keep the new half of a diff, which core has made; or leave diffs out if the result has no place for one."""
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
    reader, kept = Reader(absent), Reader(same)
    stat = reader.call("stat")
    if stat is None or kept.call("stat") is None:
        raise plainly(UNKNOWN_ACTION)
    # The copy module itself knows about check mode here.
    way, transfer = _written(work, reader, stat, Settings())
    reader.end()
    # Core does not compare the content here, and so always copies.
    way.update(sha1=next(iter(same.compared), transfer.sha1), file=work.add(kept.call("file")))
    if "peek" in way:
        way["after"] = _after(absent.result["diff"])
    work.recipe = _recipe("assemble", settings, **way)
    return work


def unarchive(unpacked: Tape, missing: Tape, created: Tape | None, settings: Settings) -> Work:
    """Return the work of `unarchive`.

    unpacked: everything succeeds; missing: dest is no directory; created: the file of `creates` exists, None without it.
    """
    work = Work()
    reader = Reader(unpacked)
    unless = [] if created is None else [_test(work, reader, True, created)]
    stat = reader.call("stat")
    if stat is None:
        raise plainly(UNKNOWN_ACTION)
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

    ran: it would run, or in check mode would have run; created, removed: `creates` or `removes` prevents it.
    """
    work = Work()
    reader = Reader(ran)
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


def _test(work: Work, reader: Reader, there: bool, skipped: Tape) -> Record:
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
