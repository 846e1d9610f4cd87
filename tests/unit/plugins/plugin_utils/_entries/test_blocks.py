# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._entries import keywords
from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Block, Defaults, Job, Step

from ..conftest import block_of, expand, shape, steps


def job_of(*tasks: t.Any, files: t.Any = None, roles: t.Any = None, entry: t.Any = None, **variables: t.Any) -> Job:
    """Return the job of an entry with these tasks in its block."""
    (job,) = expand([{"block": list(tasks), **(entry or {})}], files=files, roles=roles, **variables)
    return job


def tasks_of(*tasks: t.Any, **more: t.Any) -> list[Step]:
    job = job_of(*tasks, **more)
    assert job.refused == []
    return steps(job.body)


def refusals(*tasks: t.Any, **more: t.Any) -> list[str]:
    return [str(one) for one in job_of(*tasks, **more).refused]


def test_a_block_is_one_job_with_its_tasks_in_order() -> None:
    (job,) = expand(
        [
            {
                "name": "build",
                "block": [{"name": "a", "command": 1}, {"block": [{"shell": 2}], "always": [{"shell": 3}]}],
                "rescue": [{"name": "r", "command": 4}],
                "always": [{"name": "z", "ansible.builtin.file": {}}],
                "timeout": 9,
                "always_timeout": 8,
            }
        ],
        Defaults(check_mode=True),
    )
    assert shape(job.body) == [
        {"block": ["a", {"block": ["shell"], "always": ["shell"]}], "rescue": ["r"], "always": ["z"]}
    ]
    assert (job.name, job.fqcn, job.timeout, job.always_timeout) == ("build", "block", 9.0, 8.0)
    assert [step.where for step in steps(job.body)] == [
        "tasks[0].block[0]",
        "tasks[0].block[1].block[0]",
        "tasks[0].block[1].always[0]",
        "tasks[0].rescue[0]",
        "tasks[0].always[0]",
    ]
    assert all(step.check_mode and step.timeout == 0.0 for step in steps(job.body))


def test_a_loop_on_a_block_makes_one_job_an_item() -> None:
    entry = {
        "name": "site",
        "loop": ["a", "b"],
        "vars": {"v": "<{{ item }}>"},
        "block": [{"name": "{{ v }}", "shell": 1}],
    }
    jobs = expand([entry])
    assert [(job.name, job.item, shape(job.body)) for job in jobs] == [
        ("site (item=a)", "a", [{"block": ["<a>"]}]),
        ("site (item=b)", "b", [{"block": ["<b>"]}]),
    ]
    assert steps(jobs[1].body)[0].where == "tasks[0], item 1, block[0]"


def test_a_block_whose_condition_is_false_is_a_skipped_job() -> None:
    job = job_of({"command": 1}, entry={"when": "no", "timeout": "{{ nope }}"}, no=False)
    assert (job.skip, job.body, job.name) == ("its condition was false: no", [], "block")


def test_tasks_inherit_from_blocks() -> None:
    entry = {
        "vars": {"v": "outer", "w": "outer"},
        "environment": {"A": "{{ v }}", "B": "outer"},
        "check_mode": True,
        "diff": True,
        "ignore_errors": True,
        "timeout": 50,
    }
    nested = {
        "vars": {"v": "inner"},
        "environment": [{"B": "inner"}],
        "diff": False,
        "timeout": 7,
        "block": [
            {"command": 1},
            {
                "command": 2,
                "timeout": 3,
                "diff": True,
                "ignore_errors": False,
                "vars": {"v": "own"},
                "environment": {"C": 1},
            },
        ],
    }
    job = job_of({"command": 0}, nested, entry=entry)
    assert (job.timeout, job.ignore_errors) == (50.0, True)
    seen = [
        (
            step.environment,
            step.check_mode,
            step.diff,
            step.ignore_errors,
            step.timeout,
            step.scope["v"],
            step.scope["w"],
        )
        for step in steps(job.body)
    ]
    assert seen == [
        ({"A": "outer", "B": "outer"}, True, True, True, 0.0, "outer", "outer"),
        ({"A": "inner", "B": "inner"}, True, False, True, 7.0, "inner", "outer"),
        ({"A": "own", "B": "inner", "C": "1"}, True, True, False, 3.0, "own", "outer"),
    ]


