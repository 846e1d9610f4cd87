# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""One attempt at a job: which call the supervisor makes next, and the outcome of them all. No clock, no I/O."""

from __future__ import annotations

import json
from collections import namedtuple

from ansible_collections.background.jobs.plugins.module_utils._protocol import defaults, results, states
from ansible_collections.background.jobs.plugins.module_utils._supervisor import block_walk, recipes, scheduler

# What the supervisor has to do next. Call: make one of the `calls` of a step.
Call = namedtuple("Call", "step call")
# Wait: call `resume` at this time.
Wait = namedtuple("Wait", "until")
# END: nothing, the attempt has ended.
END = None
_ROOM = results.READ_LIMIT // 4 * 3  # bytes for the report on the tasks of a job


class Attempt:
    """Goes through the tasks of a job and keeps the result of each."""

    def __init__(self, job, put=lambda text: lambda: text):
        """put: keeps the text of a task's result until the end, and returns a function that returns it."""
        self._job = job
        self._put = put
        self._course = block_walk.Course(job["body"])
        self._recipe = None
        self._tries = 0  # of the step
        self._step_started = None
        self._waiting = None  # the (state, Outcome) of a step that waits to be tried again
        self._given_up = False
        self.is_first_call = True  # of this try of the step
        self._last = None  # the Outcome of the last step that ran, or of the one that was stopped
        self._failures = {}  # id of a step that failed: (its Outcome, its index in entries)
        self.entries = []  # the report on each step
        self._room = _ROOM
        self.fate = None  # the state that it has to end in, if that was decided from outside
        self._why = None

    # the way through

    @property
    def step(self):
        return self._course.step

    @property
    def is_block(self):
        """Whether the job is more than one task, so that each of them is reported."""
        body = self._job["body"]
        return len(body) != 1 or "block" in body[0]

    @property
    def must_finish(self):
        """Whether the current step belongs to an `always` section, which is not stopped with the rest."""
        return self._course.step is not None and self._course.must_finish and not self._given_up

    def begin(self, now):
        """Return the first action."""
        return self._enter(self._course.next(), now)

    def began(self, now):
        """Note that the process of a call has started: with the first one, the time of the step begins."""
        if self.is_first_call and self._tries == 1:
            self._step_started = now

    def resume(self, now):
        """Return the next action after a Wait that is over or was cut short."""
        state, outcome = self._waiting
        if self._is_over:
            return self._conclude(state, outcome, now)
        return self._call_first(now)

    def took(self, outcome, now):
        """Return the next action after a call that gave `outcome`."""
        if self._recipe is not None:
            self.is_first_call = False
            try:
                return Call(self.step, self.step["calls"][self._recipe.send(outcome.result)])
            except StopIteration as end:
                outcome = results.of(end.value)
        return self._step_ended(states.FAILED if outcome.failed else states.SUCCEEDED, outcome, now)

    def stopped(self, state, outcome, now):
        """Return the next action after a call was stopped, so that its step ends in `state`."""
        return self._step_ended(state, outcome, now)

    def abort(self, fate, why):
        """End the job in the state `fate`: only its `always` sections still run.

        Return whether the current step has to be stopped.
        """
        self.fate, self._why = fate, why
        self._course.abort()
        return not self.must_finish

    def give_up(self, why):
        """Skip even the `always` sections; `why` is appended to the reason for the end."""
        self._why += why
        self._given_up = True
        self._course.give_up()

    def add_why(self, text):
        """Append to the reason why the job was ended."""
        self._why += text

    @property
    def _is_over(self):
        return self.fate is not None and not self.must_finish

    def _enter(self, step, now):
        while step is not None and step.get("skip"):
            self.entries.append(
                {
                    "name": step["name"],
                    "module": step["module"],
                    "section": self._course.section,
                    "state": states.SKIPPED,
                    "changed": False,
                    "msg": step["skip"],
                    "result": results.skipped(step["skip"]).result,
                }
            )
            if "item" in step:
                self.entries[-1]["item"] = step["item"]
            step = self._course.next()
        if step is None:
            return END
        self._tries = 0
        self._step_started = now
        return self._call_first(now)

    def _call_first(self, now):
        self._tries += 1
        self.is_first_call = True
        if self.step.get("recipe"):
            self._recipe = recipes.begin(self.step["recipe"])
            try:
                return Call(self.step, self.step["calls"][next(self._recipe)])
            except StopIteration as end:
                outcome = results.of(end.value)
                return self._step_ended(states.FAILED if outcome.failed else states.SUCCEEDED, outcome, now)
        return Call(self.step, self.step["calls"][0])

    def _step_ended(self, state, outcome, now):
        step = self.step
        if self._recipe is not None:
            self._recipe.close()
            self._recipe = None
        if step.get("no_log") or self._job["no_log"]:
            outcome = results.censor(outcome)
        again = self._tries <= step.get("retries", 0) and state in (states.FAILED, states.TIMED_OUT)
        if again and not self._is_over:
            self._waiting = (state, outcome)
            delay, backoff = step.get("delay", defaults.DELAY), step.get("backoff", defaults.BACKOFF)
            return Wait(now + scheduler.pause(delay, backoff, self._tries))
        return self._conclude(state, outcome, now)

    def _conclude(self, state, outcome, now):
        succeeded = state == states.SUCCEEDED
        ignored = not succeeded and not self._is_over and self.step.get("ignore_errors", False)
        self._report(state, outcome, now, ignored)
        if self.fate is None or not self.must_finish or self._last is None:
            self._last = outcome
        if not succeeded and not ignored:
            self._failures[id(self.step)] = (outcome, len(self.entries) - 1)
        return self._leave(succeeded or ignored, now)

    def _leave(self, succeeded, now):
        return self._enter(self._course.next(succeeded), now)

    def _report(self, state, outcome, now, ignored):
        step = self.step
        room = self._room - results.size_in_text(outcome)
        if room < 0:
            outcome = results.left_out(outcome)
        else:
            self._room = room
        entry = {
            "name": step["name"],
            "module": step["module"],
            "section": self._course.section,
            "state": state,
            "started_at": self._step_started,
            "ended_at": now,
            "attempts": self._tries,
            "changed": outcome.changed,
        }
        if self.is_block:
            entry["result"] = self._put(outcome.text)
        if "item" in step:
            entry["item"] = step["item"]
        if ignored:
            entry["ignored"] = True
        self.entries.append(entry)

    # the outcome

    @property
    def state(self):
        """The state that the attempt ends in."""
        return self.fate or (states.FAILED if self._course.failed else states.SUCCEEDED)

    def outcome(self):
        """Return the Outcome of the job."""
        if self.fate is not None:
            result = self._last.result if self._last is not None else {"changed": False}
            return results.of(dict(result, failed=True, msg=self._why))
        if self._course.failed:
            return self._failures[id(self._course.culprit)][0]
        if self._last is None:
            return results.of(self.entries[-1]["result"]) if self.entries else results.skipped("it has no tasks")
        if self._last.failed:  # a failure that was ignored
            return results.of(dict(self._last.result, failed=False))
        return self._last

    def report(self, wall):
        """Return the JSON text of the report on each task, None for a job of one task. wall(time): seconds since 1970."""
        if not self.is_block:
            return None
        told = {"rescued": self.state == states.SUCCEEDED and self._course.rescued}
        if self.state == states.FAILED:
            told["culprit"] = self._failures[id(self._course.culprit)][1]
        parts = []
        for entry in self.entries:
            entry = dict(entry)
            result = entry.pop("result")
            if "ended_at" in entry:
                entry.update(
                    started_at=wall(entry["started_at"]),
                    ended_at=wall(entry["ended_at"]),
                    duration=round(entry["ended_at"] - entry["started_at"], 6),
                )
            # as text, so that it stays as the module printed it
            entry["result"] = result() if callable(result) else json.dumps(result)
            parts.append(entry)
        told["results"] = parts
        return results.text_of(told)
