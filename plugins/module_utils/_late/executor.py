# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Goes through a script on the host, as ansible-core goes through the tasks of a play. No clock, no I/O.

It is to the supervisor what Attempt is for a job without a script: it is asked for the next action, and gets the outcome
of the one before.
"""

from __future__ import annotations

from collections import namedtuple

from ansible_collections.background.jobs.plugins.module_utils._late import (
    handlers,
    record,
    task,
    tries,
    variables,
)
from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed
from ansible_collections.background.jobs.plugins.module_utils._protocol import results as protocol
from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.module_utils._supervisor.attempts import END

BLOCK, RESCUE, ALWAYS = "block", "rescue", "always"
_FLUSHES = 2  # at the end of a job, as in a play: after its roles and tasks, and after its post_tasks

# A place in the script. frames: variables of the includes around it; rescuing: whether a `rescue` may still save it.
Where = namedtuple("Where", "section must_finish frames rescuing", defaults=(BLOCK, False, (), False))


class Interrupted(BaseException):
    """Raised from outside, by a signal handler, to end an evaluation."""


class _EndRole(Exception):
    """Leaves out the rest of a role."""


class Executor:
    """One attempt at a job with a script.

    job: its entry in the plan; script: the job's; engine: evaluates (templating.py); wall(now): a time as seconds since
    1970; stage(name, data, mode): puts a file into the staging folder of the job; put(text): keeps the text of a result
    until the end, and returns a function that returns it.
    """

    def __init__(self, job, script, engine, wall, *, stage=None, put=lambda text: lambda: text):
        self.core, self.token = script["core"], script.get("token", "")
        self.verbosity = script.get("verbosity", 0)
        self.engine, self.wall = engine, wall
        self.variables = variables.Variables(script["values"], script.get("inject_facts", True))
        self.now = None
        self.started = None  # when the turn of the task began
        self.is_first_call = True  # whether the current call is the first of this attempt at the turn
        self.step = None  # the one whose call was requested last
        self.fate = None  # the state that it has to end in, if that was decided from outside
        self.interruptible = False  # whether an Interrupted may be raised
        self.signalled = False  # whether to `look` before anything is evaluated
        self.look = lambda: None
        self._said = []  # messages of tasks that are not output of a module
        self._why = None
        self._given_up = False
        self._job, self._script, self.stage = job, script, stage
        self._handlers = handlers.Handlers(script.get("handlers", ()), script.get("play_handlers", ()))
        self._record = record.Record(self.core, put)
        self._where = Where()
        self._walk = None
        self._last = None  # the Result of the last turn that ran, or was stopped
        self._failed = False
        self._rescued = False
        self._culprit = None  # the index of the entry whose failure counts

    # ---- the interface of Attempt

    @property
    def is_block(self):
        """Whether the job is more than one task."""
        body = self._script["body"]
        return len(body) != 1 or body[0]["kind"] != "task" or bool(body[0].get("looped") or "loop" in body[0])

    @property
    def must_finish(self):
        """Whether the current task belongs to an `always` section, which is not stopped with the rest."""
        return self._where.must_finish and not self._given_up

    def begin(self, now):
        """Return the first action."""
        self._walk = self._all()
        return self._go_on(now, None)

    def began(self, now):
        """Note that the process of a task's first call has started: the task's time begins."""
        if self.is_first_call:
            self.started = now

    def took(self, outcome, now):
        """Return the next action after a call that gave `outcome`."""
        return self._go_on(now, ("took", outcome))

    def resume(self, now):
        """Return the next action after a Wait that is over or was cut short."""
        return self._go_on(now, ("resume",))

    def stopped(self, state, outcome, now):
        """Return the next action after a call was stopped, so that its task ends in `state`."""
        return self._go_on(now, ("stopped", state, outcome))

    def abort(self, fate, why):
        """End the job in the state `fate`: only its `always` sections still run."""
        if self.fate is None:
            self.fate, self._why = fate, why
        return not self.must_finish

    def give_up(self, why):
        """Skip even the `always` sections; `why` is appended to the reason for the end."""
        self._why = (self._why or "") + why
        self._given_up = True

    def add_why(self, text):
        """Append to the reason why the job was ended."""
        self._why = (self._why or "") + text

    def _go_on(self, now, event):
        self.now = now
        try:
            action = self._walk.send(event)
        except StopIteration:
            return END
        self.step = getattr(action, "step", self.step)
        return action

    # ---- for its tasks

    def is_over(self, where):
        """Whether nothing may be started any more at this place."""
        return self.fate is not None and (self._given_up or not where.must_finish)

    @property
    def is_over_now(self):
        """Whether the current task may not go on."""
        return self.is_over(self._where)

    def take_said(self):
        """Return the messages of tasks since the last call of this."""
        said, self._said = self._said, []
        return "".join(said)

    def ended(self):
        """Return the Outcome for what was ended from outside."""
        return protocol.of({"failed": True, "changed": False, "msg": self._why})

    def evaluate(self, function, value):
        """Return function(value); an abort can interrupt it, because it may take for ever."""
        try:
            self.interruptible = True
            if self.signalled:
                self.look()
            if self.is_over(self._where):
                raise tries.Stopped(self.fate, self.ended())
            return function(value)
        except Interrupted:
            raise tries.Stopped(self.fate, self.ended()) from None
        except RecursionError:
            raise TemplateFailed("Recursive loop detected in template.") from None
        except MemoryError:
            raise TemplateFailed("out of memory") from None
        finally:
            self.interruptible = False

    def is_hidden(self, node):
        return bool(node.get("no_log") or self._job.get("no_log"))

    def took_turn(self, of, turn, where):
        """Record the result of a task, or of one turn of its loop."""
        hidden = self.is_hidden(of.node)
        if of.node["module"].endswith(".debug") and not hidden and "msg" in turn.result.value:
            self._said.append("%s\n" % (turn.result.value["msg"],))
        result = self._record.add(of, turn, where, self.now, hidden)
        if turn.state != states.SKIPPED and (self.fate is None or not where.must_finish or self._last is None):
            self._last = result

    def amend(self, of, turn):
        """Record that the result of a turn has changed since."""
        self._record.amend(turn, of.node, self.is_hidden(of.node))

    # ---- the way through

    def _all(self):
        try:
            good, culprit = yield from self._nodes(self._script["body"], Where())
        except _EndRole:
            good, culprit = True, None
        if good or self._script.get("force_handlers"):
            done, other = yield from self._flush_at_the_end()
            good, culprit = good and done, culprit if other is None else other
        self._failed, self._culprit = not good, culprit

    def _flush_at_the_end(self):
        for dummy in range(_FLUSHES):
            if self._handlers.are_notified and not self.is_over(Where()):
                done, culprit = yield from self._flush(Where())
                if not done:
                    return False, culprit
        return True, None

    def _nodes(self, nodes, where):
        """Return (whether all went well, the index of the entry that failed)."""
        for node in nodes:
            if self.is_over(where):
                return False, None
            good, culprit = yield from self._node(node, where)
            if not good:
                return False, culprit
        return not self.is_over(where), None

    def _node(self, node, where):
        if node["kind"] == "task":
            return self._task(node, where)
        return self._include(node, where) if node["kind"] == "include" else self._role(node, where, self._block)

    def _role(self, node, where, way):
        """Go through a node; if it is a whole role, one of its tasks may end it."""
        try:
            done = yield from way(node, where)
        except _EndRole:
            if "role" not in node:
                raise
            done = True, None
        return done

    def _block(self, node, where):
        rescue = node.get("rescue") or ()
        inside = where._replace(section=BLOCK, rescuing=where.rescuing or bool(rescue))
        good, culprit = yield from self._nodes(node["block"], inside)
        if not good and rescue and not self.is_over(where):
            good, culprit = yield from self._nodes(rescue, where._replace(section=RESCUE))
            self._rescued = self._rescued or good
        finished, other = yield from self._nodes(
            node.get("always") or (), where._replace(section=ALWAYS, must_finish=True)
        )
        return good and finished, other if good else culprit

    def _task(self, node, where):
        if (node.get("turns") or [{}])[0].get("local") == "meta":
            done = yield from self._meta(node, where)
            return done
        done = yield from self._run(node, where)
        return self._judge(done, where)

    def _run(self, node, where):
        """Run a task, and return it."""
        before, self._where = self._where, where
        running = task.Task(self, node, where)
        try:
            yield from running.run()
        finally:
            self._where = before
        return running

    def _judge(self, done, where):
        """Act on the result of a task: register it, notify handlers, and decide whether to go on."""
        self._register(done)
        if done.was_stopped:
            return False, self._record.last
        if not done.result.failed:
            if not done.result.skipped:
                return self._succeeded(done)
            return True, None
        if done.ignored:
            return True, None
        if where.rescuing:
            self.variables.set.update(ansible_failed_task=_described(done), ansible_failed_result=done.returned)
        return False, self._record.index_of_failure(done)

    def _register(self, done):
        name = done.node.get("register")
        if not name:
            return
        self.variables.set[name] = done.result.value
        self._record.register(name, done, self.is_hidden(done.node))

    def _succeeded(self, done):
        for turn in done.turns:
            if done.result.changed:
                try:
                    self._notify(turn.notify)
                except handlers.UnknownHandler as exc:
                    self.amend(done, done.refuse(str(exc)))
                    return False, self._record.index_of_failure(done)
            if turn.result.effect is not None and not turn.result.skipped:
                self.variables.apply(*turn.result.effect, hidden=self.is_hidden(done.node))
        return True, None

    def _notify(self, topics):
        for topic in topics:
            try:
                self._handlers.notify(topic)
            except handlers.UnknownHandler:
                if self._script.get("missing_handlers_fail", True):
                    raise

    def _include(self, node, where):
        node = dict(node, module=node.get("module", "ansible.builtin.include_tasks"))
        node.setdefault(
            "turns", [{"local": "include", "args": {"file": node.get("file"), "args": node.get("args", {})}}]
        )
        done = yield from self._run(node, where)
        good, culprit = self._judge(done, where)
        if not good or done.result.failed:
            return good, culprit
        for turn in done.turns:
            if turn.result.skipped:
                continue
            inside = where._replace(frames=(turn.variables, *where.frames)) if turn.variables else where
            good, culprit = yield from self._role(node, inside, self._body)
            if not good:
                return False, culprit
        return True, None

    def _body(self, node, where):
        return self._nodes(node["body"], where)

    def _meta(self, node, where):
        args = node["turns"][0].get("args")
        what = args.get("_raw_params") if isinstance(args, dict) else args
        if what not in ("flush_handlers", "end_role"):
            return True, None
        probe = yield from self._run(dict(node, turns=[{"local": "noop"}]), where)
        if probe.result.skipped or probe.result.failed:
            return self._judge(probe, where)
        if what == "end_role":
            raise _EndRole
        done = yield from self._flush(where)
        return done

    def _flush(self, where):
        for node in self._handlers.flush():
            good, culprit = yield from self._nodes([node], where)
            if not good:
                return False, culprit
        return True, None

    # ---- the outcome

    @property
    def state(self):
        """The state that the attempt ends in."""
        return self.fate or (states.FAILED if self._failed else states.SUCCEEDED)

    def outcome(self):
        """Return the Outcome of the job."""
        if self.fate is not None:
            result = self._last.told() if self._last is not None else {"changed": False}
            return protocol.of(dict(result, failed=True, msg=self._why))
        if self._failed and self._culprit is not None:
            return protocol.of(self._record.told(self._culprit))
        if self._last is None:
            return protocol.of(self._record.told(-1) or {"changed": False, "msg": "it has no tasks"})
        if self._last.failed:  # a failure that was ignored
            return protocol.of(dict(self._last.told(), failed=False))
        return protocol.of(self._last.told())

    def report(self, wall=None):
        """Yield, in pieces, the JSON text of the report on each task, and on the variables that are handed back."""
        told = {"final": True, "rescued": self.state == states.SUCCEEDED and self._rescued}
        if not self.is_block:
            told["alone"] = True
        if self.state == states.FAILED and self._culprit is not None:
            told["culprit"] = self._culprit
        told["facts"] = {} if self._job.get("no_log") else self.variables.to_hand_back()
        told["cacheable"] = sorted(self.variables.cacheable.intersection(told["facts"]))
        told["gathered"] = self.variables.gathered(told["facts"])
        told["notified"] = list(self._handlers.handed_back)
        return self._record.pieces(told, wall or self.wall)


def _described(done):
    """Return `ansible_failed_task`: what a rescue section gets to know of the failed task."""
    node = done.node
    described = {"name": done.name, "action": node["module"], "ignore_errors": None, "register": node.get("register")}
    described.update(no_log=node.get("no_log"), check_mode=node.get("check_mode"), args=done.arguments)
    return described