def test_no_log_of_a_block_hides_its_tasks_and_items() -> None:
    nested = {"no_log": True, "block": [{"command": 1, "loop": ["s3cret"]}, {"command": 2, "no_log": False}]}
    job = job_of({"command": 0}, nested)
    seen = [(step.no_log, step.item, step.name) for step in steps(job.body)]
    assert seen == [
        (False, ABSENT, "command"),
        (True, ABSENT, "command (item hidden)"),
        (False, ABSENT, "command"),
    ]
    assert not job.no_log
    (hidden,) = expand([{"no_log": True, "block": [{"command": 0}]}])
    assert hidden.no_log and steps(hidden.body)[0].no_log


def test_an_inner_loop_becomes_tasks_in_order() -> None:
    found = tasks_of(
        {"name": "n", "command": 1, "loop": "{{ words }}"},
        {"name": "get {{ it }}", "command": 1, "loop": ["x"], "loop_control": {"loop_var": "it"}},
        {"command": 1, "loop": [{"k": "v"}], "loop_control": {"label": "{{ item.k }}"}},
        words=["a", "b"],
    )
    assert [(step.name, step.item, step.where) for step in found] == [
        ("n (item=a)", "a", "tasks[0].block[0], item 0"),
        ("n (item=b)", "b", "tasks[0].block[0], item 1"),
        ("get x", "x", "tasks[0].block[1], item 0"),
        ("command (item=v)", {"k": "v"}, "tasks[0].block[2], item 0"),
    ]


def test_names_inside_of_a_job_need_not_be_unique() -> None:
    assert [step.name for step in tasks_of({"name": "a", "command": 1}, {"name": "a", "command": 1})] == ["a", "a"]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"command": 1, "when": ["yes", "no"]}, "its condition was false: no"),
        ({"command": 1, "when": "no", "loop": "{{ nope }}"}, "its condition was false: no"),
        ({"command": 1, "when": "no", "name": "{{ nope }}", "timeout": "{{ nope }}"}, "its condition was false: no"),
        ({"command": 1, "loop": []}, "its loop has no items"),
        ({"block": [{"command": 1}], "when": "no"}, "its condition was false: no"),
        ({"include_tasks": "nowhere.yml", "when": "no"}, "its condition was false: no"),
        ({"import_tasks": "some.yml", "when": "no"}, "its condition was false: no"),
        ({"add_host": {"a": 1}, "when": "no"}, "its condition was false: no"),
    ],
)
def test_a_task_that_is_skipped_does_not_end_the_job(task: dict[str, t.Any], reason: str) -> None:
    job = job_of(task, {"name": "next", "command": 1}, files={"some.yml": [{"command": 1}]}, yes=True, no=False)
    assert job.refused == [] and job.skip is None
    skipped, following = steps(job.body)
    assert (skipped.skip, following.skip, following.name) == (reason, None, "next")
    assert skipped.call.fqcn


def test_conditions_of_blocks_are_looked_at_with_the_variables_of_the_task() -> None:
    tasks = [{"command": 1}, {"command": 2, "vars": {"wanted": False}}]
    common = {"when": "wanted", "vars": {"wanted": True}}
    assert [step.skip is None for step in tasks_of({**common, "block": tasks})] == [True, False]
    imported = {**common, "import_tasks": "f.yml"}
    assert [step.skip is None for step in tasks_of(imported, files={"f.yml": tasks})] == [True, False]
    other = {"when": "not wanted", "vars": {"wanted": True}, "import_tasks": "f.yml"}
    assert [step.skip is None for step in tasks_of(other, files={"f.yml": tasks})] == [False, True]
    # That of the job is looked at once.
    assert [step.skip is None for step in tasks_of(*tasks, entry=common)] == [True, True]


@pytest.mark.parametrize(
    ("tags", "runs"),
    [
        ("never", False),
        (["debug", "never"], False),
        ("debug, never", False),
        (["never", "asked"], True),
        ("debug", True),
    ],
)
def test_what_is_never_to_run_does_not(tags: object, runs: bool) -> None:
    tasks = [
        {"block": [{"command": 1}], "tags": tags},
        {"command": 2, "tags": tags},
        {"include_tasks": "x", "tags": tags},
    ]
    assert [step.skip is None for step in tasks_of(*tasks, files={"x": [{"command": 1}]})] == [runs] * 3
    (job,) = expand([{"block": [{"command": 1}], "tags": tags}])
    assert (job.skip is None) is runs


