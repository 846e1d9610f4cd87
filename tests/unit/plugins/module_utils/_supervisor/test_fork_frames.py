# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import struct

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import frames
from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_frames


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_frames_come_in_any_pieces(pair):
    ours, theirs = pair
    data = frames.pack({"n": 1}) + frames.pack({"n": 2}) + frames.pack({"n": 3})
    incoming, found = fork_frames.Frames(), []
    for begin in range(0, len(data), 5):
        theirs.sendall(data[begin : begin + 5])
        assert incoming.receive(ours)
        found += incoming.take()
    assert found == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert incoming.receive(ours)  # there is nothing, and may be more
    theirs.close()
    assert not incoming.receive(ours)


def test_the_first_frame_is_taken_and_the_others_are_left(pair):
    ours, theirs = pair
    incoming = fork_frames.Frames()
    assert incoming.take_one() is None
    theirs.sendall(frames.pack(1) + frames.pack(2) + b"\0\0\0\5[")
    incoming.receive(ours)
    assert incoming.take_one() == 1
    assert incoming.take() == [2]
    assert incoming.take_one() is None


def test_what_cannot_be_read_is_nothing_and_what_is_too_large_ends_it(pair):
    ours, theirs = pair
    incoming = fork_frames.Frames()
    theirs.sendall(struct.pack("!I", 3) + b"{{{" + struct.pack("!I", 1 << 30))
    incoming.receive(ours)
    assert incoming.take_one() is None
    with pytest.raises(fork_frames.TemplateGone, match="an invalid answer"):
        incoming.take()


def test_what_is_not_taken_at_once_is_kept_in_order(pair):
    ours, theirs = pair
    queue, later = fork_frames.Queue(), fork_frames.Queue()
    for number in range(3):
        queue.add(bytes([number]) * 400000)
    later.add(b"end")
    later.move_to(queue)
    assert not later
    received = b""
    while queue or not received.endswith(b"end"):
        queue.send(ours)
        received += theirs.recv(1 << 20)
    assert received == b"\0" * 400000 + b"\1" * 400000 + b"\2" * 400000 + b"end"


def test_files_that_are_not_sent_any_more_are_closed():
    queue = fork_frames.Queue()
    out, into = socket.socketpair()
    queue.add(b"x", [into.detach()])
    queue.forget()
    assert not queue
    assert out.recv(1) == b""
    out.close()
