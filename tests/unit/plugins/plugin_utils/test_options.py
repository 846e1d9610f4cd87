# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.modules.async_batch import ARGUMENT_SPEC as BATCH
from ansible_collections.background.jobs.plugins.modules.async_wait import ARGUMENT_SPEC as WAIT
from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused


def test_defaults() -> None:
    options = _options.read({"tasks": []}, BATCH)
    assert {key: options[key] for key in ("concurrency", "timeout", "wait", "cleanup", "on_timeout")} == {
        "concurrency": 0,
        "timeout": 0.0,
        "wait": False,
        "cleanup": None,
        "on_timeout": "fail",
    }


def test_tasks_are_left_as_they_are() -> None:
    text = "{{ some_tasks }}"
    assert _options.read({"tasks": text}, BATCH)["tasks"] is text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"concurrency": -1}, ["'concurrency'", "whole number", "-1"]),
        ({"concurrency": "three"}, ["'concurrency'", "'three'"]),
        ({"concurrency": 1.5}, ["'concurrency'", "1.5"]),
        ({"concurrency": True}, ["'concurrency'"]),
        ({"timeout": -1}, ["'timeout'", "or more"]),
        ({"timeout": float("nan")}, ["'timeout'"]),
        ({"wait_timeout": 1e99}, ["'wait_timeout'", "ten years"]),
        ({"poll": "often"}, ["'poll'", "'often'"]),
        ({"mode": "some"}, ["mode", "all, any"]),
        ({"start_delay": -1}, ["'start_delay'", "0 or more", "'-1'"]),
        ({"start_delay": "soon"}, ["'start_delay'", "'soon'"]),
        ({"min_free_memory": "lots"}, ["'min_free_memory'", "512K, 1M or 2G", "'lots'"]),
        ({"min_free_memory": 0}, ["'min_free_memory'", "more than 0"]),
        ({"max_load": 0}, ["'max_load'", "more than 0"]),
        ({"nice": 40}, ["'nice'", "-20", "19", "'40'"]),
        ({"nice": "10%"}, ["'nice'"]),
        ({"nice": 1.5}, ["'nice'", "whole"]),
        ({"memory_max": "lots"}, ["'memory_max'", "'lots'"]),
        ({"memory_max": "-1M"}, ["'memory_max'"]),
        ({"memory_max": 64}, ["'memory_max'", "1M or more"]),
        ({"memory_max": True}, ["'memory_max'"]),
        ({"cpu_quota": 0}, ["'cpu_quota'", "percent of one processor", "'0'"]),
        ({"cpu_quota": "half"}, ["'cpu_quota'", "'half'"]),
        ({"pool": "../x"}, ["'pool'", "letters", "'../x'"]),
        ({"pool": ""}, ["'pool'", "letters"]),
        ({"pool": 3}, ["'pool'", "letters"]),
        ({"pool_size": 0}, ["'pool_size'", "1 or more", "'0'"]),
        ({"pool_size": 1.5}, ["'pool_size'", "whole number"]),
        ({"pool_size": "many"}, ["'pool_size'", "'many'"]),
        ({"wait": "perhaps"}, ["wait"]),
        ({"batch_id": "b12"}, ["'batch_id'", "15 digits", "'b12'"]),
        ({"batch_id": "b000000000000001/../x"}, ["'batch_id'", "15 digits"]),
        ({"batch_id": 123456789012345}, ["'batch_id'", "15 digits"]),
        ({"frob": 1}, ["'frob'", "Options are: ", "concurrency"]),
        ({"_plan": "x"}, ["'_plan'"]),
    ],
)
def test_wrong_options(options: dict[str, t.Any], words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        _options.read({"tasks": [], **options}, BATCH)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_launch_has_one_batch_id_and_a_wait_any_number() -> None:
    assert _options.read({"tasks": [], "batch_id": "b000000000000001"}, BATCH)["batch_id"] == "b000000000000001"
    assert _options.read({"batch_id": "b000000000000001"}, WAIT)["batch_id"] == ["b000000000000001"]


def test_limits() -> None:
    given = {"nice": "-5", "memory_max": "64m", "cpu_quota": "150%", "start_delay": "0.5", "min_free_memory": "1.5 GiB"}
    options = _options.read({"tasks": [], "max_load": 2, **given}, BATCH)
    assert {key: options[key] for key in (*given, "max_load")} == {
        "nice": -5,
        "memory_max": 64 * 1024**2,
        "cpu_quota": 150.0,
        "start_delay": 0.5,
        "min_free_memory": 1536 * 1024**2,
        "max_load": 2.0,
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), (512, 512), ("64K", 65536), ("1M", 1 << 20), ("2gib", 2 << 30), ("1 TB", 1 << 40), ("0", 0)],
)
def test_sizes(text: object, size: int) -> None:
    assert _options.size(text, "x") == size


@pytest.mark.parametrize("text", ["", "M", "1X", "1e3", "-1", "nan", True, None, "1 M M"])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(Refused, match=r"^Option 'x': it must be a size"):
        _options.size(text, "Option 'x'")


def test_tasks_are_required() -> None:
    with pytest.raises(Refused, match="tasks"):
        _options.read({}, BATCH)


@pytest.mark.parametrize(("cleanup", "expected"), [(None, "succeeded"), (True, "ended"), (False, "none")])
def test_a_launch_that_waits_removes_what_succeeded_unless_told_otherwise(cleanup: bool | None, expected: str) -> None:
    given = {} if cleanup is None else {"cleanup": cleanup}
    options = _options.of_waiter(_options.read({"tasks": [], "wait_timeout": "5", **given}, BATCH), "wait_timeout")
    assert (options.cleanup, options.timeout) == (expected, 5.0)


def test_a_wait_removes_nothing_unless_told() -> None:
    assert _options.of_waiter(_options.read({"jobs": []}, WAIT)).cleanup == "none"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90", 90), (90, 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("1.5 h", 5400), ("2W", 1209600)],
)
def test_ages(value: object, seconds: float) -> None:
    assert _options.age(value) == seconds


@pytest.mark.parametrize("value", ["", "yesterday", "-1", "5 minutes", True, "1h30m", "inf"])
def test_what_is_no_age_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="30m, 12h or 7d"):
        _options.age(value)


def test_a_name_may_have_commas_in_it() -> None:
    assert _options.read({"name": "build, again"}, WAIT)["name"] == ["build, again"]


@pytest.mark.parametrize(("value", "number"), [(0, 0), ("49.5", 49.5), (100, 100)])
def test_percentages(value: object, number: float) -> None:
    assert _options.percentage(value) == number


@pytest.mark.parametrize("value", [-1, 101, "many", True, "nan"])
def test_what_is_no_percentage_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="from 0 to 100"):
        _options.percentage(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        ("0", 0),
        ("4K", 4096),
        ("1M", 1048576),
        ("1.5 MiB", 1572864),
        ("64kb", 65536),
        (8192, 8192),
        ("1g", 1 << 30),
    ],
)
def test_how_much_output_is_kept(value: object, number: int) -> None:
    assert _options.kept_output(value) == number


@pytest.mark.parametrize("value", ["", "much", -1, 1, "4095", "2G", True, "1 KM"])
def test_what_cannot_be_kept_of_output_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="Option 'keep_output': "):
        _options.kept_output(value)
