# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which room of the code may use which: the picture in CONTRIBUTING.md, held by a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PACKAGE = "ansible_collections.background.jobs.plugins."

# Each room, and the rooms that it may use; what is not below a room is one by itself.
HOST = {
    "_system": set(),
    "_fork_server": set(),
    "_protocol": {"_system", "_fork_server"},
    "_supervisor": {"_system", "_protocol"},
    "_late": {"_system", "_protocol", "_supervisor"},
    # a launch carries along what other interpreters will run
    "_verbs": {"_system", "_protocol", "_supervisor", "_fork_server"},
}
CONTROLLER = {
    "_errors": set(),
    "_model": {"_errors", "module_utils._protocol"},
    "_options": {"_errors", "_model", "module_utils._protocol"},
    "_entries": {"_errors", "_model", "_options", "module_utils._late", "module_utils._protocol"},
    "_plan": {"_errors", "_model", "module_utils._protocol"},
    "_core": {"_errors", "_model", "_plan", "module_utils._protocol"},
    "_late": {"_errors", "_model", "_entries", "_plan", "module_utils._late"},
    "_host": {"_core", "_errors", "module_utils._protocol"},
    "_verbs": {
        "_errors",
        "_model",
        "_options",
        "_entries",
        "_late",
        "_plan",
        "_core",
        "_host",
        "module_utils._protocol",
    },
}
# What starts the rooms, and is used by none of them but for the options of the modules.
ENTRANCES = {
    "modules": {"module_utils._verbs"},
    "action": {
        "modules",
        "plugin_utils._core",
        "plugin_utils._errors",
        "plugin_utils._host",
        "plugin_utils._options",
        "plugin_utils._verbs",
    },
    "filter": {"plugin_utils._errors", "plugin_utils._verbs"},
}
ALLOWED = {
    **{f"module_utils.{room}": {f"module_utils.{name}" for name in used} for room, used in HOST.items()},
    **{
        f"plugin_utils.{room}": {name if "." in name else f"plugin_utils.{name}" for name in used}
        for room, used in CONTROLLER.items()
    },
    **ENTRANCES,
}


def room_of(parts: list[str]) -> str:
    return ".".join(parts[:2]) if parts[0] in ("module_utils", "plugin_utils") else parts[0]


def uses() -> Iterator[tuple[str, str, str]]:
    """Return (room, used room, place) for each import of another room."""
    for path in PLUGINS.rglob("*.py"):
        parts = list(path.relative_to(PLUGINS).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                target = (node.module or "")[len(PACKAGE) :].split(".")
                for alias in node.names:
                    used = room_of([*target, alias.name])
                    if used != room_of(parts):
                        yield room_of(parts), used, f"{path.relative_to(PLUGINS)}:{node.lineno}"


def test_each_room_uses_those_that_it_may() -> None:
    odd = [f"{place}: {room} uses {used}" for room, used, place in uses() if used not in ALLOWED[room]]
    assert not odd, "\n".join(odd)


def test_each_permission_is_used() -> None:
    used = {(room, other) for room, other, dummy in uses()}
    assert not [
        f"{room} -> {other}" for room, others in ALLOWED.items() for other in others if (room, other) not in used
    ]


def carried(name: str) -> set[str]:
    """Return what ansible-core sends to a host with one of the modules: all that it imports, wherever that is done."""
    found: set[str] = set()
    left = [f"modules.{name}"]
    while left:
        for node in ast.walk(ast.parse((PLUGINS / (left.pop().replace(".", "/") + ".py")).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                room = (node.module or "")[len(PACKAGE) :]
                names = [f"{room}.{alias.name}" for alias in node.names]
                names = [name if (PLUGINS / (name.replace(".", "/") + ".py")).exists() else room for name in names]
                left += set(names) - found
                found.update(names)
    return {name.partition(".")[2] for name in found}


# What a module has to do with of the verbs' room; not one word more goes to the host.
FOLLOWING = {
    "kept",
    "stand_in",
    "asked_jobs",
    "batches",
    "catalog",
    "core_async",
    "info",
    "orphans",
    "serving",
    "job_views",
}
VERBS = {
    "async_info": FOLLOWING | {"options"},
    "async_prune": FOLLOWING | {"forget", "garbage", "options", "prune"},
    "async_cancel": FOLLOWING | {"cancel", "options", "wait"},
    "async_update": FOLLOWING - {"info"} | {"options", "update", "wait"},
    "async_wait": FOLLOWING | {"cancel", "forget", "wait"},
    "async_run": FOLLOWING | {"cancel", "forget", "launcher", "wait"},
    "async_batch": FOLLOWING | {"cancel", "forget", "launcher", "wait"},
}


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_brings_along_what_it_uses(name: str) -> None:
    found = carried(name)
    assert {part.partition(".")[2] for part in found if part.startswith("_verbs.")} == VERBS[name]
    launches = "_verbs.launcher" in found
    assert any(part.startswith("_supervisor.") for part in found) is launches
    assert ("_fork_server.server" in found) is launches
    assert not any(part.startswith("_late.") for part in found), "that comes with the plan that needs it"


def test_the_rooms_have_no_cycles() -> None:
    left = {room: set(used) for room, used in ALLOWED.items()}
    while free := [room for room, used in left.items() if not used & left.keys()]:
        for room in free:
            del left[room]
    assert not left
