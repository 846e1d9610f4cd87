# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who stands in line, and who may take a place."""

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._supervisor.lines import Line, Ticket, may_take

ME = "b2"


def line(*arrivals):
    made = Line()
    for order, arrived in enumerate(arrivals):
        made.join(order, Ticket(order, arrived))
    return made


def test_a_line_is_in_the_order_of_arrival():
    some = line(1.0, 1.0, 2.0)
    assert some.waiting() == [[1.0, 2], [2.0, 1]]
    assert some.waiting(1) == [[1.0, 1]]
    assert some.waiting(0) == []
    assert (some.first, some.first_order) == (0, 0)


def test_who_leaves_is_counted_no_more():
    some = line(1.0, 1.0, 2.0)
    assert some.leave(1)
    assert not some.leave(1)
    assert some.waiting() == [[1.0, 1], [2.0, 1]]
    assert some.leave(0)
    assert (some.first, some.waiting()) == (2, [[2.0, 1]])
    assert some.leave(2)
    assert not some
    assert some.waiting() == []


def test_no_more_is_told_than_fits_into_a_block():
    assert len(line(*map(float, range(500))).waiting()) == 50


def test_each_is_seen_once():
    some = line(1.0, 1.0, 1.0, 1.0)
    assert some.newly_seen(2) == [0, 1]
    assert some.newly_seen(2) == []
    some.leave(0)
    assert some.newly_seen(2) == [2]
    assert some.newly_seen() == [3]


@pytest.mark.parametrize(
    ("size", "held", "others", "may"),
    [
        pytest.param(1, 0, [], True, id="nobody else"),
        pytest.param(1, 1, [], False, id="we have it ourselves"),
        pytest.param(3, 1, [("b1", 1, [])], True, id="one is free"),
        pytest.param(2, 1, [("b1", 1, [])], False, id="none is free"),
        pytest.param(1, 0, [("b1", 3, [])], False, id="more run than there are places, since it was made smaller"),
        pytest.param(1, 0, [("b1", 0, [[4.0, 1]])], False, id="one came earlier"),
        pytest.param(2, 0, [("b1", 0, [[4.0, 1]])], True, id="there is one for both"),
        pytest.param(3, 0, [("b1", 0, [[3.0, 2], [4.0, 1]])], False, id="three came earlier"),
        pytest.param(1, 0, [("b1", 0, [[6.0, 9]])], True, id="they came later"),
        pytest.param(1, 0, [("b1", 0, [[5.0, 1]])], False, id="at the same time the batch id tells"),
        pytest.param(1, 0, [("b3", 0, [[5.0, 1]])], True, id="and does so for both"),
    ],
)
def test_who_may_take_a_place(size, held, others, may):
    assert may_take(size, held, (5.0, ME), others) is may