def test_retries_and_times_of_inner_tasks() -> None:
    first, second = tasks_of(
        {"command": 1, "retries": 3, "delay": 0, "backoff": "2", "timeout": 4, "ignore_errors": True},
        {"command": 1, "retries": "{{ n }}"},
        n=2,
    )
    assert (first.retries, first.delay, first.backoff, first.timeout, first.ignore_errors) == (3, 0.0, 2.0, 4.0, True)
    assert (second.retries, second.delay, second.backoff) == (2, 5.0, 1.0)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"rescue": [{"command": 1}]}, ["'rescue'", "no 'block'"]),
        ({"always": [{"command": 1}], "command": 1}, ["'always'", "no 'block'"]),
        ({"block": []}, ["'block'", "no tasks"]),
        ({"block": None}, ["'block'", "list of tasks", "nothing"]),
        ({"block": {"command": 1}}, ["'block'", "list of tasks", "dictionary"]),
        ({"block": [{"command": 1}], "rescue": "x"}, ["'rescue'", "list of tasks", "'x'"]),
        ({"block": [{"command": 1}], "command": 1}, ["'command'", "no module of its own"]),
        ({"block": [{"command": 1}], "frob": 1}, ["'frob'", "neither a key", "always_timeout"]),
        ({"block": [{"command": 1}], "always_timeout": -1}, ["'always_timeout'", "or more"]),
        ({"command": 1, "always_timeout": 1}, ["'always_timeout'", "'always' section"]),
    ],
)
def test_bad_blocks(entry: dict[str, t.Any], words: list[str]) -> None:
    with pytest.raises(JobRefused) as caught:
        expand([entry])
    assert all(word in str(caught.value) for word in ["tasks[0]", *words]), str(caught.value)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("abc", ["must be a task", "'abc'"]),
        ({"name": "n"}, ["'n'", "names no module"]),
        ({"command": 1, "shell": 1}, ["'shell'", "a task runs one module"]),
        ({"frob": 1}, ["'frob'", "no module"]),
        ({"add_host": {}, "name": "n"}, ["('n')", "cannot run in the background"]),
        ({"command": 1, "timeout": "soon"}, ["'timeout'", "'soon'"]),
        ({"command": 1, "name": "{{ nope }}"}, ["'name'", "'nope' is undefined"]),
        ({"command": 1, "when": "nope"}, ["'when'", "'nope' is undefined"]),
        ({"command": 1, "loop": "{{ nope }}"}, ["'loop'", "'nope' is undefined"]),
        ({"command": 1, "loop": [1], "environment": {"A": "{{ nope }}"}}, [", item 0", "'environment'"]),
        ({"block": [], "always": []}, ["'block'", "no tasks"]),
        ({"block": [{"command": 1}], "loop": [1]}, ["'loop'", "as in Ansible", "include_tasks"]),
        ({"block": [{"command": 1}], "retries": 1}, ["'retries'", "a whole job"]),
        ({"block": [{"command": 1}], "register": "x"}, ["'register'"]),
        ({"rescue": [{"command": 1}]}, ["'rescue'", "no 'block'"]),
        ({"command": 1, "delay": 1}, ["'delay'", "no 'retries'"]),
        ({"command": 1, "retries": -1}, ["'retries'", "'-1'"]),
        ({"command": 1, "retries": 1.5}, ["'retries'", "whole number"]),
        ({"command": 1, "retries": True}, ["'retries'", "'True'"]),
        ({"command": 1, "retries": 1, "backoff": 0.5}, ["'backoff'", "from 1", "'0.5'"]),
        ({"command": 1, "retries": 1, "backoff": "nan"}, ["'backoff'", "'nan'"]),
        ({"command": 1, "retries": 1, "delay": -1}, ["'delay'", "-1"]),
        ({"import_tasks": "a.yml", "loop": [1]}, ["'loop'", "imports have no loop"]),
        ({"include_tasks": "a.yml", "environment": {}}, ["'environment'", "'apply'"]),
        ({"include_tasks": None}, ["include_tasks", "name of a file", "nothing"]),
        ({"include_tasks": {"file": "a.yml", "frob": 1}}, ["'frob'", "apply, file"]),
        ({"include_tasks": {"file": "a.yml", "apply": 1}}, ["'apply'", "dictionary"]),
        ({"include_tasks": {"file": "a.yml", "apply": {"throttle": 1}}}, ["'throttle'", ".apply"]),
        ({"import_tasks": {"file": "a.yml", "apply": {}}}, ["import_tasks", "no 'apply'"]),
        ({"include_role": {}}, ["include_role", "name of a role"]),
        ({"include_role": {"name": "r", "frob": 1}}, ["'frob'", "tasks_from"]),
    ],
)
def test_bad_inner_tasks(task: object, words: list[str]) -> None:
    found = refusals(task, files={"a.yml": []})
    assert len(found) == 1
    assert all(word in found[0] for word in ["tasks[0].block[0]", *words]), found[0]


