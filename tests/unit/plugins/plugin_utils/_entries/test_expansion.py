# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils import _model
from ansible_collections.background.jobs.plugins.plugin_utils._entries import keywords
from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Defaults

from ..conftest import expand, only


def names(entries: object, **variables: t.Any) -> list[str]:
    return [job.name for job in expand(entries, **variables)]


def test_an_entry_becomes_a_job_of_one_step() -> None:
    (job,) = expand([{"name": "n", "command": "true", "args": {"chdir": "/"}}])
    assert (job.name, job.where, job.fqcn, job.item, job.skip) == (
        "n",
        "tasks[0]",
        "ansible.builtin.command",
        ABSENT,
        None,
    )
    step = only(job)
    assert (step.call.value, step.call.args, step.environment) == ("true", {"chdir": "/"}, {})
    assert job.depends_on == []


def test_a_loop_makes_one_job_an_item_in_order() -> None:
    jobs = expand([{"name": "get {{ item }}", "command": "x", "loop": "{{ urls }}"}], urls=["a", "b"])
    assert [(job.name, job.item, only(job).scope["item"]) for job in jobs] == [
        ("get a", "a", "a"),
        ("get b", "b", "b"),
    ]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"command": 1}], ["command"]),
        (
            [{"command": 1}, {"command": 2}, {"shell": 3}, {"command": 4}],
            ["command", "command 2", "shell", "command 3"],
        ),
        ([{"command": 1, "name": "command"}, {"command": 2}], ["command", "command 2"]),
        ([{"command": 1}, {"command": 2, "name": "command"}], ["command 2", "command"]),
        ([{"command": 1, "loop": ["a", "b"]}], ["command (item=a)", "command (item=b)"]),
        ([{"command": 1, "loop": ["a", "a"]}], ["command (item=a)", "command (item=a) 2"]),
        ([{"name": "pack", "command": 1, "loop": ["a"]}], ["pack (item=a)"]),
        ([{"name": "{{ word }}", "command": 1, "loop": ["a"]}], ["w (item=a)"]),
        ([{"command": 1, "loop": [{"k": "v"}]}], ['command (item={"k": "v"})']),
        ([{"command": 1, "loop": [{"k": "v"}], "loop_control": {"label": "{{ item.k }}"}}], ["command (item=v)"]),
        ([{"command": 1, "loop": ["a"], "loop_control": {"loop_var": "it"}}], ["command (it=a)"]),
        ([{"name": "n{{ i }}", "command": 1, "loop": ["a", "a"], "loop_control": {"index_var": "i"}}], ["n0", "n1"]),
        ([{"name": "{{ omit }}", "command": 1}], ["command"]),
        ([{"name": "  a/b\nc 🎉  ", "command": 1}], ["a/b\nc 🎉"]),
        ([{"command": "secret", "no_log": True, "loop": ["s3cret"]}], ["command (item hidden)"]),
    ],
)
def test_names(entries: list[object], expected: list[str]) -> None:
    assert names(entries, word="w") == expected


def test_a_false_condition_skips_and_says_which() -> None:
    kept, skipped = expand([{"command": 1, "when": ["yes", "item"], "loop": [True, False]}], yes=True)
    assert kept.skip is None and kept.body
    assert skipped.skip == "its condition was false: item" and skipped.body == []


def test_what_is_skipped_may_have_a_name_that_cannot_be_rendered() -> None:
    (job,) = expand([{"name": "{{ nope }}", "command": 1, "when": False}])
    assert (job.skip is not None, job.name) == (True, "{{ nope }}")


def test_a_loop_that_cannot_be_rendered_does_not_matter_where_the_condition_is_false() -> None:
    (job,) = expand([{"name": "n", "command": 1, "loop": "{{ nope }}", "when": ["yes", "not yes"]}], yes=True)
    assert (job.name, job.where, job.item, job.body) == ("n", "tasks[0]", ABSENT, [])
    assert job.skip == "its condition was false: not yes"


def test_the_launching_task_gives_defaults_and_a_job_overrides_them() -> None:
    defaults = Defaults(timeout=60.0, check_mode=True, diff=True)
    first, second = expand(
        [{"command": 1}, {"command": 2, "timeout": "5", "check_mode": "no", "diff": False, "ignore_errors": True}],
        defaults,
    )
    assert (first.timeout, only(first).check_mode, only(first).diff, first.ignore_errors) == (
        60.0,
        True,
        True,
        False,
    )
    assert (second.timeout, only(second).check_mode, only(second).diff, second.ignore_errors) == (
        5.0,
        False,
        False,
        True,
    )


