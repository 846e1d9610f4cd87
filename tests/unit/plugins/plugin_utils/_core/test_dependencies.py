# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible.executor import module_common

from ansible_collections.background.jobs.plugins.plugin_utils._core import dependencies

MODULES = ("ping", "copy", "unarchive", "background.jobs.async_wait", "uri", "background.jobs.async_run", "copy")
# As in ansible-playbook, whose plugin loader changes how a process imports collections. Core's own cache, by which a module is
# built once a run, is not in the way.
PROGRAM = """
import contextlib, json, sys
from ansible import constants
from ansible.executor import module_common
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, module_loader
from ansible.template import Templar

init_plugin_loader([])
from ansible_collections.background.jobs.plugins.plugin_utils._core import dependencies
from ansible_collections.background.jobs.plugins.plugin_utils._plan import payloads

folder, remembers, *modules = sys.argv[1:]
compiled, really = [], module_common._compile_module_ast
module_common._compile_module_ast = lambda name, source: compiled.append(name) or really(name, source)


def build(name, number):
    constants.DEFAULT_LOCAL_TMP = f"{folder}/{number}"
    found = module_loader.find_plugin_with_context(name)
    built = module_common.modify_module(
        module_name=found.resolved_fqcn,
        module_path=found.plugin_resolved_path,
        module_args={"data": "x"},
        templar=Templar(loader=DataLoader()),
        task_vars={"ansible_python_interpreter": "/usr/bin/python3"},
        module_compression="ZIP_DEFLATED",
    )
    encoded = json.dumps({"ANSIBLE_MODULE_ARGS": {"data": "x"}})
    of_core = payloads.Built("new", built.shebang, built.b_module_data, name, built.serialization_profile)
    payload = payloads.split(of_core, encoded, {"data": "x"})[0]
    return [payload["style"], payload["tail"]]  # the head has the time in it


with dependencies.looked_through_once() if remembers == "True" else contextlib.nullcontext():
    made = [build(name, number) for number, name in enumerate(modules)]
print(json.dumps([made, compiled]))
"""


def build(folder: Path, remembers: bool) -> tuple[list[tuple[str, str]], Counter[str]]:
    """Return the payloads of MODULES, and how often each file was compiled."""
    command = [sys.executable, "-c", PROGRAM, str(folder), str(remembers), *MODULES]
    made, compiled = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return made, Counter(compiled)


def test_modules_are_the_same_and_each_utility_is_compiled_once(tmp_path: Path) -> None:
    expected, before = build(tmp_path / "plain", remembers=False)
    found, compiled = build(tmp_path / "remembering", remembers=True)
    assert {style for style, tail in expected} == {"ansiballz"}
    assert found == expected
    assert compiled.keys() == before.keys()
    utilities = {name for name in compiled if "module_utils" in name.split(".")}
    assert {compiled[name] for name in utilities} == {1}
    assert max(before[name] for name in utilities) == len(MODULES)
    assert sum(count for name, count in compiled.items() if name.rpartition(".")[2] == "copy") == 2, (
        "a module each time"
    )


def test_afterwards_all_is_as_it_was() -> None:
    owners = (module_common.ModuleDepFinder, module_common.LegacyModuleUtilLocator)
    before = [module_common._compile_module_ast, *(owner.__init__ for owner in owners)]  # type: ignore[misc]
    with pytest.raises(AnsibleError), dependencies.looked_through_once():
        raise AnsibleError("in the middle of a launch")
    assert [module_common._compile_module_ast, *(owner.__init__ for owner in owners)] == before  # type: ignore[misc]
