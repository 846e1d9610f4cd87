# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each playbook and task that is shown, in the README, in guides, of roles and in examples, can be written so, and be run."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
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


# What the reader has, beside what is shown.
GONE = {"ansible_job_id": "j123456789012345.0"}
VARIABLES: dict[str, t.Any] = {
    "albums": ["one", "two"],
    "sites": ["one", "two"],
    "backup": GONE,
    "fire_and_forget_result": GONE,
    "migration": GONE,
    "deployment": {**GONE, "batch_id": "b123456789012345"},
    "done": {"jobs": []},
    "download1": GONE,
    "restart_jobs": [GONE],
    "files": ["a.tar", "b.tar"],
    "release": "1.2.3",
    "sums": ["/fast/a.sum", "/srv/b.sum"],
    "suites": ["unit"],
    "photos": ["a.jpg"],
    "mirrors": [GONE["ansible_job_id"]],
    "build": {**GONE, "batch_id": "b123456789012345"},
    "backups": "{{ {inventory_hostname: migration.ansible_job_id} }}",
    "downloads": {"results": [{**GONE, "item": "one"}]},
    "build_tasks": [{"name": "build", "ansible.builtin.command": "make"}],
    "urls": ["https://example.invalid/a.tar", "https://example.invalid/b.tar"],
}
TASKS = "- name: Work\n  ansible.builtin.command: /opt/work.sh\n"
FILES = {
    **dict.fromkeys(("launch_and_wait.yml", "migrate.yml", "site.yml"), TASKS),
    **{f"roles/{name}/tasks/main.yml": TASKS for name in ("harden", "people", "web")},
    "roles/certificates/tasks/renew.yml": TASKS,
    "migration.id": GONE["ansible_job_id"],
    "templates/server.conf.j2": "port 80\n",
}
# How a task may end that is shown. What is tried are the tasks, not the machine: in check mode no command runs and says
# something, and jobs that are not shown are not there.
EXPECTED = re.compile(
    r"(Cannot wait for )?\d+ of \d+ jobs?\b|[Cc]ould not find job|There are no jobs with (name|batch_id) |Option 'resume': the host has no record"
    r"|.* has no attribute (-1|'rc'|'duration'|'processor_vcpus')$|.* is the machine that Ansible runs on"
)


def plays_of(path: Path) -> list[dict[str, t.Any]]:
    """Return each block of a file as plays on a host of its own."""
    plays = []
    for block in yaml_of(path):
        shown = [entry for entry in block if "hosts" in entry] if isinstance(block, list) else []
        tasks = [entry for entry in block if "hosts" not in entry] if isinstance(block, list) else []
        tasks = [task for task in tasks if "ansible.builtin.import_playbook" not in task]
        plays += [*shown, *([{"tasks": tasks}] if tasks else [])]
    for task in tasks_of(plays):
        if "until" in task:
            task["retries"] = 0  # what it waits for never comes
    common = {"hosts": host_of(path), "gather_facts": False, "check_mode": True, "ignore_errors": True, "become": False}
    return [{**play, **common} for play in plays]


def host_of(path: Path) -> str:
    return "-".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Run all of it; what failed, by its host."""
    folder = tmp_path_factory.mktemp("shown")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    plays = [play for path in (*PAGES, *EXAMPLES) for play in plays_of(path)]
    # What is held by a busy machine would be held by this one.
    text = re.sub(r"max_load: .*", "max_load: 1000000", yaml.safe_dump(plays, sort_keys=False))
    text = re.sub(r"min_free_memory: .*", "min_free_memory: 1M", text)
    # Jobs that fail here fail again.
    text = re.sub(r"\bdelay: .*", "delay: 0", text)
    (folder / "all.yml").write_text(text)
    hosts = {host_of(path): {"ansible_async_dir": f"{folder}/async/{host_of(path)}"} for path in (*PAGES, *EXAMPLES)}
    common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **VARIABLES}
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": common}}))
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "inventory.yml", "all.yml"]
    env = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, env=env)
    found: dict[str, list[str]] = {host: [] for host in hosts}
    for host, result in re.findall(
        r"^(?:fatal|failed): \[([^]]+?)(?: -> [^]]+)?\].*? => (\{.*\})$", done.stdout, re.MULTILINE
    ):
        found[host].append(json.loads(result)["msg"])
    count = done.stdout.count("PLAY [")
    assert count == len(plays), done.stdout[-500:]
    return found


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_shown_can_be_run(path: Path, failures: dict[str, list[str]]) -> None:
    unexpected = [why for why in failures[host_of(path)] if not EXPECTED.match(why)]
    assert not unexpected, "\n".join(unexpected)


def command_lines() -> list[str]:
    """Return the commands of Ansible that are shown; `make test` does what the others say."""
    blocks = [block for path in PAGES for language, block in shown(path) if language in ("sh", "shell", "console")]
    lines = {line.removeprefix("$ ") for block in blocks for line in block.splitlines()}
    return sorted(line for line in lines if re.match(r"ansible(-playbook)? ", line))


@pytest.mark.parametrize("line", command_lines())
def test_what_is_shown_can_be_run_in_a_shell(line: str, tmp_path: Path) -> None:
    """Playbooks are there and take what they are given; single tasks are understood, for a host without jobs."""
    hosts = {"this": {"ansible_connection": "local", "ansible_async_dir": str(tmp_path / "async")}}
    groups = {name: {"hosts": {"this": None}} for name in ("web", "db")}
    inventory = {"all": {"hosts": hosts, "children": groups, "vars": {"ansible_python_interpreter": sys.executable}}}
    (tmp_path / "inventory").write_text(yaml.safe_dump(inventory))
    program, *words = shlex.split(line, comments=True)
    words += ["--list-tasks"] if program == "ansible-playbook" else ["--check", "-i", "inventory"]
    env = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [Path(sys.executable).parent / program, *words],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=env,
    )
    said = re.search(r'"msg": "(.*)"', done.stdout)
    assert done.returncode == 0 or (said and EXPECTED.match(said[1])), done.stdout + done.stderr
