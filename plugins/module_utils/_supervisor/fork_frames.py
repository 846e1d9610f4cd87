# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Frames to and from a template process or a zygote, over a non-blocking socket."""

from __future__ import annotations

import struct
from collections import deque

from ansible_collections.background.jobs.plugins.module_utils._supervisor import other_user
from ansible_collections.background.jobs.plugins.module_utils._system import json_text

_RECEIVE = 65536
_MOST_OF_A_FRAME = 1024 * 1024  # bytes: usual ones have some hundred


class TemplateGone(Exception):
    """The template process ended, or does not take orders."""


class Queue:
    """What is still to be sent: bytes, and the file descriptors that go with them."""

    def __init__(self):
        self._pieces = deque()

    def __bool__(self):
        return bool(self._pieces)

    def add(self, data, fds=()):
        self._pieces.append((memoryview(data), fds))

    def move_to(self, other):
        other._pieces.extend(self._pieces)
        self._pieces.clear()

    def send(self, sock):
        """Send as much as the socket takes now. OSError if the other end is gone."""
        try:
            while self._pieces:
                data, fds = self._pieces[0]
                sent = other_user.send(sock, data, fds) if fds else sock.send(data)
                other_user.close(fds)
                self._pieces[0] = data[sent:], ()
                if sent == len(data):
                    self._pieces.popleft()
        except BlockingIOError:
            pass

    def forget(self):
        for dummy, fds in self._pieces:
            other_user.close(fds)
        self._pieces.clear()


class Frames:
    """What was received, cut into frames."""

    def __init__(self):
        self.received = bytearray()

    def receive(self, sock):
        """Read what has arrived; return whether more can follow."""
        try:
            data = sock.recv(_RECEIVE)
        except BlockingIOError:
            return True
        self.received += data
        return bool(data)

    def take(self):
        """Return the complete frames, with None in place of one that can't be decoded."""
        frames = []
        while self._size() is not None:
            frames.append(self._next())
        return frames

    def take_one(self):
        """Return the first frame, None if it is not complete."""
        return None if self._size() is None else self._next()

    def _size(self):
        """Return the size of the first frame, None if it is not complete."""
        if len(self.received) < 4:
            return None
        size = struct.unpack_from("!I", self.received)[0]
        if size > _MOST_OF_A_FRAME:
            raise TemplateGone("its template process sent an invalid answer")
        return None if len(self.received) < 4 + size else size

    def _next(self):
        end = 4 + self._size()
        body = bytes(self.received[4:end])
        del self.received[:end]
        return _decoded(body)


def _decoded(body):
    try:
        return json_text.loads(body)
    except ValueError:
        return None
