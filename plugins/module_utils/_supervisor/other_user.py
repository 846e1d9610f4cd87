# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Jobs, and tasks inside of them, that run as another user than the supervisor: how to get a template of that user.

In the plan: "become", a list of {"user", "command": [words]}; a call's "become" is an index into it. The command is
what the become plugin of ansible-core makes of `becoming.PROGRAM`, with a mark in place of the interpreter.

The other user may not enter the folders of the batch. What a call needs from them is sent with its frame as open files.
"""

from __future__ import annotations

import array
import errno
import json
import os
import re
import socket
import stat

from ansible_collections.background.jobs.plugins.module_utils._protocol import becoming, output, staged
from ansible_collections.background.jobs.plugins.module_utils._system import files

PATIENCE = 20.0  # seconds: a program that waits for a password would never answer
_MOST_FILES = 240  # that go with one message: the kernel takes 253
_MOST_SAID = 500
# What a shell leaves unchanged, in quotes of any kind and without.
_PLAIN = re.compile(r"[A-Za-z0-9@%_+=:,./~-]+\Z")


class Becoming:
    """A template process that is on its way to become another user."""

    def __init__(self, become, directory):
        """become: an entry of the plan's list; directory: for an unnamed temporary file."""
        self.user = become["user"]
        self.is_done = False
        self._words = become["command"]
        import tempfile  # few launches need it

        self.said = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # the output of the become program

    def command(self, interpreter):
        """Return the words of the command line; ValueError if a shell would change them."""
        for word in interpreter:
            if not _PLAIN.match(word):
                raise ValueError("the path of its interpreter %r can't be passed to become" % word)
        return [word.replace(becoming.INTERPRETER, " ".join(interpreter)) for word in self._words]

    @staticmethod
    def order(environment, boot, words):
        """Return what `becoming.PROGRAM` reads. words: what identifies its process in the list of processes."""
        order = {"environment": environment, "boot": boot, "words": words}
        data = json.dumps(order).encode("ascii")
        return b"%010d" % len(data) + data

    def heard(self, received):
        """Remove the sign of success from what was received; say whether it has arrived by now."""
        if received.startswith(becoming.SIGN):
            del received[: len(becoming.SIGN)]
            self.is_done = True
        return self.is_done

    def why_not(self):
        """Return why the template could not become the user, from what the program printed."""
        self.said.seek(0)
        lines = self.said.read(65536).decode("utf-8", "replace").split("\n")
        said = " ".join(line.strip() for line in lines if line.strip())[-_MOST_SAID:]
        return "becoming %s failed: %s" % (self.user, said or "the program for that printed nothing")

    def took_too_long(self):
        return "%s (no sign of it within %g seconds)" % (self.why_not(), PATIENCE)


def pids_file(directory, name):
    """Open the file where a template notes the pids of its jobs. Return [fd] for `send`, [] if that can't be done."""
    path = os.path.join(directory, output.PIDS + name)
    try:
        return [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)]
    except OSError:
        return []


def send(sock, data, fds):
    """Send `data` with open files; return how much of it was sent."""
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def close(fds):
    for fd in fds:
        os.close(fd)


def hand_over(frame, run, batch, token):
    """Open what a call needs, and say so in its frame. Return the file descriptors. OSError if that can't be done.

    run: the Folder for what it prints; batch: the one of the batch; token: what stands for its staged files in its params.
    """
    fds = []
    access = os.O_RDWR if "most" in frame else os.O_WRONLY
    try:
        for name in (os.path.basename(frame.pop(key)) for key in output.STREAMS):
            fds.append(os.open(name, access | _NEW, 0o600, dir_fd=run.fd))
        for name in map(os.path.basename, frame.get("copies", ())):
            fds.append(os.open(name, os.O_RDWR | _NEW, 0o600, dir_fd=run.fd))
        if token is not None and token in frame["params"]:
            frame.update(token=token, files=_staged(batch, frame["job"], frame["params"], fds))
    except (OSError, files.UnsafePath) as exc:
        close(fds)
        raise exc if isinstance(exc, OSError) else OSError(errno.EPERM, str(exc)) from exc
    return fds


_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def _staged(batch, index, params, fds):
    """Open those staged files of a job that its params name. Return [[name, mode], ...]."""
    found = []
    folder = batch.enter(staged.FOLDER).enter(str(index))
    for number in filter(str.isdigit, folder.names()):
        within = folder.enter(number)
        for base in within.names():
            name = "%s/%s" % (number, base)
            if json.dumps(name)[1:-1] in params or name in params:
                if len(fds) == _MOST_FILES:
                    raise OSError(errno.E2BIG, "too many files for one call as another user")
                fds.append(os.open(base, _READ, dir_fd=within.fd))
                found.append([name, stat.S_IMODE(os.fstat(fds[-1]).st_mode)])
    return found
