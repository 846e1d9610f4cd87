# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._errors import (
    JobRefused,
    Refused,
    nearest,
    printable,
    shorten,
)
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import operating

from .conftest import expand

TASK = {"name": "n", "command": "x"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "n", "comand": "x"}, "no module 'comand'"),
        ({**TASK, "regster": "x"}, "'register'"),
        ({**TASK, "retrys": 3}, "'retries'"),
        ({**TASK, "shel": "x"}, "'shell'"),
        ({**TASK, "loop": [1], "loop_control": {"lable": "x"}}, "'label'"),
        ({**TASK, "loop": [1], "loop_control": {"paus": 1}}, "'pause'"),
        ({"include_tasks": {"fiel": "x"}}, "'file'"),
        ({"include_role": {"name": "x", "task_from": "y"}}, "'tasks_from'"),
        ({"include_tasks": {"file": "x", "apply": {"envronment": {}}}}, "'environment'"),
        ({**TASK, "depends_on": "n", "run_when": "sucess"}, "'success'"),
        ({"name": "n", "block": [TASK], "resque": []}, "'rescue'"),
        ({"name": "n", "block": [{**TASK, "registr": "x"}]}, "'register'"),
    ],
)
def test_a_mistyped_word_of_a_job_gets_a_hint(entry: dict[str, object], said: str) -> None:
    with pytest.raises(JobRefused) as caught:
        for job in expand([entry], files={"x": [TASK]}):
            raise job.refused[0]
    assert said in str(caught.value)
    if "no module" not in said:  # which ansible-core, not here, knows about
        assert f"Did you mean {said}" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"concurency": 2}, "Unknown option 'concurency'. Did you mean 'concurrency'?"),
        ({"mode": "al"}, "Option 'mode': it must be one of all, any: got 'al'. Did you mean 'all'?"),
        ({"mode": 7}, "Option 'mode': it must be one of all, any: got '7'."),
    ],
)
def test_a_mistyped_option_or_value_of_one_gets_a_hint(given: dict[str, object], said: str) -> None:
    spec = {"concurrency": {"type": "int"}, "mode": {"type": "str", "choices": ["all", "any"]}}
    with pytest.raises(Refused) as caught:
        _options.read(given, spec)
    assert str(caught.value).startswith(said)


def test_a_mistyped_state_or_signal_gets_a_hint() -> None:
    with pytest.raises(Refused, match="Did you mean 'running'"):
        operating.Selection.of({"state": ["runing"]}, True, False)
    with pytest.raises(Refused, match="Did you mean 'TERM'"):
        operating.signal_number("TRM")


def test_what_is_like_nothing_gets_no_hint() -> None:
    assert nearest("zzz", ["command", "shell"]) == ""
    assert nearest("comand", ["command"], also=["command", "com"]) == " Did you mean 'command' or 'com'?"


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\x7f", "\x9b", "\r", "\u202e", "\u2066", "\u2028", "\ud800"])
def test_what_would_act_on_a_terminal_is_replaced(char: str) -> None:
    assert printable(f"a{char}b\tc\nd") == "a\ufffdb\tc\nd"
    assert char not in shorten(f"a{char}b", 10)


def test_other_characters_are_left() -> None:
    text = "ä日本👩‍🚀 \t\n"
    assert printable(text) == text
