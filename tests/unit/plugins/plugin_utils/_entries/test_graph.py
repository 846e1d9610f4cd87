# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused

from ..conftest import expand


def after(*names: object, name: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    task: dict[str, t.Any] = {"command": 1, **more}
    return {**task, **({"name": name} if name else {}), **({"depends_on": list(names)} if names else {})}


def edges(entries: list[t.Any], **variables: t.Any) -> dict[str, list[str]]:
    jobs = expand(entries, **variables)
    return {job.name: [jobs[index].name for index in job.depends_on] for job in jobs if job.depends_on}


LOOP = after(name="pack", loop=["a", "b"])


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([after(name="a"), after("a", name="b")], {"b": ["a"]}),
        ([after("b", name="a"), after(name="b")], {"a": ["b"]}),
        ([after(name="a"), {"name": "b", "command": 1, "depends_on": "a"}], {"b": ["a"]}),
        ([after(name="a"), after("a", "a", name="b")], {"b": ["a"]}),
        ([after(name="1"), after(1, name="b")], {"b": ["1"]}),
        ([after(name="a"), after("{{ which }}", name="b")], {"b": ["a"]}),
        ([after(name="a"), {"name": "b", "command": 1, "depends_on": "{{ omit }}"}], {}),
        ([after(name="a"), {"name": "b", "command": 1, "depends_on": []}], {}),
        # The name of a job comes before that of a loop, and an item before all of them.
        ([LOOP, after("pack (item=b)", name="z")], {"z": ["pack (item=b)"]}),
        ([LOOP, after("pack", name="z")], {"z": ["pack (item=a)", "pack (item=b)"]}),
        ([LOOP, after(name="pack"), after("pack", name="z")], {"z": ["pack"]}),
        ([after(loop=["a", "b"]), after("command", name="z")], {"z": ["command (item=a)", "command (item=b)"]}),
        ([after(name="get: {{ item }}", loop=["a", "b"]), after("get", name="z")], {"z": ["get: a", "get: b"]}),
        ([after(name="{{ word }}", loop=["a"]), after("w", name="z")], {"z": ["w (item=a)"]}),
        ([after(name="pack", loop=[]), after("pack", name="z")], {}),
        ([LOOP, after("pack (item={{ item }})", name="z", loop=["b"])], {"z (item=b)": ["pack (item=b)"]}),
        ([after(), after(), after("command 2", name="z")], {"z": ["command 2"]}),
        ([after(name="a", when=False), after("a", name="b")], {"b": ["a"]}),
        ([after(name="a"), after("{{ nope }}", name="b", when=False)], {}),
        ([{"name": "a", "block": [{"command": 1}]}, {**after("a", name="b"), "run_when": "failure"}], {"b": ["a"]}),
    ],
)
def test_names_become_jobs(entries: list[t.Any], expected: dict[str, list[str]]) -> None:
    assert edges(entries, which="a", word="w") == expected


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            [after(name="build"), after("biuld", name="z")],
            ["tasks[1] ('z')", "no job 'biuld'", "Did you mean 'build'?"],
        ),
        ([after("x", name="z")], ["no job 'x'", "Check the names"]),
        ([LOOP, after("pakc", name="z")], ["'pack'"]),
        (
            [after(loop=["a"]), after(loop=["b"]), after("command", name="z")],
            ["'command' is ambiguous", "tasks[0], tasks[1]", "different names"],
        ),
        ([after("a", name="a")], ["depends on itself: a -> a"]),
        ([after("pack", name="pack", loop=["a", "b"])], ["depends on itself: pack (item=a) -> pack (item=a)"]),
        ([after("b", name="a"), after("a", name="b")], ["a -> b -> a."]),
        (
            [after("b", name="z"), after("c", name="b"), after("d", name="c"), after("b", name="d")],
            ["tasks[1] ('b')", "b -> c -> d -> b."],
        ),
        (
            [after("pack", name="a"), after("a", name="pack", loop=["x", "y"])],
            ["a -> pack (item=x) -> a."],
        ),
        ([after({"a": 1}, name="z")], ["'depends_on'", "list of names", "dictionary"]),
        ([{"command": 1, "depends_on": {"a": 1}}], ["'depends_on'", "dictionary"]),
        ([after(True, name="z")], ["'depends_on'", "boolean"]),
        ([after("{{ nope }}", name="z")], ["'depends_on'", "'nope' is undefined"]),
        ([{"command": 1, "run_when": "always"}], ["'run_when'", "no 'depends_on'"]),
        ([after(name="a"), after("a", name="z", run_when="sometimes")], ["'run_when'", "success, failure, always"]),
    ],
)
def test_what_cannot_be_resolved_is_refused(entries: list[t.Any], words: list[str]) -> None:
    with pytest.raises(JobRefused) as caught:
        expand(entries)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_job_has_its_conditions_and_retries() -> None:
    entry = after("a", name="b", run_when="{{ end }}", retries="2", delay=1.5, backoff=2)
    dummy, job = expand([after(name="a"), entry], end="always")
    assert (job.run_when, job.retries, job.delay, job.backoff) == ("always", 2, 1.5, 2.0)
    (block,) = expand([{"block": [{"command": 1}], "retries": 3}])
    assert (block.retries, block.delay, block.backoff) == (3, 5.0, 1.0)


def test_ten_thousand_jobs_are_resolved_at_once() -> None:
    count = 10_000
    names = [f"job {number}" for number in range(count)]
    chain = [{"name": name, "command": 1} for name in names]
    jobs = expand(chain)
    from ansible_collections.background.jobs.plugins.plugin_utils._entries import graph

    wanted = {index: [names[index - 1]] for index in range(1, count)}
    start = time.perf_counter()
    graph.resolve(jobs, [], wanted)
    assert time.perf_counter() - start < 1.0
    assert [job.depends_on for job in jobs[:3]] == [[], [0], [1]] and jobs[-1].depends_on == [count - 2]
    with pytest.raises(JobRefused) as caught:
        graph.resolve(jobs, [], {**wanted, 0: [names[-1]]})
    assert "job 0 -> job 9999 -> job 9998" in str(caught.value) and "9981 more" in str(caught.value)


def test_a_thousand_jobs_may_wait_for_a_loop_of_a_thousand() -> None:
    entries = [after(name="first", loop=list(range(1000))), after("first", name="then", loop=list(range(1000)))]
    jobs = expand(entries)
    assert jobs[-1].depends_on == list(range(1000)) and jobs[-1].depends_on is jobs[1000].depends_on
    with pytest.raises(JobRefused, match="Let one job depend on the whole loop"):
        expand([*entries, after("then", name="more")])
