# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import states

ALLOWED = {
    ("queued", "running"),
    ("queued", "skipped"),
    ("queued", "cancelled"),
    ("queued", "failed"),
    ("queued", "lost"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "timed_out"),
    ("running", "cancelled"),
    ("running", "lost"),
    ("running", "queued"),
}


@pytest.mark.parametrize(("current", "following"), list(itertools.product(states.ALL, repeat=2)))
def test_only_these_transitions_are_allowed(current, following):
    if (current, following) in ALLOWED:
        assert states.advance(current, following) == following
    else:
        with pytest.raises(states.IllegalTransition, match="from %s to %s" % (current, following)):
            states.advance(current, following)


def test_terminal_states_are_those_that_nothing_follows():
    assert {state for state in states.ALL if not any(state == current for current, dummy in ALLOWED)} == states.TERMINAL
    assert states.UNSUCCESSFUL < states.TERMINAL
