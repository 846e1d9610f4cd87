# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # it starts a process that outlives the module: run_command waits

"""The supervisor's hold on its template processes (what they do: _fork_server/main.py)."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import socket
import struct
import subprocess
from collections import deque

from ansible_collections.background.jobs.plugins.module_utils._supervisor import other_user

# Reads the program from its standard input, so that nothing of it stands on the disk or in the command line. The working
# folder, which may be anybody's, is no place to import from: first of all it is taken out. `os` is there already.
_BOOT = (
    "import sys\n"
    "sys.path[:] = [path for path in sys.path if path not in ('', '.')]\n"
    "import os\n"
    "def _read(size):\n"
    "    data = b''\n"
    "    while len(data) < size:\n"
    "        data += os.read(0, size - len(data)) or sys.exit()\n"
    "    return data\n"
    "exec(compile(_read(int(_read(10))), 'background.jobs loader', 'exec'))\n"
    "load(_read(int(_read(10))))()\n"
)

# What an interpreter or the C library reads when it starts: set later, in the process of a job, it would come too late.
_READ_AT_START = re.compile(r"(PYTHON|LD_|LC_|MALLOC_|GLIBC_)|(LANG|LANGUAGE|VIRTUAL_ENV|PATH)\Z")
_RECEIVE = 65536
_MOST_OF_A_FRAME = 1024 * 1024  # bytes: one that comes takes some hundred
_SPARE = 16  # file descriptors
_STUCK = 1.0  # seconds that a killed process may take to go


def start_environment(environment):
    """Return the part of a job's environment that has to be there when its interpreter starts."""
    return {key: value for key, value in environment.items() if _READ_AT_START.match(key)}


def program(sources):
    """Return what a template process is sent first of all; sources: {"loader": text, "parts": {name: text}}."""
    return _sized(sources["loader"].encode("utf-8")) + _sized(json.dumps(sources["parts"]).encode("ascii"))


def interpreter(payload):
    """Return the words of a payload's interpreter, with the home directory that a shell would have put for `~`."""
    return [os.path.expanduser(word) for word in payload["interpreter"]]


class TemplateGone(Exception):
    """The template process ended, or does not take orders."""


class Template:
    """One template process: started at once, fed jobs, ended by `close`. Nothing ever waits for it, but for `reap`.

    What it does not take at once stays `unsent`, for `flush` to send when it can be written to.
    """

    def __init__(self, payload, environment, directory, label, sent, *, becoming=None):
        """payload: see the plan; environment: a pair, that of the supervisor and what its interpreter starts with besides;
        sent: see `program`; becoming: how another user is become, see other_user.py."""
        own, at_start = environment
        self.becoming = None if becoming is None else other_user.Becoming(becoming, directory)
        ours, theirs = socket.socketpair()
        try:
            _leave_some(ours.fileno())
            # only what is to be forked has to be loaded by the module's own interpreter
            command = interpreter(payload) if payload["style"] == "ansiballz" else [_this_python()]
            if self.becoming is None:
                command, own = [*command, "-c", _BOOT, "background.jobs", "template", label], dict(own, **at_start)
            else:
                command = self.becoming.command(command)
            self._process = subprocess.Popen(
                command,
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=self.becoming and self.becoming.said,  # else the supervisor's log
                env=own,
            )
        except (OSError, ValueError):
            ours.close()
            raise
        finally:
            theirs.close()
        self._sock = ours
        self._sock.setblocking(False)
        self._received = bytearray()
        self.jobs = set()
        self._unsent = deque()  # (bytes, file descriptors that go with them)
        if self.becoming is not None:
            self._queue(self.becoming.order(at_start, _BOOT, label))
        self._queue(sent)
        first = dict(payload, directory=directory, interpreter=interpreter(payload))
        if self.becoming is None:
            self._queue(_packed(first))
        else:
            pids = other_user.pids_file(directory, self._process.pid)
            self._queue(_packed(dict(first, directory=None, fds=len(pids))), pids)

    def fileno(self):
        return self._sock.fileno()

    @property
    def unsent(self):
        """Whether there is something to `flush`."""
        return bool(self._unsent) and self._is_ready

    @property
    def is_open(self):
        """Whether it was not closed."""
        return self._sock.fileno() >= 0

    @property
    def _is_ready(self):
        """Whether what reads from the socket is the template, and not yet what is to make it another user."""
        return self.becoming is None or self.becoming.is_done

    def _queue(self, data, fds=()):
        self._unsent.append((memoryview(data), fds))

    def send(self, frame, fds=()):
        """Hand over a job, now or by later calls of `flush`. TemplateGone where it takes no more.

        fds: file descriptors that go with it, and are closed here.
        """
        self._queue(_packed(dict(frame, fds=len(fds)) if fds else frame), fds)
        self._send_some()

    def signal(self, call, process, number):
        """Have a process of a call be sent a signal by the template, which is of its user; say whether it was told to."""
        try:
            self.send({"signal": number, "call": call, "processes": [[process.pid, process.start]]})
        except TemplateGone:
            return False
        return True

    def flush(self):
        """Send as much as it takes at the moment."""
        try:
            self._send_some()
        except TemplateGone:
            pass  # `receive` tells in a moment, after what it has still said

    def _send_some(self):
        try:
            while self.unsent:
                data, fds = self._unsent[0]
                sent = other_user.send(self._sock, data, fds) if fds else self._sock.send(data)
                other_user.close(fds)
                self._unsent[0] = data[sent:], ()
                if sent == len(data):
                    self._unsent.popleft()
        except BlockingIOError:
            pass
        except OSError as exc:
            self._forget()
            raise TemplateGone(str(exc)) from exc

    def _forget(self):
        for dummy, fds in self._unsent:
            other_user.close(fds)
        self._unsent.clear()

    def receive(self):
        """Return the frames that have come. TemplateGone where it has ended."""
        try:
            data = self._sock.recv(_RECEIVE)
        except BlockingIOError:
            return []
        except OSError as exc:
            raise TemplateGone(str(exc)) from exc
        if not data:
            raise TemplateGone("its template process ended" if self._is_ready else self.becoming.why_not())
        self._received += data
        if not self._is_ready:
            if not self.becoming.heard(self._received):
                return []
            self.flush()
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
        """Let the process end; it is to be asked whether it `has_ended`, or to be reaped."""
        self._forget()
        self._sock.close()

    def has_ended(self):
        """Say whether the process is gone, and then let the kernel forget it."""
        return self._process.poll() is not None

    def reap(self, patience):
        """Wait at most `patience` seconds for the end of a closed template, then kill it.

        One that is stuck in the kernel is left there.
        """
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            try:
                self._process.kill()
                self._process.wait(_STUCK)
            except (PermissionError, subprocess.TimeoutExpired):
                pass  # that of another user ends by itself when its socket is closed


def _leave_some(fd):
    """OSError where too few file descriptors are left: the supervisor needs some to see its jobs done."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and fd > limit - _SPARE:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _sized(data):
    return b"%010d" % len(data) + data


def _packed(frame):
    body = json.dumps(frame).encode("ascii")
    return struct.pack("!I", len(body)) + body


def _decoded(body):
    """Return what a frame holds, None where that can't be read."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _this_python():
    return os.path.realpath("/proc/self/exe") if os.path.exists("/proc/self/exe") else "python3"
