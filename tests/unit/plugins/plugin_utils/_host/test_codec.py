# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
import typing as t

import pytest
from ansible.template import Templar

from ansible_collections.background.jobs.plugins.module_utils._protocol import results
from ansible_collections.background.jobs.plugins.plugin_utils._host import codec

NO_TRACEBACK = "(traceback unavailable)"


def seen(text: str, state: str = "succeeded") -> t.Any:
    """What a playbook sees of a result."""
    return Templar(variables={"result": codec.decode_result(text, state).result}).resolve_variable_expression("result")


def test_results_are_as_core_registers_them() -> None:
    assert seen('{"stdout": "a\\nb", "stderr": null}') == {
        "stdout": "a\nb",
        "stdout_lines": ["a", "b"],
        "stderr": None,
        "stderr_lines": [],
        "changed": False,
        "failed": False,
    }
    own = seen('{"stdout": "x", "stdout_lines": ["own"], "failed": false, "rc": 4}')
    assert (own["failed"], own["stdout_lines"]) == (False, ["own"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"failed": true, "msg": "x"}', "x"),
        ('{"rc": 5}', "Task failed: (Module|Action) failed: Unknown error."),
        ('{"a": "\\udcff"}', "Task failed: Refusing to deserialize an invalid UTF8 string value: .*"),
        ('{"a": "\udcff"}', "Task failed: Refusing to deserialize an invalid UTF8 string value: .*"),
        ("{", "Module result deserialization failed: No end of json char found"),
    ],
)
def test_failures_say_what_core_says(text: str, message: str) -> None:
    result = seen(text, "failed")
    assert (result["failed"], result["changed"], result["exception"]) == (True, False, NO_TRACEBACK)
    assert re.fullmatch(message, result["msg"])


def test_output_without_a_result_is_described_by_core_and_explained_by_the_host() -> None:
    text = results.understand(b'{"a": 1}\n{"b": 2}\n', b"oops", -9).text
    result = seen(text, "failed")
    assert result == {
        "failed": True,
        "changed": False,
        "msg": "Module result deserialization failed: Extra data: line 2 column 1 (char 9)",
        "exception": NO_TRACEBACK,
        "module_stdout": '{"a": 1}\n{"b": 2}\n',
        "module_stderr": "oops",
        "rc": 137,
    }
    assert "signal 9" in str(codec.decode_result(text, "failed").why)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_a_killed_job_had_printed_is_beside_it(state: str) -> None:
    printed = {"stdout": "a\nb", "stdout_lines": ["a", "b"], "stderr": "", "stderr_lines": []}
    result = seen(results.of(dict(results.understand(b"x", b"y", -9).result, **printed)).text, state)
    assert printed.items() <= result.items()
    assert (result["failed"], result["module_stdout"], "parsed" in result) == (True, "x", False)


def test_a_job_that_was_stopped_says_why() -> None:
    output = results.understand(b"so far", b"", -15).result
    text = results.of(dict(output, failed=True, msg="timed out")).text
    result = seen(text, "timed_out")
    assert (result["msg"], result["module_stdout"], "parsed" in result) == ("timed out", "so far", False)
    assert codec.decode_result(text, "timed_out").why is None


def test_warnings_are_kept_once_each() -> None:
    result = seen('{"warnings": ["one", "two", "one"], "deprecations": [{"msg": "old", "version": "9"}]}')
    assert result["warnings"] == ["one", "two"]
    assert [(item["msg"], item["version"]) for item in result["deprecations"]] == [("old", "9")]


def test_nothing_is_added_to_what_is_hidden() -> None:
    outcome = results.censor(results.of({"failed": True, "msg": "secret"}))
    assert seen(outcome.text, "failed") == {"censored": results.CENSORED, "failed": True, "changed": False}


def test_values_are_no_templates() -> None:
    assert seen(json.dumps({"text": "{{ 1 + 1 }}"}))["text"] == "{{ 1 + 1 }}"
