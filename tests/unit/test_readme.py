# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README shows what the demo runs, and the roles have what their READMEs say."""

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
