# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in several places stands there alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ACTIONS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("[!_]*.py"))


@pytest.mark.parametrize("name", ACTIONS)
def test_each_action_has_a_module_of_its_name(name):
    assert (ROOT / "plugins" / "modules" / f"{name}.py").is_file()


def test_the_action_group_holds_each_action():
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())

    assert set(ACTIONS) <= set(runtime["action_groups"]["jobs"])
