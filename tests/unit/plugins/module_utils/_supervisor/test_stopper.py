# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import signal

import pytest

from ansible_collections.background.jobs.plugins.module_utils._supervisor import stopper


class Call:
    """Notes what it is sent; is over when told so, or given up."""

    def __init__(self):
        self.sent, self.ends = [], False
        self.to_kill, self.give_up = False, None

    def ask_to_end(self, snapshot, now):
        self.sent.append((now, self.number))

    def insist(self, snapshot, now):
        pass

    def signal(self, number, snapshot):
        self.sent.append((snapshot, number))

    def is_over(self, snapshot, now):
        return self.ends or (self.give_up is not None and now >= self.give_up)


class Host:
    """A clock, and looks at processes that take some of its time; each is known by when it began."""

    def __init__(self):
        self.now, self.cost, self.looks = 100.0, 0.0, 0

    def snapshot(self):
        self.looks += 1
        began, self.now = self.now, self.now + self.cost
        return began


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def stopping(host):
    return stopper.Stopper(lambda: host.now, host.snapshot)


def stop(stopping, index=0, grace=10.0):
    call = Call()
    stopping.stop(index, call, ("cancelled", "why"), grace, signal.SIGINT)
    return call


def test_nothing_to_stop_needs_no_look(stopping, host):
    assert stopping.next() is None
    assert stopping.look(host.now) == []
    assert host.looks == 0


def test_a_call_is_told_once_with_its_signal(stopping, host):
    call = stop(stopping)
    assert call.stopping == ("cancelled", "why")
    assert stopping.next() <= host.now
    assert stopping.look(host.now) == []
    stopping.look_soon()
    stopping.look(host.now)
    assert call.sent == [(100.0, signal.SIGINT)]


def test_one_look_serves_all_calls(stopping, host):
    calls = [stop(stopping, index) for index in range(50)]
    calls[7].ends = calls[3].ends = True
    assert stopping.look(host.now) == [3, 7]
    assert host.looks == 1


def test_between_looks_is_a_pause_unless_something_was_heard(stopping, host):
    stop(stopping)
    stopping.look(host.now)
    assert host.now < stopping.next() < host.now + 1
    stopping.look(host.now)
    assert host.looks == 1
    stopping.look_soon()
    stopping.look(host.now)
    assert host.looks == 2


def test_long_looks_leave_most_of_the_time_to_others(stopping, host):
    stop(stopping)
    host.cost = 2.0
    stopping.look(host.now)
    assert stopping.next() >= 100.0 + 10.0  # which is when it is to be killed
    host.now = 110.0
    stopping.look(host.now)
    assert host.looks == 2


def test_a_call_is_killed_after_its_grace_again_and_again_and_given_up(stopping, host):
    call = stop(stopping, grace=2.0)
    told = []
    while True:
        host.now = max(host.now, stopping.next())
        if stopping.look(host.now):
            break
        told = [when for when, number in call.sent if number == signal.SIGKILL]
    assert told == pytest.approx([102.0, 103.0, 104.0, 105.0, 106.0])
    assert host.now == pytest.approx(107.0)


def test_a_forgotten_call_is_neither_looked_at_nor_killed(stopping, host):
    call = stop(stopping, grace=1.0)
    stopping.forget(0)
    assert stopping.next() is None
    host.now += 5
    assert stopping.look(host.now) == []
    assert not call.sent and not call.to_kill
