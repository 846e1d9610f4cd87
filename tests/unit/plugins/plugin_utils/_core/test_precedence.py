# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

from ansible_collections.background.jobs.plugins.plugin_utils._core import precedence


def test_variables_win_as_those_of_plain_tasks_do() -> None:
    known = object.__new__(precedence.Known)
    known._task_vars = {"inventory": 1, "found": 1, "extra": 1}
    known._extra_vars = {"extra": 1}
    known._found_out = {"found", "extra"}
    every = dict.fromkeys(("inventory", "found", "extra", "loop"), "mine")
    assert known.scope({**every, "new": "mine"}, {}, {}, {}) == {"loop": "mine", "new": "mine"}
    assert known.scope({}, every, {}, {}) == {"inventory": "mine", "loop": "mine"}
    assert known.scope({}, {"found": "weak"}, every, {}) == {"inventory": "mine", "found": "mine", "loop": "mine"}
    assert known.scope({"loop": 1}, {"loop": 2}, {"loop": 3}, every) == every


def test_what_the_play_has_set_and_hands_on_is_known_by_name() -> None:
    manager = types.SimpleNamespace(
        _vars_cache={"h": {"read": 1}, "other": {"x": 1}}, _nonpersistent_fact_cache={"h": {"set": 1}}
    )
    role = types.SimpleNamespace(get_role_params=lambda chain: {"of_role": chain})
    task: t.Any = types.SimpleNamespace(
        _variable_manager=manager, _role=role, get_include_params=lambda: {"handed": 1}, get_dep_chain=list
    )
    known = {"inventory_hostname": "h", "ansible_loop_var": "each"}
    assert list(precedence.of_cache(task, known, "_vars_cache")) == ["read"]
    assert list(precedence.of_cache(task, known, "_nonpersistent_fact_cache")) == ["set"]
    assert list(precedence.handed_on_to(task, known)) == ["each", "handed", "of_role"]
    assert list(precedence.of_cache(task, {"inventory_hostname": "new"}, "_vars_cache")) == []
