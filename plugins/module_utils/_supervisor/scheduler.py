# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What the supervisor of a batch decides: which jobs start, have run too long, are tried again, or are skipped.

No clock, no I/O. Times are seconds of any clock that only goes forward; the caller hands in `now`.
"""

from __future__ import annotations

import itertools
from collections import namedtuple

from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.module_utils._supervisor import lines, timers

SUCCESS, FAILURE, ALWAYS = "success", "failure", "always"

# What the scheduler has to know of a job. timeout: seconds, 0 for none; depends_on: indexes of other jobs; skip: it never
# runs; run_when: how those jobs must have ended; retries: how often it is tried again, after `delay` seconds, each time
# `backoff` times as many; ignore_errors: its failure counts as none; pool: the one that it needs a place in.
Job = namedtuple(
    "Job",
    "name timeout depends_on skip run_when retries delay backoff ignore_errors pool",
    defaults=((), False, SUCCESS, 0, 5.0, 1.0, False, None),
)

# What delays further starts: seconds between two of them, bytes that must be free, a load that must not be reached; 0 for
# no such limit.
Holds = namedtuple("Holds", "start_delay min_free_memory max_load", defaults=(0.0, 0, 0.0))

NO_HOLDS = Holds()
LOOK_AGAIN = 1.0  # seconds between looks at memory and load, while they hold a start
START_PATIENCE = 60.0  # seconds beyond its timeout for a job to get a process: its module is loaded first
MOST_DELAY = 86400.0  # seconds between two attempts, whatever the factor


def pause(delay, backoff, attempt):
    """Return how many seconds there are between an attempt (the first is 1) and the next."""
    try:
        return min(delay * backoff ** (attempt - 1), MOST_DELAY)
    except OverflowError:
        return MOST_DELAY


class Scheduler:
    """The jobs of a batch as a graph, and a window of at most `concurrency` (0: any number) that run.

    max_failures: percent of the jobs that may fail before no more are started; None for any number. look: called if
    `holds` needs it, returns (bytes of free memory, load average). places: the places.Places of the pools that jobs need;
    now: when the batch arrived.
    """

    def __init__(self, jobs, concurrency=0, max_failures=None, holds=NO_HOLDS, look=None, *, places=None, now=0.0):
        self._jobs = list(jobs)
        self._concurrency = concurrency
        self._max_failures = max_failures
        self._holds = holds
        self._look = look
        self._places = places
        self._now = now
        self._next_start = None  # when start_delay lets the next job start
        self._beginning = None  # the last job that start_delay let start, until it has a process
        self._held_until = None  # when there is a point in trying again to start what is held
        self.states = [states.SKIPPED if job.skip else states.QUEUED for job in self._jobs]
        self.attempts = [0] * len(self._jobs)
        self._waits_for = [set(job.depends_on) for job in self._jobs]
        self._dependants = [[] for dummy in self._jobs]
        for index, job in enumerate(self._jobs):
            for other in job.depends_on:
                self._dependants[other].append(index)
        self._order = itertools.count()
        self._lines = {pool: lines.Line() for pool in (None, *sorted({job.pool for job in self._jobs if job.pool}))}
        self._shut = set()  # the pools that have no place for this batch until something changes
        self._newly_in_line = []  # indexes of those that wait for a place since the last `newly_in_line`
        for index, job in enumerate(self._jobs):
            if not job.skip and not job.depends_on:
                self._line_up(index)
        self._running = set()
        self._limits = timers.Timers()
        self._again = timers.Timers()
        self._troubled = set()  # those skipped because something before them went wrong
        self._failures = 0
        self._total = self._unfinished = sum(state not in states.TERMINAL for state in self.states)
        self.halted = None  # why no more jobs start

    @property
    def done(self):
        """Whether every job is in a terminal state."""
        return self._unfinished == 0

    @property
    def running(self):
        """The indexes of the jobs that run."""
        return frozenset(self._running)

    def _line_up(self, index):
        pool = self._jobs[index].pool
        self._lines[pool].join(index, lines.Ticket(next(self._order), self._now))
        self._shut.discard(pool)

    def _take(self, index, state):
        self.states[index] = states.advance(self.states[index], state)
        pool = self._jobs[index].pool
        if state != states.QUEUED and self._lines[pool].leave(index):
            self._shut.discard(pool)
        if state in states.TERMINAL:
            self._unfinished -= 1

    @property
    def _full(self):
        return self._concurrency and len(self._running) >= self._concurrency

    def widen(self, concurrency):
        """Change how many jobs may run at once; those that run go on. Say whether the number is another one."""
        before, self._concurrency = self._concurrency, concurrency
        return before != concurrency

    def look_again(self):
        """Take note that pools may have free places again."""
        self._shut.clear()

    def newly_in_line(self):
        """Return the indexes of jobs that now wait only for a place in their pool; each once per attempt."""
        newly, self._newly_in_line = self._newly_in_line, []
        return [index for index in newly if self.states[index] == states.QUEUED]

    def start(self, now):
        """Return the index of a job to start, which counts as running from now on, or None."""
        self._now = now
        index = self._next(now)
        if index is None:
            for pool in self._lines:
                if pool is not None and pool not in self._shut:
                    self._places.publish(pool, [])  # jobs that can't start now must not hold up other batches
            return None
        self._take(index, states.RUNNING)
        self._running.add(index)
        self.attempts[index] += 1
        self._limit(index, now + START_PATIENCE)
        if self._holds.start_delay:
            self._beginning, self._next_start = index, now + self._holds.start_delay
        return index

    def _next(self, now):
        if self._full:
            self._held_until = None
            self._shut.clear()
            return None
        for index in iter(lambda: self._again.pop(now), None):
            self._line_up(index)
        waiting = [pool for pool, line in self._lines.items() if line and pool not in self._shut]
        if not waiting:
            self._held_until = None
            return None
        if self._is_held(now):
            self._shut.clear()
            return None
        for pool in sorted(waiting, key=lambda pool: self._lines[pool].first_order):
            if pool is None or self._has_place(pool):
                return self._lines[pool].first
        return None

    def _has_place(self, pool):
        """Take a place for the first job of a line, if there is one for it; say whether there was."""
        line, room = self._lines[pool], None
        if self._concurrency:
            room = self._concurrency - len(self._running)
        if self._places.take(pool, line.waiting(room)):
            return True
        self._shut.add(pool)
        self._newly_in_line += line.newly_seen(room)
        return False

    def _is_held(self, now):
        """Whether the next job must not start yet; `_held_until` is when to look again."""
        holds, held_until = self._holds, self._held_until
        self._held_until = None
        if self._beginning is not None:
            return True
        if self._next_start is not None and now < self._next_start:
            self._held_until = self._next_start
        elif holds.min_free_memory or holds.max_load:
            if held_until is not None and now < held_until:
                self._held_until = held_until  # other events are no reason to look more often
            elif self._is_short():
                self._held_until = now + LOOK_AGAIN
        return self._held_until is not None

    def _is_short(self):
        free, load = self._look()
        return free < self._holds.min_free_memory or bool(self._holds.max_load and load >= self._holds.max_load)

    def began(self, index, now):
        """Take note that a job's first process has started: its timeout and start_delay count from now on."""
        if index == self._beginning:
            self._beginning, self._next_start = None, now + self._holds.start_delay
        if index in self._running:
            self._limit(index, now)

    def _limit(self, index, since):
        if self._jobs[index].timeout:
            self._limits.set(index, since + self._jobs[index].timeout)

    def expire(self, now):
        """Return the index of a running job whose timeout has passed, each once; None if there is none left."""
        return self._limits.pop(now)

    def cancel(self, index):
        """Cancel a job. Return True if it runs and has to be stopped, False if nothing is left to do."""
        if self.states[index] == states.QUEUED:
            self._again.clear(index)
            self._take(index, states.CANCELLED)
        return index in self._running

    def ended(self, index, state, now):
        """Take note that a running job has ended in `state`. Return when it is tried again, None if it is not."""
        self._now = now
        self._running.discard(index)
        if self._jobs[index].pool:
            self._places.give_back(self._jobs[index].pool)
            self._shut.discard(self._jobs[index].pool)
        self._limits.clear(index)
        if index == self._beginning:
            self._beginning = None
        job = self._jobs[index]
        if state in (states.FAILED, states.TIMED_OUT) and self.attempts[index] <= job.retries and not self.halted:
            self._take(index, states.QUEUED)
            at = now + pause(job.delay, job.backoff, self.attempts[index])
            self._again.set(index, at)
            return at
        self._take(index, state)
        if state in states.UNSUCCESSFUL and not job.ignore_errors:
            self._failures += 1
        return None

    def halt(self):
        """Halt the batch if more jobs have failed than allowed. Return [(index, reason)] of the jobs that end by that.

        Jobs that are meant for failures (run_when) still start. A job that waited to be tried again has failed:
        its reason is None.
        """
        if self.halted or self._max_failures is None or not self._failures:
            return []
        if self._failures * 100 <= self._max_failures * self._total:
            return []
        self.halted = "%d of %d jobs failed, which is more than the %g percent allowed" % (
            self._failures,
            self._total,
            self._max_failures,
        )
        stopped = []
        for index, job in enumerate(self._jobs):
            if self.states[index] != states.QUEUED:
                continue
            if self.attempts[index]:
                self._again.clear(index)
                self._take(index, states.FAILED)
                stopped.append((index, None))
            elif job.run_when == SUCCESS:
                self._take(index, states.SKIPPED)
                self._troubled.add(index)
                stopped.append((index, self.halted))
        return stopped

    def settle(self, index):
        """Line up or skip the jobs that depend on one in a terminal state. Return [(index, reason)] of those now skipped."""
        skipped, todo = [], [index]
        while todo:
            done = todo.pop()
            for dependant in self._dependants[done]:
                if self.states[dependant] != states.QUEUED:
                    continue
                self._waits_for[dependant].discard(done)
                reason = self._why_not(dependant, done)
                if reason:
                    self._take(dependant, states.SKIPPED)
                    if self._is_bad(done):
                        self._troubled.add(dependant)
                    skipped.append((dependant, reason))
                    todo.append(dependant)
                elif not self._waits_for[dependant]:
                    self._line_up(dependant)
        return skipped

    def _why_not(self, index, done):
        """Return why a job will never start, now that one that it depends on is done; None if it still may."""
        job = self._jobs[index]
        if job.run_when == SUCCESS and not self._is_good(done):
            return "depends on %s, which is %s" % (self._jobs[done].name, self.states[done])
        unused = job.run_when == FAILURE and not self._waits_for[index]
        if unused and not any(self._is_bad(other) for other in job.depends_on):
            return "it runs only if a job that it depends on fails, and none did"
        return None

    def _is_good(self, index):
        forgiven = self._jobs[index].ignore_errors and self.states[index] in (states.FAILED, states.TIMED_OUT)
        return forgiven or self.states[index] == states.SUCCEEDED

    def _is_bad(self, index):
        return not self._is_good(index) and (self.states[index] != states.SKIPPED or index in self._troubled)

    def next_due(self, now):
        """Return in how many seconds something is due, or None if only events can change anything."""
        times = [self._limits.next()]
        if not self._full:
            times += [self._again.next(), self._held_until]
        times = [time for time in times if time is not None]
        return max(0.0, min(times) - now) if times else None