@pytest.mark.parametrize(
    "defaults, entry",
    [(Defaults(no_log=True), {}), (Defaults(), {"no_log": True}), (Defaults(no_log=True), {"no_log": False})],
)
def test_no_log_keeps_the_item_out(defaults: Defaults, entry: dict[str, object]) -> None:
    (job,) = expand([{"command": 1, "loop": ["s"], **entry}], defaults)
    assert job.no_log and job.item is ABSENT and only(job).no_log


def test_limits_are_those_of_the_launch_unless_a_job_has_its_own() -> None:
    defaults = Defaults(limits={"nice": 5, "memory_max": 1 << 30})
    entries = [
        {"name": "a", "command": "x"},
        {"name": "b", "command": "x", "nice": "{{ n }}", "cpu_quota": "50%", "memory_max": "{{ omit }}"},
        {"name": "c", "block": [{"command": "x"}], "memory_max": "64M"},
        {"name": "d", "command": "x", "when": False},
    ]
    jobs = expand(entries, defaults, n=10)
    assert [(job.nice, job.memory_max, job.cpu_quota) for job in jobs] == [
        (5, 1 << 30, None),
        (10, 1 << 30, 50.0),
        (5, 64 << 20, None),
        (None, None, None),
    ]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("nice", 40, "-20.*19.*'40'"),
        ("memory_max", "lots", "512K.*'lots'"),
        ("cpu_quota", 0, "percent of one processor.*'0'"),
    ],
)
def test_wrong_limits(key: str, value: object, words: str) -> None:
    with pytest.raises(JobRefused, match=rf"tasks\[0\] \('x'\), key '{key}': .*{words}.* Nothing was started"):
        expand([{"name": "x", "command": "x", key: value}])


@pytest.mark.parametrize("key", ["nice", "memory_max", "cpu_quota"])
def test_limits_are_of_a_job_as_a_whole(key: str) -> None:
    (job,) = expand([{"name": "x", "block": [{"command": "x", key: 10}]}])
    assert f"key '{key}': it is a key of the job" in str(job.refused[0])


def test_environments_are_merged_rendered_and_made_text() -> None:
    (job,) = expand([{"command": 1, "environment": [{"A": "{{ x }}", "B": 1}, {"B": 2}, "{{ omit }}"]}], x="y")
    assert only(job).environment == {"A": "y", "B": "2"}


def test_vars_may_use_the_item() -> None:
    (job,) = expand([{"name": "{{ v }}", "command": 1, "vars": [{"v": "<{{ item }}>"}], "loop": ["a"]}])
    assert job.name == "<a> (item=a)"


def test_a_template_may_stand_for_all_entries_or_for_one_or_some() -> None:
    some = [{"name": "b", "command": 1}, {"name": "c", "command": 1}]
    assert names("{{ some }}", some=some) == ["b", "c"]
    assert names(
        [{"name": "a", "command": 1}, "{{ some }}", "{{ one }}"], some=some, one={"name": "d", "command": 1}
    ) == ["a", "b", "c", "d"]


def test_an_empty_list_is_no_jobs() -> None:
    assert expand([]) == [] and expand([{"command": 1, "loop": []}]) == []


def test_extended_loops_know_their_neighbours() -> None:
    entry = {"command": 1, "loop": ["a", "b", "c"], "loop_control": {"extended": True, "extended_allitems": False}}
    loops = [only(job).scope["ansible_loop"] for job in expand([entry])]
    assert [
        (loop["index"], loop["first"], loop["last"], loop.get("previtem"), loop.get("nextitem")) for loop in loops
    ] == [
        (1, True, False, None, "b"),
        (2, False, False, "a", "c"),
        (3, False, True, "b", None),
    ]
    assert "allitems" not in loops[0]


def test_become_that_says_what_the_task_says_is_fine() -> None:
    (job,) = expand([{"command": 1, "become": False, "become_user": "root"}])
    assert only(job).become is None


def test_tasks_become_the_user_that_they_or_what_they_stand_in_say() -> None:
    inner = [{"command": 1}, {"command": 2, "become_user": "other"}]
    (single, job) = expand([{"command": 1, "become": True}, {"block": inner, "become": True, "become_user": "one"}])
    (block,) = job.body
    assert only(single).become == ("root", ("become", "root"))
    assert [step.become.user for step in block.block] == ["one", "other"]