@pytest.mark.parametrize("key", sorted(set(keywords.REFUSED) - {"register", "block"} | {"depends_on", "run_when"}))
def test_every_refused_key_of_an_inner_task_is_named_with_a_way_out(key: str) -> None:
    (found,) = refusals({"name": "n", "command": 1, key: 1})
    assert found.startswith(f"tasks[0].block[0] ('n'), key {key!r}: ") and len(found) > 90


def test_all_that_is_wrong_inside_of_a_job_is_told() -> None:
    found = refusals(
        {"command": 1, "throttle": 1}, {"block": [{"frob": 1}], "rescue": [{"command": 1, "delegate_to": "x"}]}
    )
    assert [re.match(r"\S+", text)[0] for text in found] == [  # type: ignore[index]
        "tasks[0].block[0]",
        "tasks[0].block[1].block[0]",
        "tasks[0].block[1].rescue[0]",
    ]


FILES = {
    "web.yml": [
        {"name": "one {{ v }}", "command": 1},
        {"include_tasks": "deeper.yml", "vars": {"v": "deep"}, "loop": ["x", "y"]},
    ],
    "deeper.yml": [{"name": "{{ v }} {{ item }}", "command": 1, "vars": {"v": "own"}}],
    "wrong.yml": [{"name": "w", "command": 1, "throttle": 1}],
    "endless.yml": [{"include_tasks": "endless.yml"}],
    "once.yml": [
        {"name": "again", "command": 1},
        {"include_tasks": "once.yml", "vars": {"more": False}, "when": "more"},
    ],
}


@pytest.mark.parametrize("key", ["include_tasks", "ansible.builtin.import_tasks", "ansible.legacy.include_tasks"])
@pytest.mark.parametrize("value", ["{{ file }}", {"file": "web.yml"}])
def test_the_tasks_of_a_file_are_those_of_a_block(key: str, value: object) -> None:
    (job,) = expand([{key: value, "vars": {"v": 1}, "timeout": 5}], files=FILES, file="web.yml")
    assert job.refused == []
    # The variables of an include win over those of the tasks, as in Ansible.
    assert shape(job.body) == [{"block": ["one 1", "deep x", "deep y"]}]
    assert (job.name, job.timeout) == (key.rpartition(".")[2], 5.0)
    assert [step.search for step in steps(job.body)] == [("/play",)] * 3


def test_a_loop_over_an_include_makes_one_job_an_item() -> None:
    jobs = expand(
        [{"name": "site", "include_tasks": "deeper.yml", "loop": ["a", "b"], "vars": {"v": "w"}}], files=FILES
    )
    assert [(job.name, shape(job.body)) for job in jobs] == [
        ("site (item=a)", [{"block": ["w a"]}]),
        ("site (item=b)", [{"block": ["w b"]}]),
    ]


def test_an_include_hands_on_what_stands_under_apply_and_an_import_all() -> None:
    applied = {"environment": {"A": "1"}, "ignore_errors": True, "when": "yes", "tags": "t"}
    include = {"include_tasks": {"file": "f.yml", "apply": applied}, "no_log": True, "timeout": 3}
    imported = {"import_tasks": "f.yml", "environment": {"A": "2"}, "no_log": True, "timeout": 3}
    first, second = tasks_of(include, imported, files={"f.yml": [{"command": 1}]}, yes=True)
    assert (first.environment, first.ignore_errors, first.no_log, first.timeout) == ({"A": "1"}, True, False, 0.0)
    assert (second.environment, second.ignore_errors, second.no_log, second.timeout) == ({"A": "2"}, False, True, 3.0)


def test_an_include_may_end_itself_by_its_condition() -> None:
    found = tasks_of({"include_tasks": "once.yml", "vars": {"more": True}}, files=FILES, more=False)
    assert [(step.name, step.skip is None) for step in found][:2] == [("again", True), ("again", True)]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("nowhere.yml", ["'nowhere.yml'"]),
        ("wrong.yml", ["'w'", "'throttle'", "/play/wrong.yml[0]"]),
        ("endless.yml", ["/play/endless.yml includes itself"]),
    ],
)
def test_bad_files(file: str, words: list[str]) -> None:
    (found,) = refusals({"include_tasks": file}, files=FILES)
    assert all(word in found for word in words), found


