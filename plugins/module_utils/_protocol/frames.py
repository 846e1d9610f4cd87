# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Frames on a socket: four bytes of length, then JSON; a frame with "size" is followed by so many bytes of text."""

from __future__ import annotations

import json
import struct


def pack(frame, size=None):
    """Return a frame as bytes; size: of the text that follows it, if there is one."""
    if size is not None:
        frame = dict(frame, size=size)
    body = json.dumps(frame).encode("ascii")
    return struct.pack("!I", len(body)) + body


class Buffer:
    """Puts frames together from what has been received."""

    def __init__(self):
        self._received = bytearray()
        self._head = None  # a frame whose text is not complete

    def add(self, data):
        """Yield (frame, its text or None) for each frame that is complete now."""
        self._received += data
        while True:
            if self._head is None and not self._take_head():
                return
            size = self._head.get("size", 0)
            if len(self._received) < size:
                return
            text = bytes(self._received[:size]) if "size" in self._head else None
            del self._received[:size]
            frame, self._head = self._head, None
            yield frame, text

    def _take_head(self):
        if len(self._received) < 4:
            return False
        end = 4 + struct.unpack_from("!I", self._received)[0]
        if len(self._received) < end:
            return False
        self._head = json.loads(bytes(self._received[4:end]))
        del self._received[:end]
        return True
