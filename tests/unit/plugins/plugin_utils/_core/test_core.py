# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest
from ansible.template import is_trusted_as_template, trust_as_template

from ansible_collections.background.jobs.plugins.plugin_utils._core import core as _core
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused


def test_variables_win_as_those_of_plain_tasks_do() -> None:
    core = object.__new__(_core.Core)
    core.task_vars = {"inventory": 1, "found": 1, "extra": 1}
    core._extra_vars = {"extra": 1}
    core._found_out = {"found", "extra"}
    every = dict.fromkeys(("inventory", "found", "extra", "loop"), "mine")
    assert core.scope({**every, "new": "mine"}, {}, {}, {}) == {"loop": "mine", "new": "mine"}
    assert core.scope({}, every, {}, {}) == {"inventory": "mine", "loop": "mine"}
    assert core.scope({}, {"found": "weak"}, every, {}) == {"inventory": "mine", "found": "mine", "loop": "mine"}
    assert core.scope({"loop": 1}, {"loop": 2}, {"loop": 3}, every) == every


def test_what_the_play_has_set_and_hands_on_is_known_by_name() -> None:
    manager = types.SimpleNamespace(
        _vars_cache={"h": {"read": 1}, "other": {"x": 1}}, _nonpersistent_fact_cache={"h": {"set": 1}}
    )
    role = types.SimpleNamespace(get_role_params=lambda chain: {"of_role": chain})
    task: t.Any = types.SimpleNamespace(
        _variable_manager=manager, _role=role, get_include_params=lambda: {"handed": 1}, get_dep_chain=list
    )
    known = {"inventory_hostname": "h", "ansible_loop_var": "each"}
    assert list(_core._of_cache(task, known, "_vars_cache")) == ["read"]
    assert list(_core._of_cache(task, known, "_nonpersistent_fact_cache")) == ["set"]
    assert list(_core._handed_on(task, known)) == ["each", "handed", "of_role"]
    assert list(_core._of_cache(task, {"inventory_hostname": "new"}, "_vars_cache")) == []


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("command: uptime", {"command": "uptime"}),
        ('{"command": "uptime"}', {"command": "uptime"}),
        ("[{command: uptime}, {command: echo}]", [{"command": "uptime"}, {"command": "echo"}]),
        ("command: echo {{ x }}", {"command": "echo {{ x }}"}),
        ("echo", "echo"),
        ("{{ tasks }}", "{{ tasks }}"),
        ("{{ one + two }}", "{{ one + two }}"),
    ],
)
def test_tasks_may_be_a_text_as_on_a_command_line(text: str, tasks: object) -> None:
    found = _core._from_text(trust_as_template(text))
    assert found == tasks
    if isinstance(found, dict):
        assert is_trusted_as_template(found["command"])


def test_what_nobody_has_typed_is_no_task() -> None:
    assert _core._from_text("command: uptime") == "command: uptime"


def test_what_is_nearly_yaml_is_told() -> None:
    with pytest.raises(Refused, match=r"not the YAML or JSON of tasks.*flow sequence"):
        _core._from_text(trust_as_template("command: [x"))