ROLE = {
    "tasks": [{"name": "{{ colour }} {{ size }} {{ kind }}", "command": 1}],
    "defaults": {"colour": "default", "size": "default", "kind": "default"},
    "variables": {"colour": "role", "kind": "role"},
    "magic": {"role_name": "paint"},
}


def test_a_role_brings_its_variables() -> None:
    block = {"vars": {"kind": "block"}, "block": [{"include_role": {"name": "paint"}}]}
    (step,) = tasks_of(block, roles={"paint": ROLE}, size="inventory")
    assert (step.name, step.scope["role_name"]) == ("role inventory block", "paint")
    assert step.search == ("/roles/paint", "/roles/paint/tasks")
    assert step.where == "tasks[0].block[0].block[0], /roles/paint/tasks/main.yml[0]"


def test_what_a_dependency_says_of_a_role_holds_for_its_tasks() -> None:
    said = {**ROLE, "keys": {"when": "no", "environment": {"A": "b"}}}
    (step,) = tasks_of({"import_role": {"name": "paint"}}, roles={"paint": said}, no=False)
    assert step.skip == "its condition was false: no"


def test_the_arguments_of_a_role_are_checked_at_launch() -> None:
    strict = {**ROLE, "spec": {"needed": {}}}
    assert (
        "missing required arguments: needed"
        in refusals({"include_role": {"name": "paint"}}, roles={"paint": strict})[0]
    )
    assert tasks_of({"include_role": {"name": "paint"}, "vars": {"needed": 1}}, roles={"paint": strict})


def test_all_tasks_of_a_role_that_cannot_run_are_told_with_file_and_reason() -> None:
    from ..conftest import Placed

    tasks = [
        Placed(3, name="a", add_host=1),
        Placed(5, name="b", command=1),
        Placed(9, name="c", command=1, throttle=1),
    ]
    found = refusals({"include_role": {"name": "r"}}, roles={"r": tasks})
    assert [text.partition(":")[0] + text.partition(":")[2][:9] for text in found] == [
        "tasks[0], the.yml3 ('a'), ",
        "tasks[0], the.yml9 ('c'), ",
    ]


@pytest.mark.parametrize(
    ("task", "key", "words"),
    [
        ({"command": 1, "timeout": "{{ r.stdout }}"}, "timeout", ["'r'"]),
        ({"command": 1, "no_log": "{{ far }}"}, "no_log", ["'far', which uses 'r'"]),
        ({"command": 1, "become_user": "{{ r.stdout }}"}, "become_user", ["'r'"]),
        ({"include_tasks": "{{ r.stdout }}"}, "include_tasks", ["'r'"]),
        ({"include_role": {"name": "{{ r.stdout }}"}}, "include_role", ["'r'"]),
        ({"command": 1, "loop": [1], "loop_control": {"loop_var": "{{ r.stdout }}"}}, "loop_control.loop_var", ["'r'"]),
    ],
)
def test_what_has_to_be_known_at_launch(task: dict[str, t.Any], key: str, words: list[str]) -> None:
    (found,) = refusals({"command": 1, "register": "r"}, task, far="{{ r.rc }}")
    expected = [f"key {key!r}", "known on the host only", "set by tasks[0].block[0]", "async_wait", *words]
    assert all(word in found for word in expected), found


@pytest.mark.parametrize(
    "task",
    [
        {"command": "echo r and {{ s }}"},
        {"command": "untrusted {{ r }}"},
        {"command": "{{ r }}", "loop": ["a"], "loop_control": {"loop_var": "r"}},
        {"command": 1, "vars": {"unused": "{{ r }}"}},
        {"command": 1, "when": ["no", "r"]},
        {"command": 1, "loop": "{{ r }}", "when": "no"},
        {"command": "{{ ansible_failed_task }}"},
    ],
)
def test_what_only_looks_so_is_fine(task: dict[str, t.Any]) -> None:
    assert refusals({"command": 1, "register": "r"}, task, no=False, s=1) == []


def test_registering_is_of_no_use_to_other_jobs() -> None:
    jobs = expand([{"block": [{"command": 1, "register": "r"}]}, {"block": [{"command": "{{ r }}"}]}], r="known before")
    assert [job.refused for job in jobs] == [[], []]


def test_the_body_of_an_entry_with_a_block_is_one_block() -> None:
    assert isinstance(block_of(job_of({"command": 1})), Block)
