# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Runs the jobs that a supervisor starts: orders their calls, follows what comes of them, and ends them in time."""

from __future__ import annotations

import selectors
import signal

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    defaults,
    output,
    results,
    staged,
    states,
)
from ansible_collections.background.jobs.plugins.module_utils._supervisor import (
    attempts,
    calls,
    finishing,
    fork_client,
    fork_listener,
    fork_servers,
    messages,
    module_call,
    running_job,
    scheduler,
    script_client,
    spool,
    stopper,
    timers,
)
from ansible_collections.background.jobs.plugins.module_utils._system import processes

GRACE = 10.0  # seconds from SIGTERM to SIGKILL at a time-out
# Jobs that may be starting at once, so that time-outs of other jobs do not wait for thousands of forks.
_STARTS_AT_ONCE = 16
_TIMED_OUT = "timed out: it ran longer than its timeout of %g s"

# The kinds of timers of a job.
_STEP_LIMIT, _AGAIN, _ALWAYS_LIMIT, _UNANSWERED = range(4)


class Runner:
    """Takes each job from its start to its end."""

    def __init__(self, plan, writer, recorder, *, clock, order, selector, sources, environment, evaluator, groups):
        """order: the Scheduler; sources, groups: as for a Supervisor; evaluator: that of scripts, None if there are none."""
        self._keep = plan.get("keep_output", 0)  # bytes of a stream
        self._jobs = plan["jobs"]
        self._cancels_on_failure = plan.get("on_failure") == "cancel"
        self._writer = writer  # for its folders
        self._recorder = recorder
        self._clock = clock
        self._scheduler = order
        self._selector = selector
        self._evaluator = evaluator
        self._groups = groups
        self._calls = calls.Calls(plan, writer, groups)
        self._timers = timers.Timers()
        self._stopper = stopper.Stopper(clock.now)
        self._listener = fork_listener.Listener(selector, clock.now, self._heard, self._lost)
        self._fork_servers = fork_servers.ForkServers(
            plan, writer.run_path, sources, environment, watch=self._listener.watch, unwatch=selector.unregister
        )
        self._listener.servers = self._fork_servers
        self._finishing = finishing.Finishing(
            plan, writer, recorder, clock=clock, scheduler=order, fork_servers=self._fork_servers
        )
        self._running = {}  # index: RunningJob
        self._starting = set()  # indexes of jobs whose pid is not known yet

    def close(self):
        """End the template processes."""
        self._fork_servers.close()

    # starting

    def start_those_that_may(self):
        """Start the jobs whose turn it is, as many as may be starting at once."""
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
                    self._limit_answer(index, GRACE)
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
        self._recorder.note(job=index, state=states.RUNNING, at=self._clock.wall(at), attempt=number, **process)

    # timeouts, and stopping

    def next_due(self):
        """Return the time at which `watch_times` has something to do, None if that is not known."""
        due = (self._timers.next(), self._stopper.next(), self._listener.next())
        return min((time for time in due if time is not None), default=None)

    def watch_times(self):
        """Do what is due."""
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

    def cancel(self, index, grace, number, why=""):
        """Cancel a job, unless it has ended: if it runs, it is sent the signal, and killed `grace` seconds later."""
        before = self._scheduler.states[index]
        if self._scheduler.cancel(index):
            self._abort(index, states.CANCELLED, "cancelled while it ran" + why, grace, number)
        elif before == states.QUEUED:
            again = self._scheduler.attempts[index]
            self.end(
                index,
                states.CANCELLED,
                results.failure("cancelled before it %s%s" % ("was tried again" if again else "started", why)),
            )

    def _stop(self, index, state, why, grace=GRACE, number=signal.SIGTERM):
        """Tell the call that a job has under way to end."""
        run = self._running[index].call
        if run is not None and not run.stopping:
            self._stopper.stop(index, run, (state, why), grace, number)

    def _abort(self, index, fate, why, grace=GRACE, number=signal.SIGTERM):
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

    # what template processes report

    def reap(self):
        """Take notice of template processes that have ended."""
        self._fork_servers.reap()

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
                self._started(index, run, frame["pid"], frame["began"])
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

    def _started(self, index, run, pid, began):
        run.started = module_call.began(began, ordered=run.started, now=self._clock.now())
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

    # ending

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
        if self._scheduler.ended(index, state, now) is not None:
            self._finishing.hold(index, state, outcome, tasks, why)
            return
        output_goes = state == states.SUCCEEDED or (state == states.FAILED and not running.output_is_kept)
        self.end(index, state, outcome, tasks, why, output_goes=output_goes)

    def end(self, index, state, outcome, tasks=None, why=None, *, output_goes=False):
        """End a job that does not run, in a terminal state, and those that end because of it."""
        halted = self._finishing.end(index, state, outcome, tasks, why, output_goes=output_goes)
        if halted and self._cancels_on_failure:
            self._cancel_the_rest()

    def _cancel_the_rest(self):
        self._cancels_on_failure = False
        for other in sorted(self._scheduler.running):
            if self._jobs[other].get("run_when") is None and self._running[other].attempt.fate is None:
                self._abort(other, states.CANCELLED, "cancelled: %s" % self._scheduler.halted)
