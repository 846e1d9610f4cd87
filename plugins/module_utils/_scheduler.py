# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What the supervisor of a batch decides: who starts, who has run too long, who is skipped. No clock, no I/O.

Times are seconds of any clock that only goes forward; the caller hands in `now`.
"""

from __future__ import annotations

import heapq
from collections import deque, namedtuple

from ansible_collections.background.jobs.plugins.module_utils import _states

# What the scheduler has to know of a job. timeout: seconds, 0 for none; depends_on: indexes of other jobs;
# skip: it never runs.
Job = namedtuple("Job", "name timeout depends_on skip")

# A stop that was decided: the state that the job will end in, and when whatever is left of it is killed.
_Stop = namedtuple("_Stop", "state kill_at")

KILL_AGAIN_AFTER = 1.0
START_PATIENCE = 60.0  # beyond its timeout, that a job may take until it has a process: its module is read in first


class Scheduler:
    """The jobs of a batch as a graph, and a window of at most `concurrency` (0: any number) that run."""

    def __init__(self, jobs, concurrency=0, grace=10.0):
        self._jobs = list(jobs)
        self._concurrency = concurrency
        self._grace = grace
        self.states = [_states.SKIPPED if job.skip else _states.QUEUED for job in self._jobs]
        self._waits_for = [set(job.depends_on) for job in self._jobs]
        self._dependants = [[] for dummy in self._jobs]
        for index, job in enumerate(self._jobs):
            for other in job.depends_on:
                self._dependants[other].append(index)
        self._ready = deque(index for index, job in enumerate(self._jobs) if not job.skip and not job.depends_on)
        self._running = set()
        self._deadlines = []  # heap of (time, index); those that `_limits` knows otherwise are out of date
        self._limits = {}  # index: time
        self._stops = {}  # index: _Stop
        self._unfinished = sum(state not in _states.TERMINAL for state in self.states)

    @property
    def done(self):
        """Whether every job is in a terminal state."""
        return self._unfinished == 0

    @property
    def running(self):
        """The indexes of the jobs that run."""
        return frozenset(self._running)

    def _take(self, index, state):
        self.states[index] = _states.advance(self.states[index], state)
        if state in _states.TERMINAL:
            self._unfinished -= 1

    def start(self, now):
        """Return the index of a job to start, which counts as running from now on, or None."""
        if self._concurrency and len(self._running) >= self._concurrency:
            return None
        while self._ready:
            index = self._ready.popleft()
            if self.states[index] == _states.QUEUED:  # it may have been cancelled while it stood in the queue
                self._take(index, _states.RUNNING)
                self._running.add(index)
                self._limit(index, now + START_PATIENCE)
                return index
        return None

    def began(self, index, now):
        """Take note that the process of a job is there: its time counts from now on."""
        if index in self._running:
            self._limit(index, now)

    def _limit(self, index, since):
        if self._jobs[index].timeout:
            self._limits[index] = since + self._jobs[index].timeout
            heapq.heappush(self._deadlines, (self._limits[index], index))

    def _counts(self, due, index):
        return due == self._limits.get(index) and index in self._running and index not in self._stops

    def expire(self, now):
        """Return the indexes of the running jobs whose timeout has passed; they are to be stopped."""
        found = []
        while self._deadlines and self._deadlines[0][0] <= now:
            due, index = heapq.heappop(self._deadlines)
            if self._counts(due, index):
                self._stops[index] = _Stop(_states.TIMED_OUT, now + self._grace)
                found.append(index)
        return found

    def cancel(self, index, now, grace=None):
        """Cancel a job. True: it runs, and is to be stopped; False: nothing is to be done."""
        if self.states[index] == _states.QUEUED:
            self._take(index, _states.CANCELLED)
            return False
        if index not in self._running or index in self._stops:
            return False
        self._stops[index] = _Stop(_states.CANCELLED, now + (self._grace if grace is None else grace))
        return True

    def kill(self, now):
        """Return the indexes of the jobs that were asked to stop, had their time, and are still there."""
        found = [index for index, stop in self._stops.items() if stop.kill_at <= now]
        for index in found:
            self._stops[index] = self._stops[index]._replace(kill_at=now + KILL_AGAIN_AFTER)
        return found

    @property
    def stops(self):
        """The indexes of the running jobs that were told to end."""
        return tuple(self._stops)

    def stopping(self, index):
        """Return the state that a job which is being stopped will end in, or None."""
        return self._stops[index].state if index in self._stops else None

    def ended(self, index, state):
        """Take note that a running job has ended in `state`; return the state that counts."""
        if index in self._stops:
            state = self._stops.pop(index).state
        self._running.discard(index)
        self._take(index, state)
        return state

    def settle(self, index):
        """Follow the edges from a job that is in a terminal state. Return [(index, reason)] of those now skipped."""
        skipped, todo = [], [index]
        while todo:
            done = todo.pop()
            succeeded = self.states[done] == _states.SUCCEEDED
            for dependant in self._dependants[done]:
                if self.states[dependant] != _states.QUEUED:
                    continue
                self._waits_for[dependant].discard(done)
                if not succeeded:
                    self._take(dependant, _states.SKIPPED)
                    skipped.append(
                        (dependant, "depends on %s, which is %s" % (self._jobs[done].name, self.states[done]))
                    )
                    todo.append(dependant)
                elif not self._waits_for[dependant]:
                    self._ready.append(dependant)
        return skipped

    def next_due(self, now):
        """Return in how many seconds something is due, or None where only events can change anything."""
        times = [stop.kill_at for stop in self._stops.values()]
        while self._deadlines and not self._counts(*self._deadlines[0]):
            heapq.heappop(self._deadlines)
        if self._deadlines:
            times.append(self._deadlines[0][0])
        return max(0.0, min(times) - now) if times else None
