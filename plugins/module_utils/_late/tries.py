# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The attempts at one turn of a task: its calls, and how its own conditions judge their results."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._late import local_actions, results
from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed
from ansible_collections.background.jobs.plugins.module_utils._late.tokens import Tokens, argument_with
from ansible_collections.background.jobs.plugins.module_utils._late.values import OMIT
from ansible_collections.background.jobs.plugins.module_utils._protocol import defaults, states
from ansible_collections.background.jobs.plugins.module_utils._protocol import results as protocol
from ansible_collections.background.jobs.plugins.module_utils._supervisor import recipes, scheduler
from ansible_collections.background.jobs.plugins.module_utils._supervisor.attempts import Call, Wait

_RETRIES = 3  # the default for a task with `until`
_NO_FRAME = "Configure `DISPLAY_TRACEBACK` to see a traceback on timeout errors."
_NO_JSON = "Module result deserialization failed: No start of json char found"


class Stopped(Exception):
    """The current call or wait of a task was stopped, which ends the task."""

    def __init__(self, state, outcome):
        super().__init__(state)
        self.state, self.outcome = state, outcome


class TimeIsUp(local_actions.ActionFailed):
    """A task took longer than its own timeout. more: further keys of its result."""

    def __init__(self, period, printed):
        super().__init__("Timed out after %s second(s)." % period)
        self.more = {key: printed[key] for key in protocol.PRINTED if key in printed}
        self.more["timedout"] = {"frame": _NO_FRAME, "period": period}