@pytest.mark.parametrize("key", sorted(set(keywords.REFUSED) - {"block"} | {"with_items"}))
def test_every_refused_key_is_named_with_its_job_and_a_way_out(key: str) -> None:
    with pytest.raises(JobRefused) as caught:
        expand([{"name": "fine", "command": 1}, {"name": "j", "command": 1, key: 1}])
    message = str(caught.value)
    assert message.startswith(f"tasks[1] ('j'), key {key!r}: ")
    assert message.endswith("Nothing was started.")
    assert len(message) > 60


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("abc", ["tasks[0]", "must be a task", "'abc'"]),
        ({"name": "n"}, ["'n'", "names no module"]),
        ({"name": "n", "command": 1, "shell": 2}, ["'n'", "'shell'", "2 (command, shell)"]),
        ({"name": "n", "command": 1, "frob": 2}, ["'n'", "'frob'", "neither a key"]),
        ({"name": "n", "nosuch": 1}, ["'n'", "'nosuch'", "no module"]),
        ({"command": 1, "name": " "}, ["'name'", "empty"]),
        ({"command": 1, "name": "x" * 2000}, ["'name'", "2000 characters"]),
        ({"command": 1, "name": "{{ nope }}"}, ["'name'", "'nope' is undefined"]),
        ({"command": 1, "when": "nope"}, ["'when'", "'nope' is undefined"]),
        ({"command": 1, "loop": "{{ nope }}"}, ["'loop'", "'nope' is undefined"]),
        ({"command": 1, "loop": "a,b"}, ["'loop'", "a list", "'a,b'"]),
        ({"command": 1, "loop_control": {}}, ["'loop_control'", "no 'loop'"]),
        ({"command": 1, "loop": [1], "loop_control": {"pause": 1}}, ["'loop_control.pause'", "concurrency"]),
        ({"command": 1, "loop": [1], "loop_control": {"frob": 1}}, ["'loop_control.frob'", "unknown"]),
        ({"command": 1, "loop": [1], "loop_control": {"loop_var": "a b"}}, ["'loop_control.loop_var'", "'a b'"]),
        ({"command": 1, "timeout": -1}, ["'timeout'", "or more", "-1"]),
        ({"command": 1, "timeout": True}, ["'timeout'", "number of seconds"]),
        ({"command": 1, "timeout": "soon"}, ["'timeout'", "'soon'"]),
        ({"command": 1, "timeout": float("nan")}, ["'timeout'", "number"]),
        ({"command": 1, "timeout": float("inf")}, ["'timeout'", "ten years"]),
        ({"command": 1, "ignore_errors": "maybe"}, ["'ignore_errors'", "true or false", "'maybe'"]),
        ({"command": 1, "environment": "A=b"}, ["'environment'", "dictionary"]),
        ({"command": 1, "vars": "x"}, ["'vars'", "dictionary"]),
        ({1: 2}, ["'1'", "Put it in quotes"]),
    ],
)
def test_bad_entries(entry: object, words: list[str]) -> None:
    with pytest.raises(JobRefused) as caught:
        expand([entry])
    assert all(word in str(caught.value) for word in ["tasks[0]", *words]), str(caught.value)


def test_the_error_of_one_item_names_the_item() -> None:
    with pytest.raises(JobRefused, match=r"tasks\[0\], item 1 \('command'\).*'boom' is undefined"):
        expand([{"command": 1, "loop": [False, True], "when": "item", "environment": {"A": "{{ boom }}"}}])


@pytest.mark.parametrize(
    "entries",
    [
        [{"name": "a", "command": 1}, {"name": "a", "command": 2}],
        [{"name": "a{{ item }}", "command": 1, "loop": [1, 1]}],
    ],
)
def test_a_name_twice_is_refused(entries: object) -> None:
    with pytest.raises(JobRefused, match="has the same name"):
        expand(entries)


@pytest.mark.parametrize("entries", [None, "abc", {"command": 1}, 3])
def test_tasks_must_be_a_list(entries: object) -> None:
    with pytest.raises(Refused, match="'tasks' must be a list of tasks: got"):
        expand(entries)


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (1.5, 1.5), ("30", 30.0), ("0", 0.0)])
def test_seconds(value: object, expected: float) -> None:
    assert _model.seconds(value) == expected
