# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each option has an example, each return value a sample of its type, and what verbs return is what is documented."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
VERBS = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("async_*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
}
# What Ansible itself adds to a result.
OF_ANSIBLE = {
    "ansible_facts",
    "ansible_loop_var",
    "item",
    "changed",
    "deprecations",
    "exception",
    "failed",
    "invocation",
    "msg",
    "warnings",
}
# "... as ... tells them": whose jobs have more than what is documented of the verb itself.
AS_IN = {"async_cancel": "async_wait", "async_prune": "async_info", "async_update": "async_info"}
# What the playbook below has no reason to return: of hosts and jobs that are not well, and of rare keywords.
UNSEEN = {
    "async_batch": {"diff", "msg"},
    "async_run": {"diff"},
    "async_wait": {"jobs.in_line", "jobs.cacheable", "jobs.gathered", "jobs.results.item"},
}

Tree = dict[str, t.Any]


def module(verb: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.background.jobs.plugins.modules.{verb}")


def values(returned: Tree, path: str = "") -> Iterator[tuple[str, Tree]]:
    """Return each documented value by its path, such as jobs.name."""
    for name, about in returned.items():
        yield f"{path}{name}", about
        yield from values(about.get("contains") or {}, f"{path}{name}.")


def fits(value: object, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (kind in ("bool", "raw") or not isinstance(value, bool))


@pytest.mark.parametrize("verb", VERBS)
def test_each_option_of_a_verb_has_an_example(verb: str) -> None:
    tasks = yaml.safe_load(module(verb).EXAMPLES)
    shown = {option for task in tasks for option in task.get(f"background.jobs.{verb}", ())}

    assert {name for name in module(verb).ARGUMENT_SPEC if not name.startswith("_")} == shown


@pytest.mark.parametrize("role", ROLES)
def test_each_option_of_a_role_has_an_example(role: str) -> None:
    main = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    tasks = yaml.safe_load(main["examples"])
    shown = {
        name
        for task in tasks
        for name in task.get("vars", ())
        if task["ansible.builtin.include_role"]["name"] == f"background.jobs.{role}"
    }

    assert set(main["options"]) <= shown


@pytest.mark.parametrize("verb", VERBS)
def test_each_value_has_a_sample_of_its_type(verb: str) -> None:
    for path, about in values(yaml.safe_load(module(verb).RETURN)):
        if "contains" not in about:
            assert fits(about["sample"], about["type"]), path
            if "elements" in about:
                assert all(fits(one, about["elements"]) for one in about["sample"]), path


PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - background.jobs.async_batch:
        pool: said
        pool_size: 2
        tasks:
          - name: say {{ item }}
            ansible.builtin.command: printf {{ item }}
            loop: [one]
          - name: fails
            ansible.builtin.command: "false"
            retries: 1
            delay: 0
          - name: block
            depends_on: say
            block:
              - ansible.builtin.command: printf found
                register: found
              - ansible.builtin.set_fact:
                  known: "{{ found.stdout }}"
              - ansible.builtin.command: "false"
                ignore_errors: true
              - ansible.builtin.command: "false"
            rescue:
              - ansible.builtin.command: "true"
                notify: handle
      register: async_batch
    - background.jobs.async_run:
        name: runs
        task:
          ansible.builtin.shell: echo out; echo err >&2; exec sleep 600
        singleton: true
        pool: one
        pool_size: 1
      loop: [1, 2]
      register: runs
    - background.jobs.async_run:
        name: runs later
        task:
          ansible.builtin.command: "true"
        pool: one
        pool_size: 1
    - background.jobs.async_wait:
        jobs: "{{ async_batch }}"
      ignore_errors: true
      register: async_wait
    - background.jobs.async_info:
        tail: 5
      register: async_info
    - background.jobs.async_update:
        name: runs
        concurrency: 2
        pool: one
        pool_size: 1
      register: async_update
    - background.jobs.async_cancel:
        name: runs*
      register: async_cancel
    - background.jobs.async_prune:
        all: true
      register: async_prune
    - ansible.builtin.copy:
        content: "{{ {'async_run': runs.results[1]} | combine(dict(names | zip(names | map('extract', vars)))) | to_json }}"
        dest: "{{ playbook_dir }}/returned.json"
        mode: "0600"
      vars:
        names: [async_batch, async_wait, async_info, async_update, async_cancel, async_prune]
  handlers:
    - name: handle
      ansible.builtin.debug:
"""


@pytest.fixture(scope="module")
def returned(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """What each verb has returned in a playbook."""
    folder = tmp_path_factory.mktemp("values")
    (folder / "play.yml").write_text(PLAY)
    bin_folder = Path(sys.executable).parent
    env = {**os.environ, "ANSIBLE_ASYNC_DIR": str(folder / "async"), "ANSIBLE_DEPRECATION_WARNINGS": "false"}
    command = [bin_folder / "ansible-playbook", "-i", "localhost,", "-c", "local", "play.yml"]
    words = ["-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run([*command, *words], check=False, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found: Tree = json.loads((folder / "returned.json").read_text())
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_returned_is_documented(verb: str, returned: Tree) -> None:
    documented = dict(values(yaml.safe_load(module(verb).RETURN)))
    more = dict(values(yaml.safe_load(module(AS_IN[verb]).RETURN))) if verb in AS_IN else {}
    seen: set[str] = set()

    assert not [*odd(returned[verb], {**more, **documented}, "", seen)]
    assert documented.keys() - seen == UNSEEN.get(verb, set())


def odd(result: Tree, documented: dict[str, Tree], path: str, seen: set[str]) -> Iterator[str]:
    """Return what is not as it is documented; note in `seen` what there is."""
    for name, value in result.items():
        about = documented.get(f"{path}{name}")
        if about is None:
            if path or name not in OF_ANSIBLE:
                yield f"{path}{name} is not documented"
            continue
        seen.add(f"{path}{name}")
        if not fits(value, about["type"]):
            yield f"{path}{name} is no {about['type']}: {value!r}"
        for one in value if about.get("elements") == "dict" and "contains" in about else ():
            yield from odd(one, documented, f"{path}{name}.", seen)