class Tries:
    """task: a Task; turn: from the script; view: what its expressions see; variables: those of the loop in this turn."""

    def __init__(self, task, turn, view, variables):
        self._task, self._turn, self._view, self._variables = task, turn, view, variables
        self._executor, self._node, self._core = task.executor, task.node, task.core
        self._limit, self._delay = 1, defaults.DELAY
        self._tokens = Tokens(self._executor.token, self._late)  # once for all attempts, as core evaluates arguments
        self.made = 0
        self.state = None  # the state, if the result does not imply it
        self.why = None  # a reason that the result does not give
        self.notify = ()
        self.ignores = False

    def _render(self, value):
        return self._task.render(self._view, value)

    def _holds(self, value):
        return self._task.holds(self._view, value)

    # ---- the keywords of the task

    def prepare(self):
        """Evaluate the keywords of the task, but not its arguments."""
        node = self._node
        self.ignores = self._boolean(node.get("ignore_errors", False))
        if not isinstance(node.get("name", ""), str):
            self._task.name = str(self._render(node["name"]))
        retries, delay = self._number("retries", int), self._number("delay", float)
        if retries is None:
            retries = _RETRIES if node.get("until") else 0
        self._limit = 1 + max(0, retries)
        if delay is not None:
            self._delay = delay if delay >= 0 else 1.0
        self.notify = list(_flat(self._render(list(node.get("notify", ())))))

    def _boolean(self, value):
        return value if isinstance(value, bool) else local_actions.boolean(self._render(value))

    def _number(self, keyword, kind):
        value = self._node.get(keyword)
        value = value if value is None else self._render(value)
        if value is None or value is OMIT:
            return None
        try:
            return kind(value)
        except (TypeError, ValueError):
            raise local_actions.ActionFailed(
                "The value %r could not be converted to '%s'." % (value, kind.__name__)
            ) from None

    # ---- one attempt after the other

    def run(self):
        """Yield the actions of all attempts that are needed, and return the Result of the last."""
        again = self._limit > 1
        while True:
            self.made += 1
            result = yield from self._attempt()
            if again:
                result.value["attempts"] = self.made
            self._judge(result)
            if not again or self._is_done(result):
                return result
            if self.made == self._limit:
                result.exhausted(self._limit - 1)
                return result
            yield Wait(
                self._executor.now
                + scheduler.pause(self._delay, self._node.get("backoff", defaults.BACKOFF), self.made)
            )
            if self._executor.is_over(self._task.where):
                return result

    def _judge(self, result):
        """Apply the task's changed_when and failed_when to a result."""
        node = self._node
        if self._variables:
            self._task.loop.mark(result, self._variables)
        self._task.see(result)
        if result.effect is not None:
            self._view.returned(*result.effect)
        if result.skipped:
            return
        if node.get("changed_when"):
            outcome = self._outcome(node["changed_when"])
            result.set_changed_when(outcome)
            if not isinstance(outcome, bool):
                return
        if node.get("failed_when"):
            result.set_failed_when(self._outcome(node["failed_when"]))

    def _outcome(self, conditions):
        try:
            return all(self._holds(value) for dummy, value in conditions)
        except TemplateFailed as exc:
            return str(exc)

    def _is_done(self, result):
        until = self._node.get("until")
        if not until:
            return not result.failed
        try:
            return all(self._holds(value) for dummy, value in until)
        except TemplateFailed as exc:
            raise self._task.keyword_failed("An 'until'", exc) from None

    def _attempt(self):
        try:
            if "local" in self._turn:
                result = yield from self._local()
            else:
                result = yield from self._calls()
        except Stopped as exc:
            is_own = exc.state == states.TIMED_OUT and self._executor.fate is None
            if not is_own or not self._node.get("timeout"):
                raise
            self.state, self.why = exc.state, exc.outcome.result.get("msg")
            raise TimeIsUp(self._node["timeout"], exc.outcome.result) from None
        return result

    # ---- the work itself

    def _local(self):
        executor = self._executor
        context = local_actions.Context(self._render, self._holds, self._node["module"], executor)
        action = local_actions.run(self._turn["local"], self._turn.get("args"), context)
        try:
            while True:
                seconds = next(action)
                yield Wait(executor.now + seconds)
                if executor.is_over(self._task.where):
                    raise Stopped(executor.fate, executor.ended())
        except StopIteration as end:
            return end.value
        finally:
            self._task.arguments = context.given

    def _calls(self):
        tokens = self._tokens
        self._task.put_files(self._view, self._turn, tokens)
        for number in range(len(self._turn.get("late", ()))):
            tokens.of(number)  # all are evaluated before anything is done
        step = self._step(tokens)
        if not self._turn.get("recipe"):
            outcome = yield from self._call(step, 0, tokens, first=True)
            return self._understood(outcome)
        recipe = recipes.begin(tokens.fill(self._turn["recipe"]))
        first, answer = True, None
        try:
            while True:
                number = recipe.send(answer)
                outcome = yield from self._call(step, number, tokens, first)
                first, answer = False, outcome.result
        except StopIteration as end:
            return self._understood(protocol.of(end.value))
        finally:
            recipe.close()

    def _call(self, step, number, tokens, first):
        call = self._turn["calls"][number]
        self._executor.is_first_call = first
        event = yield Call(step, dict(call, params=tokens.arguments(call["params"])))
        if event[0] == "stopped":
            raise Stopped(*event[1:])
        return event[1]

    def _understood(self, outcome):
        if not protocol.has_no_result(outcome):
            return results.of_module(outcome.result, self._core)
        self.why = outcome.result["msg"]
        printed = {key: value for key, value in outcome.result.items() if key != "parsed"}
        return results.of_module(dict(printed, msg=_NO_JSON), self._core)

    def _late(self, number):
        """Return the value of a token."""
        try:
            return self._render(self._turn["late"][number])
        except TemplateFailed as exc:
            token = "%s_%d_" % (self._executor.token, number)
            for call in self._turn.get("calls", ()):
                name = argument_with(token, call["params"])
                if name is not None:
                    raise TemplateFailed(local_actions.finalization(self._node["module"], name, exc)) from None
            raise

    def _step(self, tokens):
        """Return the step for the supervisor: all that it has to know of the task, except the call."""
        node, turn = self._node, self._turn
        step = {"name": self._task.name, "module": node["module"], "environment": self._environment(tokens)}
        step["retries"] = 1  # whatever the task says, because a script may run it again
        if node.get("timeout"):
            step["timeout"] = node["timeout"]
        if self._executor.is_hidden(node):
            step["no_log"] = True
        if turn.get("staged"):
            step["staged"] = turn["staged"]
        return step

    def _environment(self, tokens):
        environment = tokens.fill(self._turn.get("environment", {}))
        for layer in self._node.get("environment", ()):
            rendered = self._render(layer)
            if isinstance(rendered, dict):
                environment.update(rendered)
            elif rendered is not OMIT and rendered is not None:
                raise local_actions.ActionFailed("environment must be a dictionary, received %s" % (rendered,))
        return {name: str(value) for name, value in environment.items()}


def _flat(topics):
    for topic in topics:
        if isinstance(topic, list):
            yield from topic
        else:
            yield topic
