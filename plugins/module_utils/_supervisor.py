# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""The supervisor of a batch: a process of its own, without a terminal or a connection, gone with its last job.

It never runs a module: template processes do. It is single-threaded, and waits for events in one place.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys

from ansible_collections.background.jobs.plugins.module_utils import (
    _blob,
    _processes,
    _recipes,
    _records,
    _results,
    _runs,
    _scheduler,
    _staged,
    _states,
    _templates,
)

_GRACE = 10.0  # seconds from SIGTERM to SIGKILL at a time-out
_LOOK_AGAIN = 0.05  # seconds between looks at processes that were told to end
_GIVE_UP = (
    5.0  # seconds that a killed process may stay (in an uninterruptible call) before its job is said to have ended
)
_RETRY_DISK = 1.0
_STARTS_AT_ONCE = (
    16  # orders to a template that are on the way: time-outs of other jobs need not wait for thousands of forks
)
_TEMPLATE_PATIENCE = 5.0


class Supervisor:
    """Runs the jobs of a plan (see the protocol in the documentation)."""

    def __init__(self, plan, writer, template_source, clock, environment):
        self._plan = plan
        self._token = plan.get("staging_token")
        self._jobs = plan["jobs"]
        self._payloads = plan["payloads"]
        self._writer = writer
        self._template_source = template_source
        self._clock = clock
        self._environment = environment
        self._scheduler = _scheduler.Scheduler(
            [
                _scheduler.Job(job["name"], job["timeout"], job["depends_on"], job["skip"] is not None)
                for job in self._jobs
            ],
            plan["concurrency"],
            _GRACE,
        )
        self._selector = selectors.DefaultSelector()
        self._templates = {}
        self._leaving = []
        self._order = []  # a step of each template there will be, in the order of need
        self._positions = {}  # template key: its index there
        self._furthest = -1
        self._prepared = set()
        self._demand = {}  # template key: steps that are still to come or run
        self._runs = {}  # index: Run
        self._starting = set()  # indexes of jobs whose pid is not known yet
        self._ends = []  # (index, state, outcome, time) that are to be written
        self._look_at = 0.0
        for job in self._jobs:
            for step in job["steps"]:
                for call in step["calls"]:
                    key = self._key(step, call)
                    self._demand[key] = self._demand.get(key, 0) + 1
                    if key not in self._positions:
                        self._positions[key] = len(self._order)
                        self._order.append((step, call))

    @staticmethod
    def _key(step, call):
        return call["payload"], json.dumps(_templates.start_environment(step["environment"]), sort_keys=True)

    def record(self):
        """Write the records that a reader needs before the first job starts."""
        launched = self._clock.wall(self._clock.now())
        described = [
            {key: job[key] for key in ("name", "module", "item", "timeout", "no_log", "ignore_errors") if key in job}
            for job in self._jobs
        ]
        header = {
            "protocol": _records.PROTOCOL,
            "batch_id": self._writer.batch_id,
            "launched_at": launched,
            "supervisor": _processes.identity(os.getpid()),
            "jobs": described,
        }
        jids = [_records.jid_of(self._writer.batch_id, index) for index in range(len(self._jobs))]
        self._writer.create(header, jids, lambda: _staged.write(self._plan, self._writer.path))
        for index, job in enumerate(self._jobs):
            if job["skip"] is not None:
                self._ends.append((index, _states.SKIPPED, _skipped(job["skip"]), self._clock.now()))
        self._write_ends()
        self._writer.flush()

    def run(self):
        """Return when every job is in a terminal state, and that is written."""
        control = self._writer.open_control()
        self._selector.register(control, selectors.EVENT_READ, self._read_control)
        try:
            while True:
                self._stop_jobs()
                # a free slot is refilled before the end that freed it is written
                self._start_jobs()
                self._write_ends()
                flushed = self._writer.flush()
                if self._scheduler.done and flushed:
                    break
                for key, dummy in self._selector.select(self._patience(flushed)):
                    key.data(key.fileobj)
        finally:
            os.close(control)
            for template in self._templates.values():
                template.close()
                self._leaving.append(template)
            for template in self._leaving:
                template.reap(_TEMPLATE_PATIENCE)
            self._writer.close()

    def _patience(self, flushed):
        """Return how many seconds events may be waited for, None for ever."""
        now = self._clock.now()
        times = [self._scheduler.next_due(now)]
        if not flushed:
            times.append(_RETRY_DISK)
        if self._scheduler.stops:
            times.append(max(0.0, self._look_at - now))
        times = [seconds for seconds in times if seconds is not None]
        return min(times) if times else None

    # starting

    def _template(self, step, call):
        key = self._key(step, call)
        if key not in self._templates:
            environment = dict(self._environment, **_templates.start_environment(step["environment"]))
            label = "%s %s" % (self._writer.batch_id, call["module"])
            template = _templates.Template(
                self._payloads[call["payload"]], environment, self._writer.run_path, label, self._template_source
            )
            self._templates[key] = template
            self._selector.register(template, selectors.EVENT_READ, self._read_template)
        return self._templates[key]

    def _start_jobs(self):
        while len(self._starting) < _STARTS_AT_ONCE:
            now = self._clock.now()
            index = self._scheduler.start(now)
            if index is None:
                self._prepare()
                return
            step = self._jobs[index]["steps"][0]
            run = self._runs[index] = _runs.Run(os.path.join(self._writer.run_path, str(index)), now)
            run.recipe = _recipes.begin(step["recipe"]) if "recipe" in step else None
            try:
                number = next(run.recipe) if run.recipe else 0
            except StopIteration as stop:
                self._note_running(index, run)
                self._runs.pop(index)
                outcome = _results.of(stop.value)
                self._end(
                    index,
                    self._scheduler.ended(index, _states.FAILED if outcome.failed else _states.SUCCEEDED),
                    outcome,
                )
                continue
            self._start_call(index, run, step, number)

    def _start_call(self, index, run, step, number):
        run.call = number
        call = step["calls"][number]
        params = call["params"]
        if self._token:
            params = _staged.fill_in(params, self._token, _staged.folder_of(self._writer.path, index))
        frame = {"job": index, "stdout": run.stdout, "stderr": run.stderr, "params": params}
        frame["environment"] = step["environment"]
        try:
            template = self._template(step, call)
            template.send(frame)
        except (OSError, _templates.TemplateGone) as exc:
            run.error = "cannot start it: %s" % exc
            self._note_running(index, run)
            self._finish(index)
            return
        self._furthest = max(self._furthest, self._positions[self._key(step, call)])
        run.template = template
        template.jobs.add(index)
        self._starting.add(index)

    def _prepare(self):
        """Have the module after those in use read in while its first job waits for a slot; each is tried once."""
        following = self._furthest + 1
        if following in self._prepared or following >= len(self._order):
            return
        self._prepared.add(following)
        step, call = self._order[following]
        if self._demand[self._key(step, call)]:
            try:
                self._template(step, call)
            except (OSError, _templates.TemplateGone):
                pass  # for its first job to tell

    def _note_running(self, index, run, **process):
        self._writer.note(job=index, state=_states.RUNNING, at=self._clock.wall(run.started), attempt=1, **process)

    # stopping

    def _stop_jobs(self):
        now = self._clock.now()
        expired, killed = self._scheduler.expire(now), self._scheduler.kill(now)
        if not (expired or killed or (self._scheduler.stops and now >= self._look_at)):
            return
        snapshot = _processes.Snapshot()
        for index in expired:
            self._runs[index].ask_to_end(snapshot, now)
        for index in killed:
            run = self._runs[index]
            run.signal(signal.SIGKILL, snapshot)
            run.give_up = run.give_up or now + _GIVE_UP
        for index in self._scheduler.stops:
            run = self._runs[index]
            run.insist(snapshot, now)
            if run.has_ended and (not run.left(snapshot) or (run.give_up and now >= run.give_up)):
                self._finish(index)
        # on a host with very many processes a look takes long: leave most of the time to others
        cost = self._clock.now() - now
        self._look_at = now + max(_LOOK_AGAIN, 10 * cost)

    def _read_control(self, control):
        try:
            data = os.read(control, 65536)
        except BlockingIOError:
            return
        for line in data.splitlines():
            try:
                request = json.loads(line)
            except ValueError:
                continue  # whoever wrote it waits for an effect, not for an answer
            for index in request["cancel"]:
                self._cancel(index, request["grace"])

    def _cancel(self, index, grace):
        before = self._scheduler.states[index]
        if self._scheduler.cancel(index, self._clock.now(), grace):
            self._runs[index].ask_to_end(_processes.Snapshot(), self._clock.now())
            self._look_at = 0.0
        elif before == _states.QUEUED:
            self._end(index, _states.CANCELLED, _failure("cancelled before it started"))

    # ending

    def _read_template(self, template):
        try:
            frames = template.receive()
        except _templates.TemplateGone as exc:
            self._template_gone(template, exc)
            return
        for frame in frames:
            index = frame["job"]
            run = self._runs[index]
            self._starting.discard(index)
            if "pid" in frame:
                self._started(index, run, frame["pid"])
            elif "error" in frame:
                run.error = frame["error"]
                self._note_running(index, run)
            else:
                run.status = frame["status"]
            if run.has_ended and not self._scheduler.stopping(index):
                self._finish(index)
            elif self._scheduler.stopping(index):
                self._look_at = 0.0

    def _started(self, index, run, pid):
        run.started = self._clock.now()
        self._scheduler.began(index, run.started)
        process = _processes.look(pid)
        if process:
            run.pid = pid
            run.members[pid] = process.start
        self._note_running(index, run, pid=pid, start=process.start if process else None)
        if self._scheduler.stopping(index):  # it was told to end before its pid was known
            run.ask_to_end(_processes.Snapshot(), run.started)

    def _template_gone(self, template, exc):
        key = next(key for key, value in self._templates.items() if value is template)
        self._dismiss(key)
        if not template.jobs:
            return
        snapshot = _processes.Snapshot()
        for index in sorted(template.jobs):
            run = self._runs.pop(index)
            self._starting.discard(index)
            if run.members:
                run.signal(signal.SIGKILL, snapshot)
                state = self._scheduler.ended(index, _states.LOST)
                self._end(index, state, _failure("lost: %s before the job returned a result" % exc))
            else:
                self._note_running(index, run)
                state = self._scheduler.ended(index, _states.FAILED)
                self._end(index, state, _failure("cannot start it: %s" % exc))

    def _finish(self, index):
        """A job's processes have ended, or never began: understand what is left of it."""
        run = self._runs.pop(index)
        stdout, stderr = run.read()
        if run.error:
            outcome = _failure(run.error)
        else:
            outcome = _results.understand(stdout, stderr, run.status)
        if run.recipe and run.pid and not run.error and not self._scheduler.stopping(index):
            step = self._jobs[index]["steps"][0]
            result = outcome.result
            if self._payloads[step["calls"][run.call]["payload"]]["style"] == "command":
                result = _recipes.command_result(stdout, stderr, run.status)
            run.template.jobs.discard(index)
            try:
                number = run.recipe.send(result)
            except StopIteration as stop:
                outcome = _results.of(stop.value)
            else:
                again = self._runs[index] = _runs.Run(os.path.join(self._writer.run_path, str(index)), run.started)
                again.recipe = run.recipe
                self._start_call(index, again, step, number)
                return
        state = self._scheduler.ended(index, _states.FAILED if outcome.failed else _states.SUCCEEDED)
        if state in (_states.TIMED_OUT, _states.CANCELLED):
            outcome = self._stopped(index, state, outcome, run)
        if run.template is not None:
            run.template.jobs.discard(index)
        self._end(index, state, outcome)

    def _stopped(self, index, state, outcome, run):
        if state == _states.TIMED_OUT:
            why = "timed out: it ran longer than its timeout of %g s" % self._jobs[index]["timeout"]
        else:
            why = "cancelled while it ran"
        if run.give_up is not None:
            why += "; it did not end at SIGTERM and was killed"
        return _results.of(dict(outcome.result, failed=True, msg=why))

    def _end(self, index, state, outcome):
        """A job is in a terminal state: let go of what it needed, skip what depended on it, and see that it is written."""
        now = self._clock.now()
        self._ends.append((index, state, outcome, now))
        self._release(index)
        _staged.remove(self._writer.path, index)
        for dependant, reason in self._scheduler.settle(index):
            self._ends.append((dependant, _states.SKIPPED, _skipped(reason), now))
            self._release(dependant)

    def _write_ends(self):
        for index, state, outcome, ended in self._ends:
            message = None if state in (_states.SUCCEEDED, _states.FAILED) else outcome.result["msg"]
            if self._jobs[index]["no_log"]:
                outcome = _results.censor(outcome)
            durable = state != _states.SKIPPED  # nothing ran: nothing to lose
            if not self._writer.write_result(index, outcome, durable):
                message = "the disk is full: the result could not be kept"
            entry = {"msg": message} if message else {}
            self._writer.note(durable, job=index, state=state, at=self._clock.wall(ended), **entry)
        self._ends = []

    def _release(self, index):
        """Let a template go when no job will need it any more."""
        for step in self._jobs[index]["steps"]:
            for call in step["calls"]:
                key = self._key(step, call)
                self._demand[key] -= 1
                if not self._demand[key] and key in self._templates:
                    self._dismiss(key)

    def _dismiss(self, key):
        template = self._templates.pop(key)
        self._selector.unregister(template)
        template.close()
        self._leaving.append(template)


