# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # it starts a process that outlives the module: run_command waits

"""The supervisor's hold on its template processes (what they do: _fork_server/server.py)."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess

# Reads the program from its standard input, so that nothing of it stands on the disk or in the command line.
_BOOT = (
    "import os, sys\n"
    "def _read(size):\n"
    "    data = b''\n"
    "    while len(data) < size:\n"
    "        data += os.read(0, size - len(data)) or sys.exit()\n"
    "    return data\n"
    "exec(compile(_read(int(_read(10))), 'background.jobs', 'exec'))\n"
)

# What an interpreter or the C library reads when it starts: set later, in the process of a job, it would come too late.
_READ_AT_START = re.compile(r"(PYTHON|LD_|LC_|MALLOC_|GLIBC_)|(LANG|LANGUAGE|VIRTUAL_ENV|PATH)\Z")
_RECEIVE = 65536
_MOST_OF_A_FRAME = 1024 * 1024  # bytes: one that comes takes some hundred


def start_environment(environment):
    """Return the part of a job's environment that has to be there when its interpreter starts."""
    return {key: value for key, value in environment.items() if _READ_AT_START.match(key)}


def interpreter(payload):
    """Return the words of a payload's interpreter, with the home directory that a shell would have put for `~`."""
    return [os.path.expanduser(word) for word in payload["interpreter"]]


class TemplateGone(Exception):
    """The template process ended, or does not take orders."""


class Template:
    """One template process: started at once, fed jobs, ended by `close`."""

    def __init__(self, payload, environment, directory, label, source):
        """payload: see the plan; environment: what its interpreter starts with; source: the text of _fork_server/server.py."""
        ours, theirs = socket.socketpair()
        try:
            # only what is to be forked has to be loaded by the module's own interpreter
            command = interpreter(payload) if payload["style"] == "ansiballz" else [_this_python()]
            self._process = subprocess.Popen(
                [*command, "-c", _BOOT, "background.jobs", "template", label],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=None,  # the supervisor's log
                env=environment,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._sock = ours
        self._received = bytearray()
        self.jobs = set()
        program = source.encode("utf-8")
        self._send_bytes(b"%010d" % len(program) + program)
        self.send(dict(payload, directory=directory, interpreter=interpreter(payload)))

    def fileno(self):
        return self._sock.fileno()

    def _send_bytes(self, data):
        try:
            self._sock.sendall(data)
        except OSError as exc:
            raise TemplateGone(str(exc)) from exc

    def send(self, frame):
        """Hand over the payload, or a job. TemplateGone where it does not take it."""
        body = json.dumps(frame).encode("ascii")
        self._send_bytes(struct.pack("!I", len(body)) + body)

    def receive(self):
        """Return the frames that have come, at least a part of one must be there. TemplateGone where it has ended."""
        try:
            data = self._sock.recv(_RECEIVE)
        except OSError as exc:
            raise TemplateGone(str(exc)) from exc
        if not data:
            raise TemplateGone("its template process ended")
        self._received += data
        frames = []
        while len(self._received) >= 4:
            size = struct.unpack_from("!I", self._received)[0]
            if size > _MOST_OF_A_FRAME:
                raise TemplateGone("its template process said what it can't have meant")
            if len(self._received) < 4 + size:
                break
            end = 4 + size
            frames.append(_decoded(bytes(self._received[4:end])))
            del self._received[:end]
        return frames

    def close(self):
        """Let the process end; `reap` it later."""
        self._sock.close()

    def reap(self, patience):
        """Wait at most `patience` seconds for the end of a closed template, then kill it."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _decoded(body):
    """Return what a frame holds, None where that can't be read."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _this_python():
    return os.path.realpath("/proc/self/exe") if os.path.exists("/proc/self/exe") else "python3"
