# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # it starts a process that outlives the module: run_command waits

"""What is on the other end of a template's socket: an interpreter that was started for it, or a fork of a zygote."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import subprocess
import time

from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_frames, other_user
from ansible_collections.background.jobs.plugins.module_utils._system import processes

# Reads the program from its standard input, so that none of it is on the disk or in the command line. First it removes
# the working folder, to which anybody may be able to write, from the import path. `os` is loaded at the start already.
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
    "os._exit(0)\n"  # without taking the interpreter down in order
)
_SPARE = 16  # file descriptors
_STUCK = 1.0  # seconds that a killed process may take to go
FORK_PATIENCE = 10.0  # seconds that a zygote, and a fork of it, may take to report


class Interpreter:
    """An interpreter process that was started for this."""

    def __init__(self, command, environment, words, directory, becoming):
        """environment: a pair, the supervisor's and what is added to it for its interpreter; words: what identifies it in
        the list of processes; becoming: how to become another user, see other_user.py."""
        own, at_start = environment
        self.becoming = None if becoming is None else other_user.Becoming(becoming, directory)
        self.sock, theirs = _sockets()
        try:
            if self.becoming is None:
                command, own = [*command, "-c", _BOOT, *words], dict(own, **at_start)
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
            self.sock.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.order = b"" if self.becoming is None else self.becoming.order(at_start, _BOOT, words)

    @property
    def takes_all(self):
        """Whether our program reads from the socket, and no longer the program that becomes another user."""
        return self.becoming is None or self.becoming.is_done

    @property
    def patience(self):
        """Seconds from its start that it may take to become ready, None once it is."""
        return None if self.becoming is None or self.becoming.is_done else other_user.PATIENCE

    def why_gone(self):
        return "its template process ended" if self.patience is None else self.becoming.why_not()

    def why_late(self):
        return self.becoming.took_too_long()

    def close(self):
        """Let it end; call `has_ended` or `reap` afterwards."""
        self.sock.close()

    def has_ended(self):
        """Say whether the process is gone, and reap it if so."""
        return self._process.poll() is not None

    def reap(self, patience):
        """Wait at most `patience` seconds for the closed process to end, then kill it.

        If it is stuck in the kernel, it is left behind.
        """
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            try:
                self._process.kill()
                self._process.wait(_STUCK)
            except (PermissionError, subprocess.TimeoutExpired):
                pass  # a process of another user ends by itself when its socket is closed


class Forked:
    """A fork of a zygote. Its end is known only from its socket, because only the zygote can reap it."""

    becoming = None
    takes_all = True  # except jobs, which wait until it is ready

    def __init__(self, zygote, label):
        self.zygote = zygote
        self._process = None
        self.sock, theirs = _sockets()
        try:
            zygote.send({"label": label}, [theirs.detach()])
        except fork_frames.TemplateGone:
            self.sock.close()
            raise
        self.patience = FORK_PATIENCE + (zygote.patience or 0.0)

    def is_there(self, frame):
        """Take note of its first frame; say whether it can be used."""
        if not isinstance(frame, dict) or not isinstance(frame.get("template"), int):
            return False
        self.patience = None
        self._process = processes.look(frame["template"])
        return True

    @staticmethod
    def why_gone():
        return "its template process ended"

    why_late = why_gone

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the other end is gone
            self.sock.close()

    def has_ended(self):
        try:
            while self.sock.fileno() >= 0 and self.sock.recv(65536):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        self.sock.close()
        return True

    def reap(self, patience):
        deadline = time.monotonic() + patience
        while not self.has_ended():
            left = deadline - time.monotonic()
            if left <= 0:
                if self._process is not None:
                    processes.send(self._process, signal.SIGKILL)
                self.sock.close()
                return
            select.select([self.sock], [], [], left)


def _sockets():
    """Return a pair of sockets, the first for us. OSError if too few file descriptors are left: the supervisor needs some
    to finish its jobs."""
    ours, theirs = socket.socketpair()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and ours.fileno() > limit - _SPARE:
        ours.close()
        theirs.close()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    ours.setblocking(False)
    return ours, theirs
