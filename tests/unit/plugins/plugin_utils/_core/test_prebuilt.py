# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.plugins import action as core_action

from ansible_collections.background.jobs.plugins.plugin_utils._core import prebuilt

# A run of ansible-playbook, as far as modules are concerned: its plugin loader, and a folder for its temporary files.
PROGRAM = """
import json, sys
from ansible import constants
from ansible.executor import module_common
from ansible.executor.interpreter_discovery import InterpreterDiscoveryRequiredError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins import action
from ansible.plugins.loader import init_plugin_loader, module_loader
from ansible.template import Templar

folder, temporary, collections, *modules = sys.argv[1:]
init_plugin_loader([collections])
from pathlib import Path
from ansible_collections.background.jobs.plugins.plugin_utils._core import prebuilt
from ansible_collections.background.jobs.plugins.plugin_utils._plan import payloads

constants.DEFAULT_LOCAL_TMP = temporary
built, really = [], module_common.recursive_finder
module_common.recursive_finder = lambda *args: built.append(args[1].rpartition(".")[2]) or really(*args)


def modify(name, interpreter):
    found = module_loader.find_plugin_with_context(name)
    return action.modify_module(
        module_name=found.resolved_fqcn,
        module_path=found.plugin_resolved_path,
        module_args={},
        templar=Templar(loader=DataLoader()),
        task_vars={"ansible_python_interpreter": interpreter},
        module_compression="ZIP_DEFLATED",
    )


def build(name):
    try:  # as for the first task on a host
        modify(name, "auto")
    except InterpreterDiscoveryRequiredError:
        one = modify(name, "/usr/bin/python3")
    of_core = payloads.Built("new", one.shebang, one.b_module_data, name, one.serialization_profile)
    payload = payloads.split(of_core, json.dumps({"ANSIBLE_MODULE_ARGS": {}}), {})[0]
    return [payload["style"], payload["tail"]]


with prebuilt.used(Path(folder)):
    made = [build(name) for name in modules]
print(json.dumps([made, built]))
"""
UTILITY = "plugins/module_utils/own.py"


class Runs:
    """Runs that keep what they build in the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "kept"
        self.collections = folder / "collections"
        self._temporary = folder / "temporary"
        self._count = 0

    def build(self, *modules: str) -> tuple[list[t.Any], list[str]]:
        """Return the payloads of modules, and the names of those that were built anew."""
        self._count += 1
        temporary = self._temporary / str(self._count)
        temporary.mkdir(parents=True)
        command = [sys.executable, "-c", PROGRAM, self.folder, temporary, self.collections, *modules]
        made, built = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        assert {style for style, tail in made} == {"ansiballz"}
        return made, built

    def collection(self, name: str, *imports: str) -> Path:
        """Make a collection with a module `mine` that imports these."""
        root = self.collections / "ansible_collections" / "example" / name
        for path, text in (("plugins/modules/mine.py", "\n".join(imports)), (UTILITY, "number = 1")):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(f"{text}\n")
        return root


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_a_module_is_built_in_the_first_run_only(runs: Runs) -> None:
    modules = ("ansible.builtin.ping", "ansible.builtin.copy", "background.jobs.async_wait", "ansible.legacy.ping")
    first, built = runs.build(*modules)
    assert built == ["ping", "copy", "async_wait"]
    assert runs.build(*modules) == (first, [])


def test_what_is_damaged_is_built_anew(runs: Runs) -> None:
    first, _built = runs.build("ansible.builtin.ping")
    (kept,) = runs.folder.glob("*.built")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert runs.build("ansible.builtin.ping") == (first, ["ping"])


def test_a_utility_that_has_changed_is_sent(runs: Runs) -> None:
    root = runs.collection("first", "from ansible_collections.example.first.plugins.module_utils.own import number")
    first, built = runs.build("example.first.mine")
    assert built == ["mine"]
    assert runs.build("example.first.mine") == (first, [])
    (root / UTILITY).write_text("number = 2\n")
    second, built = runs.build("example.first.mine")
    assert built == ["mine"]
    assert second != first


def test_what_uses_another_collection_is_left_to_core(runs: Runs) -> None:
    runs.collection("second")
    lines = (
        "from ansible_collections.example.second.plugins.module_utils.own import number",
        "import ansible_collections.example.second.plugins.module_utils.own",
        "try:\n    from ansible_collections.example.second.plugins.module_utils import own\nexcept ImportError:\n    pass",
    )
    for name, line in zip("abc", lines, strict=True):
        runs.collection(name, "from ansible.module_utils import basic", line)
    for _run in range(2):
        assert runs.build(*(f"example.{name}.mine" for name in "abc"))[1] == ["mine"] * 3


def test_where_nothing_can_be_kept_core_builds(runs: Runs) -> None:
    runs.folder.write_text("this is no folder")
    assert runs.build("ansible.builtin.ping")[1] == ["ping"]


def test_afterwards_core_is_as_it_was(tmp_path: Path) -> None:
    before = core_action.modify_module
    with pytest.raises(ValueError, match="in the middle"), prebuilt.used(tmp_path):
        raise ValueError("in the middle of a launch")
    assert core_action.modify_module is before
