# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""The supervisor of a batch: a process of its own, without a terminal or a connection, which ends with its last job.

It never runs a module: template processes do. It is single-threaded, and waits for events in one place.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    defaults,
    ids,
    output,
    results,
    staged,
    states,
)
from ansible_collections.background.jobs.plugins.module_utils._supervisor import (
    attempts,
    calls,
    fork_client,
    fork_listener,
    fork_servers,
    header,
    host_limits,
    messages,
    outbox,
    places,
    running_job,
    scheduler,
    script_client,
    signals,
    spool,
    stopper,
    timers,
)
from ansible_collections.background.jobs.plugins.module_utils._system import processes

SIGNALS = (signal.SIGCHLD, signal.SIGTERM)  # that a supervisor handles
_GRACE = 10.0  # seconds from SIGTERM to SIGKILL at a time-out
_GROUP_PATIENCE = 0.5  # seconds for what was just killed to leave its control group
_RETRY_DISK = 1.0
_LONGEST_WAIT = 86400.0  # the kernel does not take much longer ones
# Jobs that may be starting at once, so that time-outs of other jobs do not wait for thousands of forks.
_STARTS_AT_ONCE = 16
_MOST_AT_ONCE = 65536  # bytes: all that a pipe holds
_TIMED_OUT = "timed out: it ran longer than its timeout of %g s"

# The kinds of timers of a job.
_STEP_LIMIT, _AGAIN, _ALWAYS_LIMIT, _UNANSWERED = range(4)


