# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""The evaluator of a batch: imports ahead what scripts need, and forks a process for each job that has one.

It is a fork of the supervisor. On its socket it gets, for each job, one end of a socket pair, and the open folder of the
batch; the process that it forks for the job owns both, and holds all variables of the job. The frames on that socket pair:

  from the supervisor  {"op": "order", "script", "job", "index", "epoch", "nice"}, and then
                       begin, took (with the text of the result, "failed", "changed"), resume, stopped ("state"; with a
                       text): each is answered once;
                       began, abort ("fate", "why"), give_up and add_why ("why"): not answered
  to the supervisor    {"do": "hello", "pid"}; then the answers: call ("step", "call", "first"), wait ("until"), and the
                       last, end ("state", "failed", "changed"; with the text of the result) and report (with its text);
                       each also has what else the supervisor has to know: must_finish, said

SIGUSR1 announces an abort: it interrupts what is being evaluated.
"""

from __future__ import annotations

import array
import gc
import json
import os
import signal
import socket
import traceback

from ansible_collections.background.jobs.plugins.module_utils._late import archive, constants, templating
from ansible_collections.background.jobs.plugins.module_utils._late.executor import Executor, Interrupted
from ansible_collections.background.jobs.plugins.module_utils._protocol import frames, results, staged
from ansible_collections.background.jobs.plugins.module_utils._supervisor import spool
from ansible_collections.background.jobs.plugins.module_utils._supervisor.attempts import END, Wait
from ansible_collections.background.jobs.plugins.module_utils._system import files

_RECEIVE = 1 << 20
_WARM = "2.21"  # any version: the imports are the same


def serve(control, packed):
    """Be the evaluator, until the supervisor is gone. control: its end of the socket; packed: the archive of Jinja2.

    It has to be the leader of a process group, so that it can kill all it has forked when it ends.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if packed is not None:
        archive.provide(packed)
        templating.Engine(_WARM)
    gc.collect()
    gc.freeze()  # what exists now is shared by all jobs
    while True:
        data, ancillary, dummy, dummy = control.recvmsg(1, socket.CMSG_SPACE(2 * array.array("i").itemsize))
        if not data:
            os.killpg(0, signal.SIGKILL)
        for level, kind, fds in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                _fork(control, *array.array("i", fds))


def _fork(control, fd, batch):
    if os.fork():
        os.close(fd)
        os.close(batch)
        return
    status = 1
    try:
        control.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        Conversation(socket.socket(fileno=fd), files.Folder.opened(batch)).hold()
        status = 0
    finally:
        os._exit(status)  # the process of a job must never continue as the evaluator


def _be_nice(niceness):
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    except OSError:
        pass  # the calls of the job will report it


class Conversation:
    """The exchange of frames between the supervisor and the process of a job."""

    def __init__(self, sock, batch):
        self._sock, self._batch = sock, batch
        self._buffer = frames.Buffer()
        self._waiting = []
        self._executor = None

    def hold(self):
        """Answer frames until the job has ended, or nobody listens any more."""
        try:
            self._send({"do": "hello", "pid": os.getpid()})
            order = self._next()
            if order is not None:
                self._begin(order[0])
                while self._answer(*(self._next() or (None, None))):
                    pass
        except (BrokenPipeError, ConnectionResetError):
            pass  # the supervisor is gone, or has closed the socket
        except BaseException as exc:  # the supervisor has to learn the reason, whatever it is
            traceback.print_exc()
            self._send({"do": "broken", "why": "%s: %s" % (type(exc).__name__, exc)})

    def _begin(self, order):
        for path in order.get("groups", ()):
            with open(path, "w", encoding="ascii") as stream:
                stream.write(str(os.getpid()))
        if order.get("nice") is not None:
            _be_nice(order["nice"])
        script = order["script"]
        engine = templating.Engine(script["core"]) if script.get("archive") else constants.ConstantsOnly()

        def stage(name, data, mode):
            staged.put(self._batch, order["index"], name, data, mode)

        epoch, results_wait_in = order["epoch"], spool.Spool(self._batch.enter("run"), spool.name_of(order["index"]))
        self._executor = Executor(
            order["job"],
            script,
            engine,
            lambda now: round(epoch + now, 6),
            stage=stage,
            put=results_wait_in.put,
        )
        self._executor.look = self._look
        self._executor.signalled = True  # for frames that came before the signal was handled
        signal.signal(signal.SIGUSR1, self._interrupt)

    def _receive(self):
        data = self._sock.recv(_RECEIVE)
        self._waiting += self._buffer.add(data)
        return bool(data)

    def _next(self):
        """Return the next (frame, text), None if there will be no more."""
        while not self._waiting:
            if not self._receive():
                return None
        return self._waiting.pop(0)

    def _send(self, frame, text=None):
        self._sock.sendall(frames.pack(frame, None if text is None else len(text)))
        if text:
            self._sock.sendall(text)

    def _interrupt(self, number, frame):
        executor = self._executor
        executor.signalled = True
        if executor.interruptible:
            self._look()
            if executor.is_over_now:
                raise Interrupted

    def _look(self):
        """Read frames that came during an evaluation: these can only be about the end of the job."""
        self._executor.signalled = False
        self._sock.setblocking(False)
        try:
            while self._receive():
                pass
        except BlockingIOError:
            pass
        finally:
            self._sock.setblocking(True)
        while self._waiting:
            self._note(*self._waiting.pop(0))

    def _note(self, frame, text=None):
        """Handle a frame that needs no answer; return whether it was one."""
        executor, op = self._executor, frame["op"]
        if op == "began":
            executor.began(frame["now"])
        elif op == "abort":
            executor.abort(frame["fate"], frame["why"])
        elif op == "give_up":
            executor.give_up(frame["why"])
        elif op == "add_why":
            executor.add_why(frame["why"])
        else:
            return False
        return True

    def _answer(self, frame, text):
        """Answer a frame; return whether more are to be expected."""
        if frame is None:
            return False
        if self._note(frame):
            return True
        action = self._act(frame, text)
        about = {"must_finish": self._executor.must_finish, "said": self._executor.take_said()}
        if action is END:
            self._end(about)
            return False
        if isinstance(action, Wait):
            self._send(dict(about, do="wait", until=action.until))
        else:
            first = self._executor.is_first_call
            self._send(dict(about, do="call", step=action.step, call=action.call, first=first))
        return True

    def _act(self, frame, text):
        executor, op, now = self._executor, frame["op"], frame["now"]
        if op == "begin":
            return executor.begin(now)
        if op == "resume":
            return executor.resume(now)
        printed = text.decode("utf-8", "surrogateescape")
        outcome = results.Outcome(printed, json.loads(printed), frame["failed"], frame["changed"])
        return executor.took(outcome, now) if op == "took" else executor.stopped(frame["state"], outcome, now)

    def _end(self, about):
        outcome = self._executor.outcome()
        ended = dict(about, do="end", state=self._executor.state, failed=outcome.failed, changed=outcome.changed)
        self._send(ended, outcome.text.encode("utf-8", "surrogateescape"))
        report = bytearray()
        for piece in self._executor.report():
            report += piece.encode("utf-8", "surrogateescape")
        self._send({"do": "report"}, report)
