# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""The supervisor of a batch: a process of its own, without a terminal or a connection, which ends with its last job.

It never runs a module: template processes do. It waits for events in one place; only what it records is written by a
thread of its own.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    ids,
    results,
    staged,
    states,
)
from ansible_collections.background.jobs.plugins.module_utils._supervisor import (
    header,
    host_limits,
    messages,
    outbox,
    places,
    recorder,
    runner,
    scheduler,
    signals,
)
from ansible_collections.background.jobs.plugins.module_utils._system import processes

SIGNALS = (signal.SIGCHLD, signal.SIGTERM)  # that a supervisor handles
_GROUP_PATIENCE = 0.5  # seconds for what was just killed to leave its control group
_LONGEST_WAIT = 86400.0  # the kernel does not take much longer ones
_MOST_AT_ONCE = 65536  # bytes: all that a pipe holds


class Supervisor:
    """Runs the jobs of a plan (see the protocol in the documentation)."""

    def __init__(self, plan, writer, sources, clock, environment, *, groups=None):
        """sources: the program of templates, {"template", "capture"}, and "compiled"; groups: the control groups of jobs."""
        self._plan = plan
        self._jobs = plan["jobs"]
        self._writer = writer
        self._clock = clock
        self._places = places.Places(plan["batch_id"], plan.get("pools") or {})
        self._scheduler = scheduler.Scheduler(
            [header.scheduled(job) for job in self._jobs],
            plan["concurrency"],
            plan.get("max_failures"),
            scheduler.Holds(*(plan.get(name, 0) for name in scheduler.Holds._fields)),
            host_limits.look,
            places=self._places,
            now=clock.now(),
        )
        self._selector = selectors.DefaultSelector()
        self._groups = groups
        self._evaluator = None
        if "evaluator" in plan:  # few have one
            from ansible_collections.background.jobs.plugins.module_utils._supervisor import evaluator

            self._evaluator = evaluator.Evaluator(plan.pop("evaluator"), plan.pop("archive", None))
        written = outbox.Outbox(writer, self._jobs, plan.get("keep_output", 0))
        self._recorder = recorder.Recorder(writer, written, clock.now)
        self._runner = runner.Runner(
            plan,
            writer,
            self._recorder,
            clock=clock,
            order=self._scheduler,
            selector=self._selector,
            sources=sources,
            environment=environment,
            evaluator=self._evaluator,
            groups=groups,
        )

    def record(self):
        """Write the records that a reader needs before the first job starts."""
        now = self._clock.now()
        about = header.header_of(self._plan, self._clock.wall(now), processes.identity(os.getpid()))
        jids = [ids.jid_of(self._writer.batch_id, index) for index in range(len(self._jobs))]
        try:
            self._writer.create(about, jids, self._write_more)
        except OSError:
            self._places.leave()
            raise
        for index, job in enumerate(self._jobs):
            if job["skip"] is not None:
                self._runner.end(index, states.SKIPPED, results.skipped(job["skip"]))
        self._recorder.write()

    def _write_more(self):
        staged.write(self._plan, self._writer.folder)
        self._places.join(self._writer.async_dir)

    def run(self, arrived=None):
        """Return when all jobs are in a terminal state, and that is written. arrived: the Signals, if they are made already."""
        self._selector.register(self._writer.control, selectors.EVENT_READ, self._read_control)
        arrived = arrived or signals.Signals(SIGNALS)
        self._selector.register(arrived, selectors.EVENT_READ, self._read_signals)
        if self._places.watcher is not None:
            self._selector.register(self._places.watcher, selectors.EVENT_READ, self._read_pools)
        if self._evaluator is not None:
            self._evaluator.start()
        self._recorder.start()  # a process with threads is forked as seldom as possible
        self._selector.register(self._recorder, selectors.EVENT_READ, lambda recorder: recorder.read())
        try:
            self._see_to_the_jobs()
        except BaseException:  # log it before anything else can go wrong
            sys.excepthook(*sys.exc_info())
            raise SystemExit(1) from None
        finally:
            self._places.leave()
            self._runner.close()
            if self._evaluator is not None:
                self._evaluator.close()
            if self._groups is not None:
                self._groups.close(_GROUP_PATIENCE if self._evaluator is not None else 0.0)
        self._recorder.close()
        self._writer.close()

    def _see_to_the_jobs(self):
        while True:
            self._runner.watch_times()
            # a free slot is refilled before the end that freed it is written
            self._start_jobs()
            self._recorder.begin()
            if self._scheduler.done and self._recorder.is_done:
                return
            # signals to the supervisor first: the same signal may have ended jobs too
            events = [key for key, dummy in self._selector.select(self._patience())]
            for key in sorted(events, key=lambda key: key.data != self._read_signals):
                key.data(key.fileobj)

    def _patience(self):
        """Return how many seconds to wait for events, None for ever."""
        now = self._clock.now()
        times = [self._scheduler.next_due(now)]
        due = (self._runner.next_due(), self._recorder.next_due())
        times += [max(0.0, time - now) for time in due if time is not None]
        times.append(self._places.look_again)
        times = [seconds for seconds in times if seconds is not None]
        return min([*times, _LONGEST_WAIT]) if times else None

    def _start_jobs(self):
        if self._places.look_again is not None:
            self._scheduler.look_again()
        self._runner.start_those_that_may()
        now = self._clock.wall(self._clock.now())
        for index in self._scheduler.newly_in_line():
            attempt, pool = self._scheduler.attempts[index], self._jobs[index]["pool"]
            self._recorder.note(job=index, state=states.QUEUED, at=now, attempt=attempt, pool=pool)

    # what it is told

    def _read_pools(self, watcher):
        if self._places.has_changed():
            self._scheduler.look_again()

    def _read_control(self, control):
        try:
            data = os.read(control, _MOST_AT_ONCE)
        except BlockingIOError:
            return
        for line in data.splitlines():
            # it gets no answer: whoever wrote it waits for the effect
            request = messages.request_in(line) or {}
            indexes, grace, number = messages.cancel_in(request, len(self._jobs)) or ((), None, None)
            for index in indexes:
                self._runner.cancel(index, grace, number)
            concurrency = messages.concurrency_in(request)
            if concurrency is not None and self._scheduler.widen(concurrency):
                self._recorder.note(concurrency=concurrency, at=self._clock.wall(self._clock.now()))

    def _read_signals(self, arrived):
        numbers = arrived.take()
        if signal.SIGCHLD in numbers:
            self._runner.reap()
        if signal.SIGTERM in numbers:
            self._cancel_all()

    def _cancel_all(self):
        """Cancel all jobs, because the host's service manager, say, told this process to end; `always` sections still run."""
        for index in range(len(self._jobs)):
            self._runner.cancel(index, runner.GRACE, signal.SIGTERM, ": its supervisor was told to end")
