# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each playbook and task that is shown, in the README, in guides, of roles and in examples, could be written so."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import textwrap
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._entries import keywords

ROOT = Path(__file__).resolve().parents[2]
VERBS = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("async_*.py"))
PAGES = sorted((*ROOT.glob("docs/docsite/rst/*.rst"), ROOT / "README.md", *ROOT.glob("roles/*/README.md")))
EXAMPLES = sorted(
    (
        *ROOT.glob("plugins/modules/*.py"),
        *ROOT.glob("plugins/filter/*.py"),
        *ROOT.glob("roles/*/meta/argument_specs.yml"),
    )
)
# What is YAML and no playbook, by its keys: a requirements file, and the definition of an execution environment.
OTHERS = ({"background_jobs_pools"}, {"collections"}, {"version", "images", "dependencies"})
SECTIONS = ("pre_tasks", "tasks", "post_tasks", "handlers")
BLOCKS = ("block", "rescue", "always")
# Variables of roles that hold entries.
ENTRIES = ("batch_tasks", "fire_and_forget_tasks", "monitor_task", "monitor_while_tasks")
PREFIX = "background.jobs."

Tree = dict[str, t.Any]


def shown(path: Path) -> list[tuple[str, str]]:
    """Return the blocks of code that a file shows, each with its language."""
    text = path.read_text()
    if path.suffix == ".py":
        return [("yaml", importlib.import_module(f"ansible_collections.{PREFIX}{_dotted(path)}").EXAMPLES)]
    if path.suffix == ".yml":
        return [("yaml", yaml.safe_load(text)["argument_specs"]["main"]["examples"])]
    if path.suffix == ".md":
        return re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    found = re.findall(r"^( *)\.\. code-block:: (\w+).*\n\n((?:\1 +.*\n|\n)+)", text, re.MULTILINE)
    assert len(found) == text.count("code-block::"), path
    return [(language, textwrap.dedent(block)) for dummy, language, block in found]


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def yaml_of(path: Path) -> list[t.Any]:
    return [yaml.safe_load(block) for language, block in shown(path) if language == "yaml"]


def tasks_of(entries: list[Tree]) -> Iterator[Tree]:
    """Return the tasks of plays, blocks and lists of tasks."""
    for entry in entries:
        inner = [key for key in (*SECTIONS, *BLOCKS) if isinstance(entry.get(key), list)]
        for key in inner:
            yield from tasks_of(entry[key])
        if not inner:
            yield entry


def verbs_in(path: Path) -> Iterator[tuple[str, Tree]]:
    for block in yaml_of(path):
        for task in tasks_of(block if isinstance(block, list) else []):
            for verb in VERBS:
                if f"{PREFIX}{verb}" in task:
                    yield verb, task[f"{PREFIX}{verb}"]


def entries_in(path: Path) -> Iterator[Tree]:
    """Return what is shown as a job: entries of launches, and of variables of roles."""
    given = [arguments.get("tasks") or arguments.get("task") for dummy, arguments in verbs_in(path)]
    for block in yaml_of(path):
        for task in tasks_of(block if isinstance(block, list) else []):
            given += [dict(task.get("vars") or {}).get(name) for name in ENTRIES if name != "monitor_while_tasks"]
    for one in given:
        yield from [one] if isinstance(one, dict) else one if isinstance(one, list) else []


def test_all_of_it_is_a_playbook_for_ansible(tmp_path: Path) -> None:
    """Keys of plays and tasks exist, and so do modules, those of jobs too; what is no playbook is something else that is known."""
    plays: list[Tree] = []
    for path in (*PAGES, *EXAMPLES):
        for block in yaml_of(path):
            if isinstance(block, dict):
                assert set(block) in OTHERS
                continue
            whole = [entry for entry in block if {"hosts", "ansible.builtin.import_playbook"} & entry.keys()]
            plays += [*whole, {"hosts": "all", "tasks": [entry for entry in block if entry not in whole]}]
        plays += [{"hosts": "all", "tasks": [{name: value}]} for name, value in modules_of(list(entries_in(path)))]
    (tmp_path / "all.yml").write_text(yaml.safe_dump(plays))

    command = [Path(sys.executable).parent / "ansible-playbook", "--syntax-check", "-i", "localhost,", "all.yml"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def modules_of(entries: list[Tree]) -> Iterator[tuple[str, t.Any]]:
    for entry in tasks_of(entries):
        yield from ((key, value) for key, value in entry.items() if "." in key and not keywords.include_in(entry))


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_verbs_take_the_options(path: Path) -> None:
    for verb, arguments in verbs_in(path):
        spec = importlib.import_module(f"ansible_collections.{PREFIX}plugins.modules.{verb}").ARGUMENT_SPEC
        assert arguments.keys() <= spec.keys()
        # What a template will give cannot be known; it is nothing that is required.
        _options.read(
            {key: value for key, value in arguments.items() if key in ("tasks", "task") or is_known(value)}, spec
        )


def is_known(value: object) -> bool:
    return "{{" not in json.dumps(value)


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_jobs_have_keys_that_a_job_may_have(path: Path) -> None:
    for entry in entries_in(path):
        check_keys(entry, keywords.of_job(entry))


def check_keys(source: Mapping[str, t.Any], keys: keywords.Keys) -> None:
    modules = [key for key in source if not keys.allows(key)]
    assert [keys.why_refused(key) for key in modules] == [None] * len(modules), source
    assert len(modules) == (0 if "block" in source else 1), source  # test_all_of_it... looks whether it exists
    for section in BLOCKS:
        for task in source.get(section, ()):
            check_keys(task, keywords.of_task(task))


def names() -> set[str]:
    """Return all that is called background.jobs.something."""
    folders = (("plugins/modules", "*.py"), ("plugins/filter", "*.py"), ("roles", "*"), ("playbooks", "*.yml"))
    found = {path.stem for folder, pattern in folders for path in (ROOT / folder).glob(pattern)}
    return found | {f"patterns.{path.stem}" for path in ROOT.glob("playbooks/patterns/*.yml")}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_named_is_there(path: Path) -> None:
    named = set(re.findall(r"(?<![\w./@])background\.jobs\.((?:patterns\.)?[a-z]\w*)", path.read_text()))
    assert not named - names() - {"docsite"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_are_there_and_json_is_json(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for language, block in shown(path):
        if language == "json":
            json.loads(block)
        for target in re.findall(r"\bmake ([a-z]+)", block if language in ("sh", "shell", "console") else ""):
            assert re.search(rf"^{target}\b.*: ##", makefile, re.MULTILINE), target
