# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The template's side of the socket to its supervisor.

Frames on the socket: four bytes of length, then JSON.
  in:  the payload, once, with "capture", the text of capture.py, if output is kept; then one job at a time:
       {"job", "call", "params", "environment", "stdout", "stderr"}; if its output is kept, {"output", "keep_output"};
       if what it prints into stdout and stderr is bounded, "most", the bytes of either; if it is limited, "nice" and
       "groups", the files through which its process enters control groups; {"revoke": call}: do not start that call, if
       it has not started yet
       Frames with "fds" come with so many open files. For a template of another user, who must not enter the folders of the
       batch, the payload brings a file to note pids in (its "directory" is null), and a call brings those for what it
       prints; with {"copies"} in place of {"output"}, two for what it reads from its child processes; and with {"token",
       "files": [[name, mode], ...]}, staged files that are put into a folder of that user for the call, whose path
       replaces the token in its params; {"signal": number, "call", "processes": [[pid, start], ...]}: send the signal to
       these processes of the call, as the supervisor may not
  out: {"job", "call", ...} with "pid" when it was started, and "began", when that was by the monotonic clock; with "status"
       when it ended, and "brief" ({"failed", "changed", "rc"} as far as they are known) if the disk was too full for its
       result; with "error" when it could not be started
End of file on the socket: no more jobs. Those that still run are ended, because nobody would learn their results.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct

_PIECE = 65536
_MOST_FDS = 253  # the most that come with one message
_ROOM_FOR_FDS = socket.CMSG_SPACE(_MOST_FDS * array.array("i").itemsize)


class Channel:
    """Frames to and from the supervisor."""

    def __init__(self, sock):
        self._sock = sock
        self._received = bytearray()
        self._ended = False
        self._unsent = bytearray()
        self._arrived_fds = []
        self.fds = set()  # that have arrived and are not closed

    def fileno(self):
        return self._sock.fileno()

    def receive(self):
        """Wait for the next frame, and return it; None if there are no more. Nothing beyond it is read."""
        while not self._ended:
            frame = self._next()
            if frame is not None:
                return frame
            self._receive_piece(self._end() - len(self._received))
        return None

    def arrived(self):
        """Return the frames that have arrived by now; None in place of the list if there will be no more."""
        while not self._ended and self._receive_piece(_PIECE, socket.MSG_DONTWAIT):
            pass
        return None if self._ended else list(iter(self._next, None))

    def _receive_piece(self, size, flags=0):
        """Read what has arrived; false if there is nothing, or nothing will arrive any more."""
        try:
            piece, ancillary, dummy, dummy = self._sock.recvmsg(size, _ROOM_FOR_FDS, flags | socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except OSError:  # the supervisor was killed, and had not read all that it was sent
            piece, ancillary = b"", []
        for dummy, dummy, data in ancillary:
            fds = array.array("i", data)
            self._arrived_fds += fds
            self.fds.update(fds)
        self._ended = not piece
        self._received += piece
        return bool(piece)

    def _end(self):
        """Return where the first frame ends, as far as that is known."""
        return 4 + (struct.unpack_from("!I", self._received)[0] if len(self._received) >= 4 else 0)

    def _next(self):
        """Remove and return the first frame, None if it is not complete."""
        end = self._end()
        if len(self._received) < end or not end > 4:
            return None
        frame = json.loads(bytes(self._received[4:end]))
        del self._received[:end]
        count = frame.pop("fds", 0)
        frame["fds"], self._arrived_fds = self._arrived_fds[:count], self._arrived_fds[count:]
        return frame

    def close_fds(self, fds):
        for fd in fds:
            os.close(fd)
        self.fds.difference_update(fds)

    def send(self, frame):
        """Send without blocking, because the supervisor may be busy sending itself: what does not go now stays `unsent`."""
        body = json.dumps(frame).encode("ascii")
        self._unsent += struct.pack("!I", len(body)) + body
        self.flush()

    @property
    def unsent(self):
        return bool(self._unsent)

    def flush(self):
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            pass
        except OSError:  # the supervisor is gone: `arrived` will find the end of file
            self._unsent.clear()

    def close(self):
        self._received.clear()
        self._sock.close()