class Supervisor:
    """Runs the jobs of a plan (see the protocol in the documentation)."""

    def __init__(self, plan, writer, sources, clock, environment, *, groups=None):
        """sources: the program of templates, {"template", "capture"}, and "compiled"; groups: the control groups of jobs."""
        self._plan = plan
        self._keep = plan.get("keep_output", 0)  # bytes of a stream
        self._jobs = plan["jobs"]
        self._cancels_on_failure = plan.get("on_failure") == "cancel"
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
        self._groups = groups
        self._calls = calls.Calls(plan, writer, groups)
        self._timers = timers.Timers()
        self._stopper = stopper.Stopper(clock.now)
        self._selector = selectors.DefaultSelector()
        self._listener = fork_listener.Listener(self._selector, clock.now, self._heard, self._lost)
        self._fork_servers = fork_servers.ForkServers(
            plan, writer.run_path, sources, environment, watch=self._listener.watch, unwatch=self._selector.unregister
        )
        self._listener.servers = self._fork_servers
        self._endings = outbox.Endings(writer, self._jobs, self._keep)
        self._evaluator = None
        if "evaluator" in plan:  # few have one
            from ansible_collections.background.jobs.plugins.module_utils._supervisor import evaluator

            self._evaluator = evaluator.Evaluator(plan.pop("evaluator"), plan.pop("archive", None))
        self._running = {}  # index: RunningJob
        self._failed = {}  # index: (Outcome, tasks) of the last attempt, of the jobs that wait to be tried again
        self._starting = set()  # indexes of jobs whose pid is not known yet

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
                self._end(index, states.SKIPPED, results.skipped(job["skip"]))
        self._endings.write()
        self._writer.flush()

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
        try:
            self._see_to_the_jobs()
        except BaseException:  # log it before anything else can go wrong
            sys.excepthook(*sys.exc_info())
            raise SystemExit(1) from None
        finally:
            self._places.leave()
            self._fork_servers.close()
            if self._evaluator is not None:
                self._evaluator.close()
            if self._groups is not None:
                self._groups.close(_GROUP_PATIENCE if self._evaluator is not None else 0.0)
        self._writer.close()

    def _see_to_the_jobs(self):
        while True:
            self._watch_times()
            # a free slot is refilled before the end that freed it is written
            self._start_jobs()
            self._endings.write()
            flushed = self._writer.flush()
            if self._scheduler.done and (flushed or self._writer.is_hopeless):
                return
            # signals to the supervisor first: the same signal may have ended jobs too
            events = [key for key, dummy in self._selector.select(self._patience(flushed))]
            for key in sorted(events, key=lambda key: key.data != self._read_signals):
                key.data(key.fileobj)

    def _patience(self, flushed):
        """Return how many seconds to wait for events, None for ever."""
        now = self._clock.now()
        times = [self._scheduler.next_due(now)]
        due = (self._timers.next(), self._stopper.next(), self._listener.next())
        times += [max(0.0, time - now) for time in due if time is not None]
        if not flushed:
            times.append(_RETRY_DISK)
        times.append(self._places.look_again)
        times = [seconds for seconds in times if seconds is not None]
        return min([*times, _LONGEST_WAIT]) if times else None

    # starting

    def _read_pools(self, watcher):
        if self._places.has_changed():
            self._scheduler.look_again()

    def _start_jobs(self):
        if self._places.look_again is not None:
            self._scheduler.look_again()
        self._start_those_that_may()
        now = self._clock.wall(self._clock.now())
        for index in self._scheduler.newly_in_line():
            attempt, pool = self._scheduler.attempts[index], self._jobs[index]["pool"]
            self._writer.note(job=index, state=states.QUEUED, at=now, attempt=attempt, pool=pool)

    def _start_those_that_may(self):
        while len(self._starting) < _STARTS_AT_ONCE:
            now = self._clock.now()
            index = self._scheduler.start(now)
            if index is None:
                self._fork_servers.prepare()
                return
            if "script" in self._jobs[index]:
                self._begin_script(index, now)
                continue
            attempt = attempts.Attempt(self._jobs[index], self._spool(index).put)
            self._running[index] = running_job.RunningJob(attempt)
            self._follow(index, attempt.begin(now))

    def _begin_script(self, index, now):
        job = self._jobs[index]
        attempt = script_client.ScriptAttempt(
            index, job, self._evaluator, watch=self._watch_script, unwatch=self._selector.unregister
        )
        self._running[index] = running_job.RunningJob(attempt)
        self._starting.add(index)
        about = {"job": {"no_log": job["no_log"]}, "index": index}
        about.update(epoch=self._clock.wall(0.0), nice=job.get("nice"))
        try:
            about.update(groups=self._calls.groups_of(index))
        except OSError as exc:
            self._follow(index, attempt.lose("cannot start it: %s" % exc))
            return
        self._follow(index, attempt.begin(now, about, self._writer.folder))

    def _spool(self, index):
        return spool.Spool(self._writer.run, spool.name_of(index))

    def _follow(self, index, action):
        """Carry out the next action of a job."""
        attempt = self._running[index].attempt
        while action is not attempts.END:
            if action is script_client.PENDING:
                if attempt.fate is not None and not attempt.must_finish:
                    self._limit_answer(index, _GRACE)
                return
            if isinstance(action, attempts.Wait):
                self._timers.clear((_STEP_LIMIT, index))
                self._timers.set((_AGAIN, index), action.until)
                return
            if attempt.is_first_call:
                self._timers.clear((_STEP_LIMIT, index))
            if attempt.fate is not None and (_ALWAYS_LIMIT, index) not in self._timers:
                self._limit_always(index)
            failure = self._call(index, attempt, action)
            if failure is None:
                return
            action = attempt.took(failure, self._clock.now())
        self._attempt_ended(index)

    def _call(self, index, attempt, action):
        """Order a call from its template. Return an Outcome if that failed."""
        step, call = action
        now = self._clock.now()
        run, frame = self._calls.new(index, step, call, now)
        try:
            if attempt.is_first_call:
                staged.prepare(self._writer.folder, index, self._jobs[index], step)
            frame.update(self._calls.limits(index, run))
            template = self._fork_servers.get(step["environment"], call)
            template.send(frame, self._calls.hand_over(frame, call))
            self._listener.watch(template)
        # ValueError: there are environments that no process can have
        except (OSError, ValueError, fork_client.TemplateGone) as exc:
            self._note_running(index, now)
            self._calls.read(index, run)  # removes what was made for another user
            return results.failure("cannot start it: %s" % exc)
        if not (self._jobs[index].get("retries") or step.get("retries") or step.get("recipe")):
            call["params"] = None  # secrets stay in memory no longer than they are needed
        self._fork_servers.took(step["environment"], call, self._jobs[index])
        run.template = template
        template.jobs.add(index)
        self._running[index].call = run
        self._starting.add(index)
        if step.get("timeout") and attempt.is_first_call:
            self._timers.set((_STEP_LIMIT, index), now + step["timeout"] + scheduler.START_PATIENCE)
        return None

    def _note_running(self, index, at, **process):
        running = self._running[index]
        if running.is_noted and not process:
            return
        running.is_noted, attempt = True, running.attempt
        if attempt.is_block and attempt.step is not None:
            process["task"] = attempt.step["name"]
        number = self._scheduler.attempts[index]
        self._writer.note(job=index, state=states.RUNNING, at=self._clock.wall(at), attempt=number, **process)

    # timeouts, and stopping

    def _watch_times(self):
        now = self._clock.now()
        # one by one, because each may clear others
        for index in iter(lambda: self._scheduler.expire(now), None):
            self._abort(index, states.TIMED_OUT, _TIMED_OUT % self._jobs[index]["timeout"])
        for what, index in iter(lambda: self._timers.pop(now), None):
            if what == _STEP_LIMIT:
                limit = self._running[index].attempt.step["timeout"]
                self._stop(index, states.TIMED_OUT, _TIMED_OUT % limit)
            elif what == _AGAIN:
                self._follow(index, self._running[index].attempt.resume(now))
            elif what == _ALWAYS_LIMIT:
                self._end_always(index)
            else:
                self._follow(index, self._running[index].attempt.kill())
        self._listener.give_up_what_is_late(now)
        for index in self._stopper.look(now):
            self._call_ended(index)

    def _stop(self, index, state, why, grace=_GRACE, number=signal.SIGTERM):
        """Tell the call that a job has under way to end."""
        run = self._running[index].call
        if run is not None and not run.stopping:
            self._stopper.stop(index, run, (state, why), grace, number)

    def _abort(self, index, fate, why, grace=_GRACE, number=signal.SIGTERM):
        """End a running job, except for its `always` sections."""
        attempt = self._running[index].attempt
        if attempt.fate is not None:
            return
        if not attempt.abort(fate, why):
            self._limit_always(index)
        elif self._running[index].call is not None:
            self._stop(index, fate, why, grace, number)
        else:
            self._timers.clear((_AGAIN, index))
            if "script" in self._jobs[index]:
                self._limit_answer(index, grace)
            self._follow(index, attempt.resume(self._clock.now()))

    def _limit_answer(self, index, grace):
        """Have the process of a script killed if it has to end, but does not say what is next within `grace`."""
        if (_UNANSWERED, index) not in self._timers:
            self._timers.set((_UNANSWERED, index), self._clock.now() + grace)

    def _limit_always(self, index):
        limit = self._jobs[index].get("always_timeout", defaults.ALWAYS_TIMEOUT)
        self._timers.set((_ALWAYS_LIMIT, index), self._clock.now() + limit)

    def _end_always(self, index):
        attempt = self._running[index].attempt
        limit = self._jobs[index].get("always_timeout", defaults.ALWAYS_TIMEOUT)
        attempt.give_up("; its 'always' section was ended after %g s" % limit)
        if self._running[index].call is not None:
            self._stop(index, attempt.fate, _TIMED_OUT % limit)
        else:
            self._timers.clear((_AGAIN, index))
            self._follow(index, attempt.resume(self._clock.now()))

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
                self._cancel(index, grace, number)
            concurrency = messages.concurrency_in(request)
            if concurrency is not None and self._scheduler.widen(concurrency):
                self._writer.note_batch(concurrency=concurrency, at=self._clock.wall(self._clock.now()))

    def _cancel_all(self):
        """Cancel all jobs, because the host's service manager, say, told this process to end; `always` sections still run."""
        for index in range(len(self._jobs)):
            self._cancel(index, _GRACE, signal.SIGTERM, ": its supervisor was told to end")

    def _cancel(self, index, grace, number, why=""):
        before = self._scheduler.states[index]
        if self._scheduler.cancel(index):
            self._abort(index, states.CANCELLED, "cancelled while it ran" + why, grace, number)
        elif before == states.QUEUED:
            again = self._scheduler.attempts[index]
            self._end(
                index,
                states.CANCELLED,
                results.failure("cancelled before it %s%s" % ("was tried again" if again else "started", why)),
            )

    # scripts

    def _watch_script(self, attempt, writing):
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        try:
            self._selector.modify(attempt, events, self._read_script)
        except KeyError:
            self._selector.register(attempt, events, self._read_script)

    def _read_script(self, attempt):
        index = attempt.index
        for what, heard in attempt.hear():
            if what == "hello":
                self._starting.discard(index)
                self._scheduler.began(index, self._clock.now())
                self._note_running(index, self._clock.now())
            elif what == "said":
                if self._keep and not self._jobs[index]["no_log"]:
                    output.add(self._writer.path, index, (heard.encode("utf-8", "replace"), b""), self._keep)
            else:
                self._timers.clear((_UNANSWERED, index))
                self._script_goes_on(index, attempt, heard)

    def _script_goes_on(self, index, attempt, action):
        self._starting.discard(index)
        if action is attempts.END and self._running[index].call is not None:
            self._stop(index, attempt.fate, "ended with the process that evaluates its tasks")
            return
        self._follow(index, action)

    # ending

    def _read_signals(self, arrived):
        numbers = arrived.take()
        if signal.SIGCHLD in numbers:
            self._fork_servers.reap()
        if signal.SIGTERM in numbers:
            self._cancel_all()

    def _heard(self, template, frames):
        """Handle what a template process reports on its calls."""
        snapshot = None
        for frame in filter(messages.is_frame, frames):
            index = frame["job"]
            run = self._running[index].call if index in self._running else None
            if run is None or run.call != frame["call"] or run.template is not template:
                self._end_stray(frame)
                continue
            self._starting.discard(index)
            if "pid" in frame:
                self._started(index, run, frame["pid"])
            elif "error" in frame:
                run.error = frame["error"]
                self._note_running(index, run.started)
            else:
                run.status, run.brief = frame["status"], frame.get("brief")
                if run.status < 0 and not run.stopping:
                    # nobody else ends what a killed module had started
                    snapshot = snapshot or processes.Snapshot()
                    run.signal(signal.SIGKILL, snapshot)
            if run.stopping:
                self._stopper.look_soon()
            elif run.has_ended:
                self._call_ended(index)

    @staticmethod
    def _end_stray(frame):
        """Handle a frame about a call that was given up: if its process has started after all, it is killed."""
        if "pid" in frame:
            process = processes.look(frame["pid"])
            members = {frame["pid"]: process.start if process else None}
            for process in processes.Snapshot().tree(members).values():
                processes.send(process, signal.SIGKILL)

    def _started(self, index, run, pid):
        run.started = self._clock.now()
        attempt = self._running[index].attempt
        if not self._running[index].is_noted:
            self._scheduler.began(index, run.started)
        attempt.began(run.started)
        if attempt.is_first_call and attempt.step.get("timeout") and not run.stopping:
            self._timers.set((_STEP_LIMIT, index), run.started + attempt.step["timeout"])
        process = processes.look(pid)
        run.pid = pid
        run.members[pid] = process.start if process else None  # if it has gone, its session identifies the rest
        self._note_running(index, run.started, pid=pid, start=process.start if process else None)
        run.untold = run.stopping is not None  # there was no process to signal before

    def _lost(self, template, exc):
        """Handle the loss of a template process that had calls under way."""
        self._find_untold(template.jobs)
        snapshot = processes.Snapshot()
        for index in sorted(template.jobs):
            run, attempt, now = self._let_go(index), self._running[index].attempt, self._clock.now()
            stdout, stderr = self._calls.read(index, run)  # now, because the next call prints to the same files
            if run.members:
                self._note_running(index, now)
                run.signal(signal.SIGKILL, snapshot)
                why = "lost: %s before the job returned a result" % exc
                if attempt.fate is None:
                    attempt.abort(states.LOST, why)
                outcome = self._calls.with_output(
                    index, self._running[index], run, results.failure(why), stdout, stderr
                )
                action = attempt.stopped(states.LOST, outcome, now)
            else:
                self._note_running(index, now)
                action = attempt.took(results.failure("cannot start it: %s" % exc), now)
            self._follow(index, action)

    def _find_untold(self, indexes):
        """Find the processes of calls whose template was killed before it could report them."""
        runs = [self._running[index].call for index in indexes if not self._running[index].call.members]
        holders = processes.holders([run.stdout for run in runs])
        for run in runs:
            run.members.update(holders.get(run.stdout, ()))

    def _let_go(self, index):
        """Forget the call that a job had under way, and return it."""
        self._starting.discard(index)
        self._stopper.forget(index)
        running = self._running[index]
        run, running.call = running.call, None
        return run

    def _call_ended(self, index):
        """Work out the Outcome of a call whose processes have ended or never began, and go on with the job."""
        run, attempt, now = self._let_go(index), self._running[index].attempt, self._clock.now()
        if run.template is not None:
            run.template.jobs.discard(index)
            if not run.has_ended:
                self._turn_away_from(run)
        outcome = self._calls.outcome(index, self._running[index], run)
        if run.stopping:
            state, why = run.stopping
            how = run.what_was_done()
            why += how
            if attempt.fate is not None and not attempt.must_finish:
                attempt.add_why(how)
            outcome = results.of(dict(outcome.result, failed=True, msg=why))
            action = attempt.stopped(state, outcome, now)
        else:
            action = attempt.took(outcome, now)
        self._follow(index, action)

    def _turn_away_from(self, run):
        """Give up a call whose end was not reported: revoke it, or drop its template if that has no other job."""
        template = run.template
        if not template.jobs:
            self._fork_servers.drop(template)
            return
        try:
            template.send({"revoke": run.call})
            self._listener.watch(template)
        except fork_client.TemplateGone:
            pass  # the listener will report that

    def _attempt_ended(self, index):
        running, now = self._running.pop(index), self._clock.now()
        attempt = running.attempt
        for what in (_STEP_LIMIT, _AGAIN, _ALWAYS_LIMIT, _UNANSWERED):
            self._timers.clear((what, index))
        state, outcome, tasks = attempt.state, attempt.outcome(), attempt.report(self._clock.wall)
        if attempt.is_block:
            self._spool(index).remove()
        if self._groups is not None:
            if state == states.LOST and self._groups.kills(index):  # of the process that works out a script, say
                outcome = results.of(
                    dict(outcome.result, msg="%s: %s" % (outcome.result["msg"], self._calls.too_much(index)))
                )
            self._groups.leave(index)
        why = running.short_of_memory
        why = why and state == states.FAILED and "killed by signal 9 (SIGKILL): %s" % why
        if self._scheduler.ended(index, state, now) is None:
            if state == states.SUCCEEDED or (state == states.FAILED and not running.output_is_kept):
                self._endings.without_output(index)
            self._end(index, state, outcome, tasks, why)
            return
        number = self._scheduler.attempts[index]
        brief = why or results.brief(results.censor(outcome).result if self._jobs[index]["no_log"] else outcome.result)
        note = {"attempt": number, "was": state, "msg": brief}
        self._writer.note(job=index, state=states.QUEUED, at=self._clock.wall(now), **note)
        self._failed[index] = outcome, tasks

    def _end(self, index, state, outcome, tasks=None, why=None):
        """End a job in a terminal state: release what it needed, skip what must not start now, and have that written."""
        self._ended(index, state, outcome, tasks, why)
        stopped = self._scheduler.halt()
        halted = bool(stopped) or self._scheduler.halted
        for other, reason in stopped:
            if reason is None:
                self._endings.without_output(other)
                self._ended(other, states.FAILED, *self._failed.pop(other))
            else:
                self._ended(other, states.SKIPPED, results.skipped(reason))
        for other in (index, *(other for other, dummy in stopped)):
            for dependant, reason in self._scheduler.settle(other):
                self._ended(dependant, states.SKIPPED, results.skipped(reason))
        self._failed.pop(index, None)
        if halted and self._cancels_on_failure:
            self._cancel_the_rest()

    def _ended(self, index, state, outcome, tasks=None, why=None):
        """Release what a job needed, its files and templates that no other job will need, and have its end written."""
        at = self._clock.wall(self._clock.now())
        self._endings.add(outbox.End(index, state, outcome, at, tasks, why or None))
        if "staging_token" in self._plan:
            staged.remove(self._writer.folder, index)
        self._fork_servers.release(self._jobs[index])

    def _cancel_the_rest(self):
        self._cancels_on_failure = False
        for other in sorted(self._scheduler.running):
            if self._jobs[other].get("run_when") is None and self._running[other].attempt.fate is None:
                self._abort(other, states.CANCELLED, "cancelled: %s" % self._scheduler.halted)
