# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""with_*, late: the cases of core were run with 2.19.14 and 2.21.5, which agree."""

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._late import loops
from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed

from .scripts import Run, Script, token

D = {"k": 1, "m": 2}
L = [{"a": [1, 2], "n": "x"}, {"a": [3], "n": "y"}, {"n": "z"}]


def items(kind, value):
    return loops.items(kind, value, lambda value: value)


@pytest.mark.parametrize(
    ("kind", "terms", "expected"),
    [
        ("dict", D, [{"key": "k", "value": 1}, {"key": "m", "value": 2}]),
        ("items", [L, 1, [2, [3]]], [*L, 1, 2, [3]]),
        ("items", "text", ["text"]),
        ("items", D, [D]),
        ("subelements", [L, "a", {"skip_missing": True}], [[{"n": "x"}, 1], [{"n": "x"}, 2], [{"n": "y"}, 3]]),
        ("subelements", [{"one": {"a": {"b": [1]}}}, "a.b"], [[{"a": {}}, 1]]),
        ("subelements", [{"skipped": True, "results": L}, "a"], []),
        ("subelements", [[{"skipped": True}, {"a": [1]}], "a"], [[{}, 1]]),
        ("sequence", "start=0 end=2 format=%02d", ["00", "01", "02"]),
        ("sequence", "count=2", ["1", "2"]),
        ("sequence", "count=3 start=0 stride=2", ["0", "2", "4"]),
        ("sequence", "1-4/2", ["1", "3"]),
        ("sequence", "4:host%02d", ["host01", "host02", "host03", "host04"]),
        ("sequence", "start=5 end=1 stride=-2", ["5", "3", "1"]),
        ("sequence", "count=0", []),
        ("sequence", ["1", "2-3"], ["1", "2", "3"]),
        ("nested", [[1, 2], ["k", "m"]], [[1, "k"], [1, "m"], [2, "k"], [2, "m"]]),
        ("nested", [[1], [2], [3, 4]], [[1, 2, 3], [1, 2, 4]]),
        ("cartesian", [[1, 2], [3]], [[1, 3], [2, 3]]),
        ("together", [[1, 2], [3]], [[1, 3], [2, None]]),
        ("indexed_items", ["text", [5]], [[0, "text"], [1, 5]]),
        ("flattened", [1, [2, [3, [4]]]], [1, 2, 3, 4]),
        ("list", "text", ["text"]),
        ("list", L, L),
    ],
)
def test_items_are_those_of_core(kind, terms, expected):
    assert items(kind, terms) == expected


@pytest.mark.parametrize(
    ("kind", "terms", "message"),
    [
        ("dict", "text", "the 'dict' lookup plugin expects a dictionary, got 'text' of type <class 'str'>)"),
        ("subelements", [L, "a"], "could not find 'a' key in iterated item '{'n': 'z'}'"),
        ("subelements", [L], "subelements lookup expects a list of two or three items, "),
        ("subelements", [[{"a": 1}], "a"], "the key a should point to a list, got '1'"),
        ("subelements", [[{"a": 1}], "a.b"], "the key a should point to a dictionary, got '1'"),
        ("nested", [], "with_nested requires at least one element in the nested list"),
        ("together", [], "with_together requires at least one element in each list"),
        ("sequence", "start=5", "must specify count or end in with_sequence"),
        ("sequence", "start=5 end=1", "to count backwards make stride negative"),
        ("sequence", "start=1 end=5 stride=-1", "to count forward don't make stride negative"),
        ("sequence", "count=2 end=3", "can't specify both count and end in with_sequence"),
        ("sequence", "rubbish here", "unrecognized arguments to with_sequence: ['_raw_params']"),
        ("sequence", "end=2 format=none", "bad formatting string: none"),
        (
            "sequence",
            "end=0x10",
            "Config 'end' for 'sequence' lookup plugin from 'Direct' has an invalid value: Invalid value provided for 'integer': '0x10'",
        ),
    ],
)
def test_what_is_wrong_is_told_as_core_tells_it(kind, terms, message):
    with pytest.raises(TemplateFailed) as failed:
        items(kind, terms)
    assert str(failed.value) == "The lookup plugin %r failed: %s" % (kind, message)


def test_what_is_gone_over_is_left_as_it_is():
    before = [{"a": [1]}]
    assert items("subelements", [before, "a"]) == [[{}, 1]]
    assert before == [{"a": [1]}]


def test_a_task_goes_over_what_another_one_returned():
    s = Script()
    node = s.call("loop", loop={"$expr": "out.d"}, late=[{"$expr": "item.key"}], arguments={"v": token(0)})
    node["with"] = "dict"
    run = Run(s.of([s.call("one", register="out"), node]), {"one": [{"d": D}]})
    assert [arguments["v"] for dummy, arguments in run.calls[1:]] == ["k", "m"]


def test_a_task_whose_items_are_none_fails():
    s = Script()
    node = s.call("loop", loop={"$expr": "1"}, register="out", ignore_errors=True)
    node["with"] = "dict"
    run = Run(s.of([node]))
    assert run.variables["out"]["msg"].startswith("The lookup plugin 'dict' failed: the 'dict' lookup plugin expects")
