# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import results


@pytest.mark.parametrize(
    ("result", "failed"),
    [
        ({}, False),
        ({"failed": False, "rc": 1}, False),
        ({"failed": True}, True),
        ({"failed": "true"}, True),
        ({"failed": "no"}, False),
        ({"rc": 0}, False),
        ({"rc": "0"}, False),
        ({"rc": 3}, True),
        ({"rc": None}, False),
    ],
)
def test_failure_is_told_by_failed_and_where_it_is_missing_by_rc(result, failed):
    assert results.has_failed(result) is failed


@pytest.mark.parametrize(
    "stdout",
    [
        b'{"changed": true, "rc": 0}',
        b'\n{"changed": true, "rc": 0}\n',
        b'BECOME-SUCCESS\nsome banner\n{"changed": true, "rc": 0}\n \n',
        b'junk\n{\n  "changed": true,\n  "rc": 0\n}\n',
    ],
)
def test_a_result_is_found_among_other_lines(stdout):
    outcome = results.understand(stdout, b"", 0)
    assert outcome.result == {"changed": True, "rc": 0}
    assert json.loads(outcome.text) == outcome.result
    assert (outcome.failed, outcome.changed) == (False, True)


@pytest.mark.parametrize(
    ("warnings", "expected"),
    [("", []), (', "warnings": ["own"]', ["own"]), (', "warnings": null', [])],
)
def test_junk_after_a_result_is_warned_of(warnings, expected):
    outcome = results.understand(b'{"changed": true%s}\nbye\n\n' % warnings.encode(), b"", 0)
    assert outcome.result["warnings"] == ["Module invocation had junk after the JSON data: bye\n", *expected]
    assert json.loads(outcome.text) == outcome.result


def test_what_is_kept_of_no_result_is_told_from_a_result():
    text = results.understand(b"junk", b"oops", -9).text
    assert results.output_without_result(text) == {
        "failed": True,
        "changed": False,
        "msg": json.loads(text)["msg"],
        "module_stdout": "junk",
        "module_stderr": "oops",
        "rc": 137,
    }
    assert results.output_without_result('{"failed": true, "module_stdout": "junk"}') is None
    assert results.output_without_result('{"parsed": false, "own": 1}') is None


def test_the_text_of_a_clean_result_is_kept_to_the_letter():
    text = '{"b": 1.10, "a": "\\u00e9", "z": {"__ansible_type": "x"}}'
    assert results.understand(text.encode(), b"", 0).text == text


@pytest.mark.parametrize("stdout", [b"", b"no json", b"[1, 2]", b"{broken", b"\xff\xfe{", b'"text"'])
def test_output_without_a_result_is_a_failure_that_keeps_what_was_printed(stdout):
    outcome = results.understand(stdout, b"oops", 1)
    assert outcome.failed
    assert outcome.result["module_stdout"] == stdout.decode("utf-8", "replace")
    assert outcome.result["module_stderr"] == "oops"
    assert outcome.result["rc"] == 1
    assert "exited with status 1" in outcome.result["msg"]


def test_a_killed_module_says_so_with_the_likely_reason():
    outcome = results.understand(b"", b"", -9)
    assert "signal 9 (SIGKILL)" in outcome.result["msg"]
    assert "memory" in outcome.result["msg"]
    assert "memory" not in results.understand(b"", b"", -15).result["msg"]


def test_a_module_that_was_killed_for_what_is_known_says_that():
    outcome = results.understand(b"", b"", -9, "it was too greedy")
    assert outcome.result["msg"].endswith("signal 9 (SIGKILL) before it returned a result, it was too greedy.")
    assert "greedy" not in results.understand(b"", b"", -15, "it was too greedy").result["msg"]


@pytest.mark.parametrize(
    ("rc", "is_likely"), [(-9, True), (137, True), (-15, False), (9, False), (1, False), ("x", False)]
)
def test_a_return_code_of_a_killed_child_tells_the_likely_reason(rc, is_likely):
    said = results.brief({"rc": rc, "stderr": "a\nb\n"})
    assert ("signal 9, likely because memory ran out" in said) is is_likely
    assert said.startswith("rc %s" % rc) and said.endswith(": b")


@pytest.mark.parametrize(
    ("size", "shown"), [(512, "512"), (64 << 20, "64M"), (1536 << 20, "1536M"), (1025, "1025"), (2 << 40, "2T")]
)
def test_sizes_are_shown_as_they_are_written(size, shown):
    assert results.shown_size(size) == shown


def test_bytes_that_are_not_utf8_survive():
    outcome = results.understand(b'{"stdout": "\xff"}', b"", 0)
    assert outcome.text.encode("utf-8", "surrogateescape") == b'{"stdout": "\xff"}'


def test_a_censored_outcome_keeps_only_how_it_ended():
    outcome = results.censor(
        results.of({"failed": True, "rc": 4, "stdout": "s3cret", "msg": "s3cret", "changed": True})
    )
    assert "s3cret" not in outcome.text
    assert outcome.result == {"censored": results.CENSORED, "failed": True, "changed": True, "rc": 4}
    assert outcome.failed


def test_a_result_beyond_the_limit_is_a_failure_that_shows_both_ends(monkeypatch):
    monkeypatch.setattr(results, "LIMIT", 3000000)
    outcome = results.understand(b'{"first": "' + b"x" * 3000000 + b'last"}', b"", 0)
    assert outcome.failed
    assert "more than the 3000000 bytes" in outcome.result["msg"]
    assert outcome.result["module_stdout"].startswith('{"first')
    assert outcome.result["module_stdout"].endswith('last"}')
    assert len(outcome.text) < 1200000


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            {"rc": 2, "stderr": "make: x\nmake: *** No targets\n", "msg": "non-zero return code"},
            "rc 2: make: *** No targets",
        ),
        ({"rc": 1, "msg": "non-zero return code", "stdout": "said so\n"}, "rc 1: said so"),
        ({"rc": 1, "msg": "The command exited with a non-zero return code."}, "rc 1"),
        ({"rc": 7, "msg": "oops"}, "rc 7: oops"),
        ({"msg": "no such\nservice"}, "service"),
        ({}, "failed"),
        ({"msg": "x" * 999}, "x" * 200),
    ],
)
def test_a_failure_in_one_short_line(result, expected):
    assert results.brief(result) == expected
