# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.template import is_trusted_as_template, trust_as_template

from ansible_collections.background.jobs.plugins.plugin_utils._core import core as _core
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused


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
