# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The supervisor's side of its template processes and zygotes (the other side: _fork_server/main.py)."""

from __future__ import annotations

import functools
import json
import os
import re

from ansible_collections.background.jobs.plugins.module_utils._protocol import frames
from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_frames, fork_process, other_user

TemplateGone = fork_frames.TemplateGone

# What an interpreter or the C library reads only when it starts: in the forked process of a job that is too late.
_READ_AT_START = re.compile(r"(PYTHON|LD_|LC_|MALLOC_|GLIBC_)|(LANG|LANGUAGE|VIRTUAL_ENV|PATH)\Z")


def start_environment(environment):
    """Return the part of a job's environment that has to be there when its interpreter starts."""
    return {key: value for key, value in environment.items() if _READ_AT_START.match(key)}


def program(sources, compiled=None):
    """Return what a template process is sent first of all; sources: {"loader": text, "parts": {name: text}}.

    compiled: the path of a file that may have the parts compiled (code_file.py).
    """
    order = {"parts": sources["parts"], "compiled": compiled}
    return _sized(sources["loader"].encode("utf-8")) + _sized(json.dumps(order).encode("ascii"))


def interpreter(payload):
    """Return the words of a payload's interpreter, with `~` expanded as by a shell."""
    return [os.path.expanduser(word) for word in payload["interpreter"]]


class NotForked(Exception):
    """The zygote made no fork, or none that can use the payload: the template has to start by itself."""


class _Hold:
    """The connection to a process. Nothing here blocks, except `reap`.

    What can't be sent at once stays `unsent`, until `flush` is called when the socket is writable.
    """

    def __init__(self):
        self.jobs = set()
        self.is_open = True
        self.end = None  # what is on the other end: an Interpreter, or a Forked
        self._queue = fork_frames.Queue()
        self._held = fork_frames.Queue()  # what to send once it is ready
        self._frames = None

    def _use(self, end, *pieces):
        """Speak to `end` from now on. pieces: (bytes, file descriptors) to send first, before what was held back."""
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
        """Seconds that it may take to become ready, None once it is."""
        return self.end.patience

    @property
    def unsent(self):
        """Whether there is something to `flush`."""
        return bool(self._queue)

    def send(self, frame, fds=()):
        """Send a frame, now or by later calls of `flush`. TemplateGone if the process takes no more.

        fds: file descriptors to send along; they are closed here.
        """
        queue = self._queue if self.patience is None else self._held
        queue.add(frames.pack(dict(frame, fds=len(fds)) if fds else frame), fds)
        self._send_some()

    def flush(self):
        """Send as much as it takes at the moment."""
        try:
            self._send_some()
        except TemplateGone:
            pass  # `receive` reports that, after the last frames

    def _send_some(self):
        try:
            self._queue.send(self.end.sock)
        except OSError as exc:
            self._queue.forget()
            if self.patience is None:
                raise TemplateGone(str(exc)) from exc

    def receive(self):
        """Return the frames that have arrived. TemplateGone if the process has ended, NotForked if it was never forked."""
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
        """Check whether it has reported that it is ready."""
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
        """Let the process end; call `has_ended` or `reap` afterwards."""
        self.is_open = False
        self._queue.forget()
        self._held.forget()
        self.end.close()

    def has_ended(self):
        """Say whether the process is gone."""
        return self.end.has_ended()

    def reap(self, patience):
        """Wait at most `patience` seconds for the closed process to end, then kill it."""
        self.end.reap(patience)


class Template(_Hold):
    """One template process: started at once, fed jobs, ended by `close`."""

    def __init__(self, payload, environment, directory, label, sent, *, becoming=None, zygote=None):
        """payload: see the plan; environment: a pair, the supervisor's and what is added to it for its interpreter;
        sent: see `program`; becoming: how to become another user, see other_user.py; zygote: the Zygote to fork it, if any.
        """
        super().__init__()
        self.is_foreign = becoming is not None
        self._first = dict(payload, directory=directory, interpreter=interpreter(payload))
        self._sent = sent
        # only a module that runs in forks of the template needs its own interpreter
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
        """Start a process of its own and send it all that is not sent yet. OSError, ValueError if that can't be done.

        leave: called before this object switches to the new process.
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
        """Return the (bytes, file descriptors) that hand over the payload. name: unique among the templates of this user."""
        if not self.is_foreign:
            return frames.pack(self._first), ()
        pids = other_user.pids_file(self._first["directory"], name)
        return frames.pack(dict(self._first, directory=None, fds=len(pids))), pids

    def signal(self, call, process, number):
        """Have the template, which runs as its user, send a signal to a process of a call; say whether it could be asked."""
        try:
            self.send({"signal": number, "call": call, "processes": [[process.pid, process.start]]})
        except TemplateGone:
            return False
        return True


class Zygote(_Hold):
    """A process that has imported what payloads have in common, and forks templates (see _fork_server/zygote.py)."""

    def __init__(self, payload, environment, directory, label, sent, *, becoming=None):
        """payload: the one that it imports from; the others: as for a Template."""
        super().__init__()
        words = ["background.jobs", "zygote", label]
        end = fork_process.Interpreter(interpreter(payload), environment, words, directory, becoming)
        self._forks = 0
        first = [(end.order, ())] if end.becoming else []
        self._use(end, *first, (sent, ()), (frames.pack({"zygote": payload}), ()))

    def next_name(self):
        """Return a name that no other template of this user has."""
        self._forks += 1
        return "%d.%d" % (self.end.pid, self._forks)


def _sized(data):
    return b"%010d" % len(data) + data


def _this_python():
    return os.path.realpath("/proc/self/exe") if os.path.exists("/proc/self/exe") else "python3"
