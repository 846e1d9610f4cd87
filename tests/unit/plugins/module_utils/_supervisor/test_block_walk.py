# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._supervisor.block_walk import Course


def through(body, failing=(), abort_at=None, give_up_at=None):
    """Go through a body of letters; return the steps taken, and the course."""
    course = Course(nodes(body))
    taken = []
    step = course.next()
    while step is not None:
        taken.append(step["name"])
        if step["name"] == abort_at:
            course.abort()
        if step["name"] == give_up_at:
            course.give_up()
        ended = step["name"] == give_up_at or (step["name"] == abort_at and not course.must_finish)
        step = course.next(step["name"] not in failing and not ended)
    return "".join(taken), course


def nodes(body):
    return [
        {"name": one} if isinstance(one, str) else {key: nodes(value) for key, value in one.items()} for one in body
    ]


BLOCK = [{"block": "ab", "rescue": "cd", "always": "ef"}]
NESTED = [{"block": ["a", {"block": "bc", "rescue": "d", "always": "e"}, "f"], "rescue": "g", "always": "h"}]
IN_ALWAYS = [{"block": "a", "always": [{"block": "b", "rescue": "c", "always": "d"}, "e"]}]


@pytest.mark.parametrize(
    ("body", "failing", "taken", "expected"),
    [
        ("a", "", "a", (False, False, None)),
        ("a", "a", "a", (True, False, "a")),
        ("abc", "b", "ab", (True, False, "b")),
        (BLOCK, "", "abef", (False, False, None)),
        (BLOCK, "a", "acdef", (False, True, None)),
        (BLOCK, "b", "abcdef", (False, True, None)),
        (BLOCK, "bc", "abcef", (True, False, "c")),
        (BLOCK, "e", "abe", (True, False, "e")),
        (BLOCK, "bce", "abce", (True, False, "c")),
        (BLOCK, "be", "abcde", (True, True, "e")),
        ([{"block": "ab", "always": "c"}], "a", "ac", (True, False, "a")),
        ([{"block": "ab", "rescue": []}], "a", "a", (True, False, "a")),
        (NESTED, "", "abcefh", (False, False, None)),
        (NESTED, "b", "abdefh", (False, True, None)),
        (NESTED, "bd", "abdegh", (False, True, None)),
        (NESTED, "bdg", "abdegh", (True, False, "g")),
        (NESTED, "e", "abcegh", (False, True, None)),
        (IN_ALWAYS, "ab", "abcde", (True, True, "a")),
        ([{"block": "a", "rescue": "b"}, "c"], "a", "abc", (False, True, None)),
        ([{"block": "a", "rescue": "b"}, "c"], "ac", "abc", (True, True, "c")),
    ],
)
def test_the_way_is_that_of_ansible(body, failing, taken, expected):
    way, course = through(body, failing)
    culprit = course.culprit["name"] if course.culprit else None
    assert (way, (course.failed, course.rescued, culprit)) == (taken, expected)


@pytest.mark.parametrize(
    ("body", "abort_at", "taken"),
    [
        ("abc", "b", "ab"),
        (BLOCK, "a", "aef"),
        (BLOCK, "b", "abef"),
        (BLOCK, "e", "abef"),
        (NESTED, "b", "abeh"),
        (NESTED, "d", "abdeh"),
        (IN_ALWAYS, "a", "abde"),
        ([{"block": [{"block": "a", "always": "b"}], "always": "c"}, "d"], "a", "abc"),
    ],
)
def test_an_aborted_job_has_only_to_do_what_always_is_done(body, abort_at, taken):
    failing = "bd" if body is NESTED and abort_at == "d" else "b" if body is IN_ALWAYS else ""
    taken = "abcde" if body is IN_ALWAYS else taken
    way, course = through(body, failing, abort_at=abort_at)
    assert (way, course.failed) == (taken, True)


def test_a_job_that_is_given_up_does_nothing_more():
    way, course = through(BLOCK, "a", give_up_at="e")
    assert (way, course.failed) == ("acde", True)


def test_each_step_comes_with_its_section_and_whether_it_must_be_done():
    course = Course(nodes(IN_ALWAYS))
    found = []
    step = course.next()
    while step is not None:
        found.append((step["name"], course.section, course.must_finish))
        step = course.next(step["name"] != "b")
    assert found == [
        ("a", "block", False),
        ("b", "block", True),
        ("c", "rescue", True),
        ("d", "always", True),
        ("e", "always", True),
    ]
