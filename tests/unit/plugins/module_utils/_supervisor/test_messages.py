# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a supervisor takes for a request or a frame, and what it passes over."""

from __future__ import annotations

import signal

import pytest

from ansible_collections.background.jobs.plugins.module_utils._supervisor import messages


def test_a_request_says_which_jobs_are_to_end_and_how():
    request = messages.request_in(b'{"cancel": [0, 2], "grace": 1.5, "signal": 1}')
    assert messages.cancel_in(request, 3) == ([0, 2], 1.5, 1)
    assert messages.cancel_in({"cancel": [], "grace": 0}, 3) == ([], 0, signal.SIGTERM)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"cancel": 0, "grace": 1},
        {"cancel": [3], "grace": 1},
        {"cancel": [-1], "grace": 1},
        {"cancel": [True], "grace": 1},
        {"cancel": [0]},
        {"cancel": [0], "grace": -1},
        {"cancel": [0], "grace": True},
        {"cancel": [0], "grace": float("inf")},
        {"cancel": [0], "grace": 10**400},
        {"cancel": [0], "grace": 1, "signal": 0},
        {"cancel": [0], "grace": 1, "signal": 4000},
    ],
)
def test_what_is_no_request_is_passed_over(request_):
    assert messages.cancel_in(request_, 3) is None


def test_a_request_says_how_many_jobs_are_to_run_at_once():
    assert messages.concurrency_in(messages.request_in(b'{"concurrency": 3}')) == 3
    assert messages.concurrency_in({"concurrency": 0}) == 0
    assert messages.cancel_in({"concurrency": 3}, 3) is None


@pytest.mark.parametrize("request_", [{}, {"concurrency": -1}, {"concurrency": True}, {"concurrency": "3"}])
def test_what_says_no_number_of_jobs_is_passed_over(request_):
    assert messages.concurrency_in(request_) is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100000])
def test_a_line_that_is_no_request_is_passed_over(line):
    assert messages.request_in(line) is None


@pytest.mark.parametrize(
    ("more", "is_one"),
    [
        ({"pid": 2, "began": 0.5}, True),
        ({"pid": 1, "began": 0.5}, False),
        ({"pid": "2", "began": 0.5}, False),
        ({"pid": 2}, False),
        ({"pid": 2, "began": "0"}, False),
        ({"pid": 2, "began": float("nan")}, False),
        ({"error": "no"}, True),
        ({"error": None}, False),
        ({"status": -9}, True),
        ({"status": -4000}, False),
        ({"status": 0, "brief": {"failed": True, "rc": 1}}, True),
        ({"status": 0, "brief": {"msg": "x"}}, False),
        ({}, False),
    ],
)
def test_a_frame_tells_of_a_call(more, is_one):
    assert messages.is_frame(dict(more, job=0, call=7)) is is_one
    assert not messages.is_frame(dict(more, job=0))
    assert not messages.is_frame(dict(more, job=-1, call=7))
    assert not messages.is_frame([more])
