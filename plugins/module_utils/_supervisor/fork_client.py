# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The supervisor's hold on its template processes and zygotes (what they do: _fork_server/main.py)."""

from __future__ import annotations

import functools
import json
import os
import re

from ansible_collections.background.jobs.plugins.module_utils._protocol import frames
from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_frames, fork_process, other_user

TemplateGone = fork_frames.TemplateGone

# What an interpreter or the C library reads when it starts: set later, in the process of a job, it would come too late.
_READ_AT_START = re.compile(r"(PYTHON|LD_|LC_|MALLOC_|GLIBC_)|(LANG|LANGUAGE|VIRTUAL_ENV|PATH)\Z")


def start_environment(environment):
    """Return the part of a job's environment that has to be there when its interpreter starts."""
    return {key: value for key, value in environment.items() if _READ_AT_START.match(key)}


def program(sources):
    """Return what a template process is sent first of all; sources: {"loader": text, "parts": {name: text}}."""
    return _sized(sources["loader"].encode("utf-8")) + _sized(json.dumps(sources["parts"]).encode("ascii"))


def interpreter(payload):
    """Return the words of a payload's interpreter, with the home directory that a shell would have put for `~`."""
    return [os.path.expanduser(word) for word in payload["interpreter"]]


class NotForked(Exception):
    """There is no fork of the zygote, or none that the payload can be used in: the template has to start by itself."""


class _Hold:
    """What is said to a process, and what it says. Nothing ever waits for it, but for `reap`.

    What it does not take at once stays `unsent`, for `flush` to send when it can be written to.
    """

    def __init__(self):
        self.jobs = set()
        self.is_open = True
        self.end = None  # what is on the other end: an Interpreter, or a Forked
        self._queue = fork_frames.Queue()
        self._held = fork_frames.Queue()  # what it is sent when it is ready
        self._frames = None

    def _use(self, end, *pieces):
        """Speak to `end`, first of all so many (bytes, file descriptors); then comes what was held back."""
        self.end = end
        self._queue.forget()
        self._frames = fork_frames.Frames()
        first = self._queue if end.takes_all else fork_frames.Queue()
        for data, fds in pieces:
            first.add(data, fds)
        if self.patience is None:
            self._held.move_to(first)
        elif not end.takes_all:
            self._held.move_to(first)
            self._held = first

    def fileno(self):
        return self.end.sock.fileno()

    @property
    def patience(self):
        """Seconds that it may take to be ready, None where it is."""
        return self.end.patience

    @property
    def unsent(self):
        """Whether there is something to `flush`."""
        return bool(self._queue)

    def send(self, frame, fds=()):
        """Hand over a frame, now or by later calls of `flush`. TemplateGone where it takes no more.

        fds: file descriptors that go with it, and are closed here.
        """
        queue = self._queue if self.patience is None else self._held
        queue.add(frames.pack(dict(frame, fds=len(fds)) if fds else frame), fds)
        self._send_some()

    def flush(self):
        """Send as much as it takes at the moment."""
        try:
            self._send_some()
        except TemplateGone:
            pass  # `receive` tells in a moment, after what it has still said

    def _send_some(self):
        try:
            self._queue.send(self.end.sock)
        except OSError as exc:
            self._queue.forget()
            if self.patience is None:
                raise TemplateGone(str(exc)) from exc

    def receive(self):
        """Return the frames that have come. TemplateGone where it has ended, NotForked where it never was."""
        try:
            why = None if self._frames.receive(self.end.sock) else self.end.why_gone()
        except OSError as exc:
            why = str(exc)
        if why is not None:
            raise NotForked if self._is_awaited else TemplateGone(why)
        if self.patience is not None:
            self._listen()
        return [] if self.patience is not None else self._frames.take()

    @property
    def _is_awaited(self):
        return self.patience is not None and isinstance(self.end, fork_process.Forked)

    def _listen(self):
        """Hear whether it is ready."""
        if self._is_awaited:
            frame = self._frames.take_one()
            if frame is None:
                return
            if not self.end.is_there(frame):
                raise NotForked
        elif not self.end.becoming.heard(self._frames.received):
            return
        self._held.move_to(self._queue)
        self.flush()

    def close(self):
        """Let the process end; it is to be asked whether it `has_ended`, or to be reaped."""
        self.is_open = False
        self._queue.forget()
        self._held.forget()
        self.end.close()

    def has_ended(self):
        """Say whether the process is gone."""
        return self.end.has_ended()

    def reap(self, patience):
        """Wait at most `patience` seconds for the end of what was closed, then kill it."""
        self.end.reap(patience)


class Template(_Hold):
    """One template process: started at once, fed jobs, ended by `close`."""

    def __init__(self, payload, environment, directory, label, sent, *, becoming=None, zygote=None):
        """payload: see the plan; environment: a pair, that of the supervisor and what its interpreter starts with besides;
        sent: see `program`; becoming: how another user is become, see other_user.py; zygote: the Zygote to fork it, if any.
        """
        super().__init__()
        self.is_foreign = becoming is not None
        self._first = dict(payload, directory=directory, interpreter=interpreter(payload))
        self._sent = sent
        # only what is to be forked has to be loaded by the module's own interpreter
        command = self._first["interpreter"] if payload["style"] == "ansiballz" else [_this_python()]
        words = ["background.jobs", "template", label]
        self._own_process = functools.partial(
            fork_process.Interpreter, command, environment, words, directory, becoming
        )
        if zygote is None:
            self.start_alone()
        else:
            self._use(fork_process.Forked(zygote, label), self._payload(zygote.next_name()))

    def start_alone(self, leave=lambda: None):
        """Have a process of its own started, and given all that it was not given yet. OSError, ValueError where that can't be.

        leave: called before this stands for another process.
        """
        end = self._own_process()
        leave()
        if self.end is not None:
            self.end.sock.close()
        first = [(end.order, ())] if end.becoming else []
        self._use(end, *first, (self._sent, ()), self._payload(str(end.pid)))

    def is_awaited_from(self, zygote):
        """Say whether the zygote has yet to fork it."""
        return self._is_awaited and self.end.zygote is zygote

    def _payload(self, name):
        """Return the piece that the payload is sent as. name: what no other template of this user has."""
        if not self.is_foreign:
            return frames.pack(self._first), ()
        pids = other_user.pids_file(self._first["directory"], name)
        return frames.pack(dict(self._first, directory=None, fds=len(pids))), pids

    def signal(self, call, process, number):
        """Have a process of a call be sent a signal by the template, which is of its user; say whether it was told to."""
        try:
            self.send({"signal": number, "call": call, "processes": [[process.pid, process.start]]})
        except TemplateGone:
            return False
        return True


class Zygote(_Hold):
    """A process that has imported what payloads have in common, and forks templates (see _fork_server/zygote.py)."""

    def __init__(self, payload, environment, directory, label, sent, *, becoming=None):
        """payload: the one that it imports from; the others: as of a Template."""
        super().__init__()
        words = ["background.jobs", "zygote", label]
        end = fork_process.Interpreter(interpreter(payload), environment, words, directory, becoming)
        self._forks = 0
        first = [(end.order, ())] if end.becoming else []
        self._use(end, *first, (sent, ()), (frames.pack({"zygote": payload}), ()))

    def next_name(self):
        """Return what no other template of this user is named."""
        self._forks += 1
        return "%d.%d" % (self.end.pid, self._forks)


def _sized(data):
    return b"%010d" % len(data) + data


def _this_python():
    return os.path.realpath("/proc/self/exe") if os.path.exists("/proc/self/exe") else "python3"
