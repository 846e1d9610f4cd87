# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""An attempt at a job with a script: an Attempt to the supervisor, but its next action comes later, as an event.

It comes from the process that the evaluator forks for the job; for the frames see _late/server.py.
"""

from __future__ import annotations

import json
import signal
import socket
from collections import deque

from ansible_collections.background.jobs.plugins.module_utils._protocol import frames, results, states
from ansible_collections.background.jobs.plugins.module_utils._supervisor.attempts import END, Call, Wait
from ansible_collections.background.jobs.plugins.module_utils._system import processes

# The next action is not known yet: an event will bring it.
PENDING = "pending"

_RECEIVE = 1 << 20
_GONE = "the process that evaluates its tasks ended"


class ScriptAttempt:
    """Has a process of its own, until it ends."""

    def __init__(self, index, job, evaluator, *, watch, unwatch):
        """watch(attempt, writing), unwatch(attempt): called when there is one to listen to, and when it is gone."""
        self.index = index
        self._job = job
        self._evaluator = evaluator
        self._watch, self._unwatch = watch, unwatch
        self._sock = None
        self._process = None  # that of the job
        self._unsent = deque()
        self._buffer = frames.Buffer()
        self._writing = False  # whether there is more to send than the socket takes
        self._pending = False  # whether an answer is due
        self._asked_at = None
        self._must_finish, self._given_up = False, False
        self._why = ""
        self._ended = None  # (state, Outcome)
        self._report = None
        self.is_block = True  # its tasks are reported one by one
        self.is_first_call = True
        self.step = None
        self.fate = None

    def fileno(self):
        return self._sock.fileno()

    @property
    def must_finish(self):
        """Whether the current step belongs to an `always` section, which is not stopped with the rest."""
        return self._must_finish and not self._given_up

    # ---- what the supervisor says

    def begin(self, now, about, batch):
        """Start its process and the job. about: what that has to know, besides the script; batch: the Folder of the batch."""
        self._sock, theirs = socket.socketpair()
        self._sock.setblocking(False)
        self._watch(self, False)
        try:
            self._evaluator.hand_over(theirs, batch)
        except OSError as exc:
            return self.lose("cannot start it: %s" % exc)
        finally:
            theirs.close()
        script = self._job["script"]
        if not self._job.get("retries"):
            self._job["script"] = None  # secrets stay in memory no longer than they are needed
        self._send(dict(about, op="order", script=script))
        return self._ask({"op": "begin", "now": now})

    def began(self, now):
        self._send({"op": "began", "now": now})

    def resume(self, now):
        return self._ask({"op": "resume", "now": now})

    def took(self, outcome, now):
        return self._tell({"op": "took", "now": now}, outcome)

    def stopped(self, state, outcome, now):
        return self._tell({"op": "stopped", "state": state, "now": now}, outcome)

    def abort(self, fate, why):
        """End the job in the state `fate`. Return whether the current step has to be stopped."""
        self.fate, self._why = fate, why
        self._send({"op": "abort", "fate": fate, "why": why})
        self._interrupt()
        return not self.must_finish

    def give_up(self, why):
        self._why += why
        self._given_up = True
        self._send({"op": "give_up", "why": why})
        self._interrupt()

    def add_why(self, text):
        self._why += text
        self._send({"op": "add_why", "why": text})

    def _ask(self, frame, text=None):
        """Send a frame that will be answered, unless an answer is due already or there will be none."""
        if self._sock is None:
            return END
        if not self._pending and self._ended is None:
            self._pending, self._asked_at = True, frame["now"]
            self._send(frame, text)
        return PENDING

    def _tell(self, frame, outcome):
        frame.update(failed=outcome.failed, changed=outcome.changed)
        return self._ask(frame, outcome.text.encode("utf-8", "surrogateescape"))

    def _send(self, frame, text=None):
        if self._sock is None or self._ended is not None:
            return
        self._unsent.append(frames.pack(frame, None if text is None else len(text)))
        if text:
            self._unsent.append(text)
        self._flush()

    def _flush(self):
        """Send what can be sent without waiting."""
        try:
            while self._unsent:
                data = self._unsent[0]
                sent = self._sock.send(data)
                if sent == len(data):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = memoryview(data)[sent:]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # `hear` will find the end of file
        if self._writing != bool(self._unsent):
            self._writing = bool(self._unsent)
            self._watch(self, self._writing)

    def _interrupt(self):
        """Interrupt what its process is working out."""
        if self._pending and self._process is not None:
            processes.send(self._process, signal.SIGUSR1)

    # ---- what the process of the job says

    def hear(self):
        """Read what has arrived. Return what has to be done about it, in order: ("hello", None), ("said", text),
        ("next", action)."""
        if self._unsent:
            self._flush()
        try:
            data = self._sock.recv(_RECEIVE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            return [("next", self.lose("lost: %s before the job had ended" % _GONE))]
        heard = []
        for frame, text in self._buffer.add(data):
            heard += self._heard(frame, text)
        return heard

    def _heard(self, frame, text):
        what = frame["do"]
        if what == "hello":
            self._process = processes.look(frame["pid"])
            return [("hello", None)]
        if what == "broken":
            return [("next", self.lose("lost: %s: %s" % (_GONE, frame["why"])))]
        if what == "report":
            self._report = text
            self._close()
            return [("next", END)]
        said = [("said", frame["said"])] if frame["said"] else []
        self._must_finish = frame["must_finish"]
        if what == "end":
            printed = text.decode("utf-8", "surrogateescape")
            outcome = results.Outcome(printed, json.loads(printed), frame["failed"], frame["changed"])
            self._ended = frame["state"], outcome
            return said
        self._pending = False
        return [*said, ("next", self._action(what, frame))]

    def _action(self, what, frame):
        if what == "wait":
            action = Wait(frame["until"])
        else:
            self.step, self.is_first_call = frame["step"], frame["first"]
            action = Call(frame["step"], frame["call"])
        if self.fate is not None and not self.must_finish:
            # it was asked for before the job was told to end
            return self.stopped(self.fate, results.failure(self._why), self._asked_at)
        return action

    def lose(self, why):
        """Regard the job as ended, because its process does not answer any more."""
        if self._ended is None:
            if self.fate is None:
                self.fate, self._why = states.LOST, why
            self._ended = self.fate, results.failure(self._why)
            if self._process is not None:
                processes.send(self._process, signal.SIGKILL)
            self._close()
        return END

    def kill(self):
        """Kill its process, which does not say what is next. Return the next action."""
        self._why += "; it was killed while it evaluated what comes next"
        return self.lose(self._why)

    def _close(self):
        if self._sock is not None:
            self._unwatch(self)
            self._sock.close()
            self._sock = None
        self._unsent.clear()

    # ---- the outcome

    @property
    def state(self):
        return self._ended[0]

    def outcome(self):
        return self._ended[1]

    def report(self, wall):
        return self._report
