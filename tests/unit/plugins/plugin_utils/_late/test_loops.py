# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loops with_<lookup> on the host give the items that the lookup plugins of ansible-core give, or fail as they do."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader

from ansible_collections.background.jobs.plugins.module_utils._late import loops
from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed

USERS = [
    {"name": "a", "keys": ["1", "2"], "db": {"hosts": ["h"]}},
    {"name": "b", "keys": [], "db": {"hosts": ["x", "y"]}},
    {"skipped": True},
]
LESS = [{"name": "c"}, *USERS]


@pytest.mark.parametrize(
    ("lookup", "terms"),
    [
        ("items", [1, [2, [3]], "a"]),
        ("items", []),
        ("list", [1, [2], 3]),
        ("dict", [{"a": 1, "b": [2]}, {"c": 3}]),
        ("dict", [[1]]),
        ("together", [[1, 2], ["a"]]),
        ("together", [[[1, 2], 3], ["a", "b"], ["x"]]),
        ("together", []),
        ("nested", [[1, 2], ["a", "b"]]),
        ("nested", [[1, 2], ["a"], ["x", "y"]]),
        ("nested", [[1, 2]]),
        ("nested", []),
        ("indexed_items", [["a", "b"], "c"]),
        ("subelements", [USERS, "keys"]),
        ("subelements", [USERS, "db.hosts"]),
        ("subelements", [LESS, "keys"]),
        ("subelements", [LESS, "keys", {"skip_missing": True}]),
        ("subelements", [LESS, "db.hosts", {"skip_missing": True}]),
        ("subelements", [{"u": USERS[0]}, "keys"]),
        ("subelements", [{"skipped": True}, "keys"]),
        ("subelements", [[1], "keys"]),
        ("subelements", [USERS, "name"]),
        ("subelements", [USERS, "name.x"]),
        ("subelements", [USERS]),
        ("sequence", ["3"]),
        ("sequence", ["2-10/2:h%02d", "5-6"]),
        ("sequence", ["start=1 end=3 format=x%d"]),
        ("sequence", ["start=0x0f00 count=4 format=%04x"]),
        ("sequence", ["start=1 count=5 stride=2"]),
        ("sequence", ["start=5 end=1 stride=-2"]),
        ("sequence", ["count=0"]),
        ("sequence", ["start=5 end=1"]),
        ("sequence", ["start=1"]),
        ("sequence", ["count=1 end=1"]),
        ("sequence", ["end=2 format=x"]),
    ],
)
def test_the_same_items_as_of_core(lookup: str, terms: t.Any) -> None:
    assert _outcome(lambda: loops.items(lookup, copy.deepcopy(terms), lambda value: value)) == _outcome(
        lambda: lookup_loader.get(lookup).run(copy.deepcopy(terms), variables={})
    )


def _outcome(work: t.Callable[[], t.Any]) -> t.Any:
    try:
        return json.loads(json.dumps(work()))
    except (AnsibleError, TemplateFailed, TypeError):
        return "it fails"


@pytest.mark.parametrize(
    ("lookup", "terms", "expected"),
    [
        ("cartesian", [[1, 2], [3]], [[1, 3], [2, 3]]),
        ("flattened", [1, [2, [3, [4]]]], [1, 2, 3, 4]),
        ("items", "one", ["one"]),
    ],
)
def test_those_of_other_collections(lookup: str, terms: t.Any, expected: object) -> None:
    assert loops.items(lookup, terms, lambda value: value) == expected
