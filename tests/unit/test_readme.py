# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README shows what the demo runs, and roles and playbooks have what their documentation says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
# Lists of tasks can't stand in an argument spec: Ansible would render them.
UNCHECKED = {"batch_tasks", "fire_and_forget_tasks", "monitor_task"}


def blocks(path: Path) -> list:
    return [
        yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    ]


def test_the_first_example_is_what_the_demo_runs():
    tasks = blocks(ROOT / "README.md")[0][0]["tasks"][0]["background.jobs.async_batch"]["tasks"]

    assert tasks == yaml.safe_load((ROOT / "playbooks" / "vars" / "example.yml").read_text())["example_tasks"]


def test_the_readme_is_short_and_its_table_has_each_verb_and_core():
    text = (ROOT / "README.md").read_text()
    verbs = {path.stem for path in (ROOT / "plugins" / "modules").glob("async_*.py")}
    cores = re.search(r"^\| ansible-core \| (.*) \|$", text, re.MULTILINE)[1].split(", ")

    assert len(text.splitlines()) <= 150
    assert set(re.findall(r"^\| \[`(\w+)`\]", text, re.MULTILINE)) == verbs
    assert f">={cores[0]}" in (ROOT / "meta" / "runtime.yml").read_text()


def test_what_the_readme_links_to_is_there():
    links = re.findall(r"/blob/main/([\w/.]+)(?:#([\w-]+))?\)", (ROOT / "README.md").read_text())
    for name, anchor in links:
        text = (ROOT / name).read_text()
        assert not anchor or anchor in {re.sub(r"\W+|_", "-", line).strip("-").lower() for line in text.splitlines()}
    assert {name for name, dummy in links} >= {f"docs/docsite/rst/{guide}.rst" for guide in guides()}


def guides() -> list[str]:
    sections = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text())["sections"]
    return sections[0]["toctree"]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_tells_of_its_variables_alike_everywhere(role):
    folder = ROOT / "roles" / role
    specified = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    defaults = yaml.safe_load((folder / "defaults" / "main.yml").read_text())
    listed = set(re.findall(r"^\| `(\w+)` \|", (folder / "README.md").read_text(), re.MULTILINE))
    text = "".join(path.read_text() for path in folder.glob("*/*.yml") if path.parent.name in ("tasks", "vars"))
    used = set(re.findall(rf"\b{role}_\w+", text)) - {f"{role}_result", f"{role}_output"}

    assert listed == used == set(specified) | (UNCHECKED & used)
    assert {name: option["default"] for name, option in specified.items() if "default" in option} == defaults
    assert all(name.startswith(f"{role}_") for name in listed)


OPERATING = ("cancel", "jobs", "prune", "wait")


@pytest.mark.parametrize("playbook", OPERATING)
def test_a_playbook_tells_of_its_variables_alike_everywhere(playbook):
    comment, dummy, body = (ROOT / "playbooks" / f"{playbook}.yml").read_text().partition("\n- name:")
    shared = {"jobs_states": "jobs_state", "jobs_given": "jobs_all", "jobs_none": "jobs_all"}
    private = {"jobs_table", "jobs_shown"}
    used = {shared.get(name, name) for name in re.findall(r"\b(?:target|jobs_\w+)\b", body)} - private
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_playbooks.rst").read_text()
    rows = re.findall(r"^   \* - (.*)\n     - (.*)\n", guide, re.MULTILINE)
    listed = {
        name
        for names, playbooks in rows
        for name in re.findall(r"``(\w+)``", names)
        if playbooks == "all of them" or f"``{playbook}``" in playbooks
    }

    assert used == set(re.findall(r"\b(?:target|jobs_\w+)\b", comment)) == listed


PATTERNS = sorted((ROOT / "playbooks" / "patterns").glob("*.yml"))
GUIDES = ROOT / "docs" / "docsite" / "rst"


def test_the_guide_lists_each_pattern():
    guide = (GUIDES / "guide_patterns.rst").read_text()

    assert set(re.findall(r"playbooks/patterns/(\w+)\.yml", guide)) == {path.stem for path in PATTERNS}


@pytest.mark.parametrize("path", PATTERNS, ids=lambda path: path.stem)
def test_a_pattern_says_what_is_better_runs_anywhere_and_looks_at_the_outcome(path):
    comment, dummy, body = path.read_text().partition("\n- name:")
    plays = yaml.safe_load(f"- name:{body}")

    assert "\n# Old: " in comment and "\n# New: " in comment
    assert any(play["hosts"].startswith("{{ target | default(") for play in plays)
    assert not any({"connection", "remote_user", "become"} & play.keys() for play in plays)
    assert "ansible.builtin.assert:" in body
    assert ("old way %.1f s, new way %.1f s" in body) == (path.stem != "rolling_reboot")


def test_pictures_are_there_are_shown_and_are_small():
    images = {path.name: path.stat().st_size for path in (GUIDES / "images").iterdir()}
    guides = "".join(path.read_text() for path in GUIDES.glob("*.rst"))
    shown = set(re.findall(r"image:: images/(\S+)\n   :alt: ", guides))

    assert shown == images.keys()
    assert max(images.values()) < 50_000
