# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With no_log, what is said of a job that is refused holds job, key and kind, and no value."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused, combined
from ansible_collections.background.jobs.plugins.plugin_utils._model import Defaults, Step, refusal_of

from ..conftest import expand

SECRET = "s3cr3t"
GIVEN = "{{ secret }}"

CASES: dict[str, tuple[dict[str, t.Any], str]] = {
    "seconds": ({"timeout": GIVEN}, "key 'timeout': it must be a number of seconds: got a string"),
    "number": ({"retries": GIVEN}, "key 'retries': it must be a number from 0 .*: got a string"),
    "size": ({"memory_max": GIVEN}, "key 'memory_max': it must be a size .*: got a string"),
    "flag": ({"ignore_errors": GIVEN}, "key 'ignore_errors': it must be true or false: got a string"),
    "loop": ({"loop": GIVEN}, "key 'loop': it must give a list: got a string"),
    "loop variable": (
        {"loop": [1], "loop_control": {"loop_var": "{{ secret }} !"}},
        "key 'loop_control.loop_var': a string that cannot be the name of a variable",
    ),
    "loop_control": ({"loop": [1], "loop_control": SECRET}, "key 'loop_control': .* got a string"),
    "vars": ({"vars": SECRET}, "key 'vars': it must be a dictionary: got a string"),
    "environment": ({"environment": GIVEN}, "key 'environment': it must be a dictionary.*: got a string"),
    "run_when": ({"depends_on": "n", "run_when": GIVEN}, "key 'run_when': it must be one of .*: got a string"),
    "depends_on": ({"depends_on": GIVEN}, "key 'depends_on': it names a job that is not in this launch"),
    "what Ansible says": (
        {"timeout": "{{ s3cr3t }}"},
        "key 'timeout': the reason is not shown because 'no_log' is set",
    ),
    "a literal": ({"timeout": SECRET}, "key 'timeout': it must be a number of seconds: got a string"),
    "its name": ({"name": GIVEN, "timeout": -1}, r"tasks\[0\] \('\{\{ secret \}\}'\), key 'timeout'"),
    "a name too long": ({"name": "{{ long }}"}, "key 'name': it has 1200 characters"),
    "a file": ({"command": None, "include_tasks": GIVEN}, "key 'include_tasks': the reason is not shown"),
    "a role": ({"command": None, "include_role": {"name": GIVEN}}, "key 'include_role': the reason is not shown"),
    "apply": (
        {"command": None, "include_tasks": {"file": "x", "apply": GIVEN}},
        "key 'include_tasks': 'apply' must be a dictionary: got a string",
    ),
    "a task": ({"command": None, "block": [SECRET]}, r"block\[0\]: it must be a task \(a dictionary\): got a string"),
    "tasks": ({"command": None, "block": GIVEN}, "key 'block': it must be a list of tasks: got a string"),
    "in a block": (
        {"command": None, "block": [{"name": "inner", "shell": "x", "timeout": GIVEN}]},
        r"block\[0\] \('inner'\), key 'timeout': it must be a number of seconds: got a string",
    ),
    "in rescue": (
        {"command": None, "block": [{"shell": "x"}], "rescue": [{"shell": "x", "loop": GIVEN}]},
        r"rescue\[0\] \('shell'\), key 'loop': it must give a list: got a string",
    ),
}


def refusal(entries: object, defaults: Defaults | None = None) -> str:
    with pytest.raises(JobRefused) as caught:
        for job in expand(entries, defaults, files={"x": []}, secret=SECRET, long=SECRET * 200, yes=True):
            if job.refused:
                raise combined(job.refused)
    assert "Nothing was started" in str(caught.value)
    return str(caught.value)


def entry(case: str, **more: t.Any) -> dict[str, t.Any]:
    merged = {"name": "n", "command": "true", **CASES[case][0], **more}
    return {key: value for key, value in merged.items() if value is not None}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("no_log", [True, "{{ yes }}"])
def test_no_value_is_told(case: str, no_log: object) -> None:
    said = refusal([entry(case, no_log=no_log)])
    assert SECRET not in said.replace("{{ s3cr3t }}", "")
    assert re.search(CASES[case][1], said), said


@pytest.mark.parametrize("case", CASES)
def test_a_launch_with_no_log_tells_none_either(case: str) -> None:
    assert SECRET not in refusal([entry(case)], Defaults(no_log=True)).replace("{{ s3cr3t }}", "")


@pytest.mark.parametrize("case", ["seconds", "flag", "loop", "run_when", "a file", "in a block"])
def test_without_no_log_it_is_told(case: str) -> None:
    assert SECRET in refusal([entry(case)])


def test_the_place_in_the_playbook_would_be_shown_with_its_lines_and_is_left_out() -> None:
    for no_log in (True, False):
        with pytest.raises(JobRefused) as caught:
            expand([{"name": "n", "command": "x", "timeout": SECRET, "no_log": no_log}])
        assert (caught.value.source is None) is no_log


@pytest.mark.parametrize("no_log", [GIVEN, "{{ nowhere }}"])
def test_where_no_log_cannot_be_worked_out_no_value_is_told(no_log: str) -> None:
    assert SECRET not in refusal([entry("seconds", no_log=no_log)])


def test_an_item_may_decide_about_no_log() -> None:
    (said, hidden) = (
        refusal([{"name": "{{ item }}", "command": "x", "no_log": "{{ item }}", "timeout": GIVEN, "loop": [no_log]}])
        for no_log in (False, True)
    )
    assert SECRET in said and SECRET not in hidden


def test_names_of_other_jobs_are_told_where_they_are_no_secrets() -> None:
    hidden = {"name": "{{ secret }}1", "command": "x", "no_log": True}
    assert SECRET not in refusal([hidden, {"name": "n", "command": "x", "depends_on": "s3cr3"}]).replace("'s3cr3'", "")
    circle = [
        {"name": "{{ secret }}1", "command": "x", "no_log": True, "depends_on": "n"},
        {"name": "n", "command": "x", "depends_on": "{{ secret }}1"},
    ]
    assert "tasks[0] -> n -> tasks[0]" in refusal(circle)
    assert SECRET not in refusal(circle)
    assert SECRET not in refusal([hidden, hidden])


def test_what_an_action_plugin_says_is_hidden_and_what_we_say_is_not() -> None:
    step = Step(None, {}, {}, False, False, True, name=SECRET, where="tasks[0]", source={"name": GIVEN})
    assert SECRET not in str(refusal_of(step, None, Refused(SECRET)))
    step.no_log = False
    assert SECRET in str(refusal_of(step, None, Refused(SECRET)))