def _failure(message):
    return _results.of({"failed": True, "changed": False, "msg": message})


def _skipped(reason):
    return _results.of({"changed": False, "skipped": True, "skip_reason": reason, "msg": reason})


def main():
    """Read an order from standard input, say on standard output that it was taken, and see it done.

    The order: a line of JSON {"async_dir", "template"}, then the packed plan. The answer: a line of JSON, {"pid"} or
    {"error"}; what comes after an answer with a pid runs whether or not anybody listens.
    """
    settings = json.loads(sys.stdin.buffer.readline())
    plan = _blob.unpack(sys.stdin.buffer.read())
    writer = _records.BatchWriter(settings["async_dir"], plan["batch_id"])
    supervisor = Supervisor(plan, writer, settings["template"], _runs.Clock(), dict(os.environ))
    try:
        supervisor.record()
    except OSError as exc:
        print(json.dumps({"error": "cannot write the records of the batch: %s" % exc}))
        return
    _detach(writer)
    supervisor.run()


def _detach(writer):
    null = os.open(os.devnull, os.O_RDONLY)
    log = writer.open_log()
    answer = os.dup(1)
    os.dup2(null, 0)
    for fd in (1, 2):
        os.dup2(log, fd)
    for fd in (null, log):
        os.close(fd)
    os.write(answer, json.dumps({"pid": os.getpid()}).encode("ascii") + b"\n")
    os.close(answer)
