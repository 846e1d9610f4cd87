# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._supervisor.timers import Timers


def test_keys_come_out_in_the_order_of_their_times_each_once():
    timers = Timers()
    timers.set("a", 3.0)
    timers.set("b", 1.0)
    timers.set("c", 2.0)
    assert timers.next() == 1.0
    assert [timers.pop(2.5), timers.pop(2.5), timers.pop(2.5)] == ["b", "c", None]
    assert timers.next() == 3.0


def test_a_time_that_is_set_anew_or_cleared_does_not_come():
    timers = Timers()
    timers.set("a", 1.0)
    timers.set("b", 1.0)
    timers.set("a", 5.0)
    timers.clear("b")
    timers.clear("never set")
    assert "a" in timers and "b" not in timers
    assert timers.pop(4.0) is None
    assert timers.next() == 5.0
    assert timers.pop(5.0) == "a"
    assert timers.next() is None


def test_the_same_time_set_twice_comes_once():
    timers = Timers()
    timers.set("a", 1.0)
    timers.set("a", 1.0)
    assert [timers.pop(1.0), timers.pop(1.0)] == ["a", None]
