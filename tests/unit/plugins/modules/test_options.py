# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options are told in three places: the documentation, the fragments, the argument spec. They must say the same."""

from __future__ import annotations

import importlib
import typing as t

import pytest
import yaml

MODULES = ("async_batch", "async_cancel", "async_info", "async_prune", "async_run", "async_update", "async_wait")
BASE = "ansible_collections.background.jobs.plugins"


def documented(module: str) -> dict[str, dict[str, t.Any]]:
    doc = yaml.safe_load(importlib.import_module(f"{BASE}.modules.{module}").DOCUMENTATION)
    options: dict[str, dict[str, t.Any]] = {}
    for fragment in doc["extends_documentation_fragment"]:
        text = importlib.import_module(
            f"{BASE}.doc_fragments.{fragment.rpartition('.')[2]}"
        ).ModuleDocFragment.DOCUMENTATION
        options.update(yaml.safe_load(text)["options"])
    return {**options, **doc["options"]}


@pytest.mark.parametrize("module", MODULES)
def test_the_spec_is_what_is_documented(module: str) -> None:
    spec = importlib.import_module(f"{BASE}.modules.{module}").ARGUMENT_SPEC
    public = {name: rules for name, rules in spec.items() if not name.startswith("_")}
    keys = ("type", "required", "default", "choices", "elements")
    assert {name: {key: rules[key] for key in keys if key in rules} for name, rules in public.items()} == {
        name: {key: rules[key] for key in keys if key in rules} for name, rules in documented(module).items()
    }


@pytest.mark.parametrize("module", MODULES)
def test_hidden_options_are_no_secret_in_logs(module: str) -> None:
    spec = importlib.import_module(f"{BASE}.modules.{module}").ARGUMENT_SPEC
    assert spec.get("_plan", {"no_log": True})["no_log"] is True


@pytest.mark.parametrize("module", MODULES)
def test_examples_and_returns_are_yaml(module: str) -> None:
    loaded = importlib.import_module(f"{BASE}.modules.{module}")
    tasks = yaml.safe_load(loaded.EXAMPLES)
    assert all("name" in task for task in tasks)
    assert {"jobs"} <= set(yaml.safe_load(loaded.RETURN))
