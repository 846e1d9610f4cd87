# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""One task of a script: its conditions, its loop, its attempts, and what comes of them, as ansible-core's TaskExecutor."""

from __future__ import annotations

import json

from ansible_collections.background.jobs.plugins.module_utils._protocol import results as protocol
from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.module_utils._supervisor import recipes, scheduler
from ansible_collections.background.jobs.plugins.module_utils._supervisor.attempts import Call, Wait

from . import local_actions, loop_items, results
from .failures import TemplateFailed
from .tokens import Tokens
from .values import OMIT
from .variables import View

_CONDITION = "Conditional result was False"
_RETRIES = 3  # of a task with `until` that does not say how many
_TIME_IS_UP = "Configure `DISPLAY_TRACEBACK` to see a traceback on timeout errors."
_NO_JSON = "Module result deserialization failed: No start of json char found"


class Stopped(Exception):
    """What the task had under way was stopped."""

    def __init__(self, state, outcome):
        super().__init__(state)
        self.state, self.outcome = state, outcome


class Turn:
    """What came of a task, or of one turn of its loop."""

    def __init__(self, result, state, started):
        self.result, self.state = result, state
        self.started = started
        self.attempts = 1
        self.notify = ()
        self.ignored = False
        self.shown = None  # its item, as it is shown, in a list
        self.why = None  # what the result does not say


class Task:
    """executor: what there is around it, see executor.py; where: its place in the script."""

    def __init__(self, executor, node, where):
        self._executor = executor
        self._node = node
        self._where = where
        self._core = executor.core
        self._during = {}  # what it has returned so far
        self._loop = loop_items.Loop(node, self._core)
        self.name = node.get("name") if isinstance(node.get("name"), str) else node["module"]
        self.turns = []
        self.result = None  # of all of it
        self.was_stopped = False

    def run(self):
        """Yield the actions of the task; `turns` and `result` then tell what came of it."""
        error = None
        try:
            turns = self._loop.turns(self._evaluate_loop)
        except loop_items.NoList as exc:
            self._add(self._new_turn(results.failure(str(exc), self._core, bare=True)))
            return
        except TemplateFailed as exc:
            if not _is_undefined(exc):
                self._add(self._new_turn(results.failure(str(exc), self._core, bare=True)))
                return
            turns, error = None, exc
        if turns is None:
            yield from self._one(self._node["turns"][0] if self._node.get("turns") else {}, {}, error)
        elif not turns:
            self._add(self._new_turn(results.no_items(self._core), states.SKIPPED))
        else:
            yield from self._all(turns)

    def _all(self, turns):
        pause = self._node.get("loop_control", {}).get("pause")
        for position, (turn, variables) in enumerate(turns):
            if pause and position:
                yield Wait(self._executor.now + pause)
            if self._executor.is_over(self._where):
                self.was_stopped = True
                break
            yield from self._one(turn, variables)
            if self.was_stopped:
                break
        self.result = results.of_loop([turn.result for turn in self.turns], self._core)

    def _one(self, turn, variables, error=None):
        view = self._view(turn, variables)
        try:
            done = yield from self._turn(turn, view, variables, error)
        except Stopped as exc:
            self.was_stopped = True
            done = self._new_turn(results.Result(exc.outcome.result, self._core), exc.state, self._executor.started)
        if variables:
            self._loop.mark(done.result, variables)
            done.shown = [self._shown(turn, view, variables)]
        elif "item" in turn:
            done.shown = [turn["item"]]
        self._see(done.result)
        self._add(done)

    def _add(self, turn):
        self.turns.append(turn)
        self.result = turn.result
        self._executor.took_turn(self, turn, self._where)

    def _new_turn(self, result, state=None, started=None):
        if state is None:
            state = states.SKIPPED if result.skipped else states.FAILED if result.failed else states.SUCCEEDED
        turn = Turn(result, state, self._executor.now if started is None else started)
        turn.ignored = state not in (states.SUCCEEDED, states.SKIPPED) and self._node.get("ignore_errors") is True
        return turn

    # ---- what expressions see

    def _view(self, turn, variables):
        return View(self._executor.variables, self._node, turn, self._where.frames, variables, self._during)

    def _scope(self, view):
        return self._executor.engine.scope(view)

    def _render(self, view, value):
        return self._executor.evaluate(self._scope(view).render, value)

    def _holds(self, view, value):
        return self._executor.evaluate(self._scope(view).holds, value)

    def _evaluate_loop(self, value):
        return self._render(self._view({}, {}), value)

    def _see(self, result):
        register = self._node.get("register")
        if register:
            self._during[register] = result.value

    def _shown(self, turn, view, variables):
        label = self._node.get("loop_control", {}).get("label")
        if label is None:
            return turn.get("item", variables[self._loop.name])
        try:
            return self._render(view, label)
        except TemplateFailed:
            return variables[self._loop.name]

    # ---- one turn

    def _turn(self, turn, view, variables, error):
        self._executor.started = started = self._executor.now
        attempts = _Attempts(self, turn, view, variables)
        try:
            result = yield from self._unless_skipped(turn, view, error, attempts)
            result.finish()
        except (TemplateFailed, local_actions.ActionFailed) as exc:
            bare = getattr(exc, "bare", False)
            result = results.failure(str(exc) if bare else "Task failed: %s" % exc, self._core)
        done = self._new_turn(result, attempts.state if result.failed else None, self._executor.started or started)
        done.attempts, done.notify, done.why = max(attempts.made, 1), attempts.notify, attempts.why
        done.ignored = done.ignored or (attempts.ignores and done.state not in (states.SUCCEEDED, states.SKIPPED))
        return done

    def _unless_skipped(self, turn, view, error, attempts):
        if turn.get("skip") or "false_condition" in turn:
            return results.skipped(turn.get("skip") or _CONDITION, self._core, turn.get("false_condition"))
        false = self._false_condition(view, error)
        if false is not None:
            return results.skipped(_CONDITION, self._core, false[0])
        if error is not None:
            raise error
        attempts.prepare()
        result = yield from attempts.run()
        return result

    def _false_condition(self, view, error):
        """Return the first condition that does not hold, in a list, or None."""
        for written, value in self._node.get("when", ()):
            try:
                if not self._holds(view, value):
                    return [written]
            except TemplateFailed as exc:
                if error is not None:
                    raise error from None
                raise self.keyword_failed("A 'when'", exc) from None
        return None

    def keyword_failed(self, keyword, exc):
        """Return the failure of a condition, as core words it."""
        has_prefix = results.version_of(self._core) >= (2, 21)
        return TemplateFailed("%s expression failed: %s" % (keyword, exc) if has_prefix else str(exc))


def _is_undefined(failure):
    return "is undefined" in str(failure) or "has no attribute" in str(failure)


class _Attempts:
    """The attempts at one turn of a task."""

    def __init__(self, task, turn, view, variables):
        self._task, self._turn, self._view, self._variables = task, turn, view, variables
        self._executor, self._node, self._core = task._executor, task._node, task._core
        self.made = 0
        self.state = None  # where it is not just failed
        self.why = None
        self.notify = ()
        self.ignores = False

    def _render(self, value):
        return self._task._render(self._view, value)

    def _holds(self, value):
        return self._task._holds(self._view, value)

    def prepare(self):
        """Work out what the task says of itself."""
        node = self._node
        self.ignores = self._boolean(node.get("ignore_errors", False))
        if not isinstance(node.get("name", ""), str):
            self._task.name = str(self._render(node["name"]))
        retries = self._number("retries", int)
        self._limit = 1 + (max(0, retries) if retries is not None else _RETRIES if node.get("until") else 0)
        delay = self._number("delay", float)
        self._delay = scheduler.DELAY if delay is None else 1.0 if delay < 0 else delay
        topics = self._render(list(node.get("notify", ())))
        self.notify = [topic for entry in topics for topic in (entry if isinstance(entry, list) else [entry])]

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
            result.value["retries"] = self._limit
            backoff = self._node.get("backoff", 1.0)
            yield Wait(self._executor.now + scheduler.pause(self._delay, backoff, self.made))
            if self._executor.is_over(self._task._where):
                return result

    def _judge(self, result):
        """Have the task's own conditions say whether it has changed something, and whether it has failed."""
        if self._variables:
            self._task._loop.mark(result, self._variables)
        self._task._see(result)
        if result.effect is not None:
            self._view.returned(*result.effect)
        if result.skipped:
            return
        node = self._node
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

    # ---- what it does

    def _attempt(self):
        try:
            if "local" in self._turn:
                result = yield from self._local()
            else:
                result = yield from self._calls()
        except Stopped as exc:
            if exc.state != states.TIMED_OUT or self._executor.fate is not None or not self._node.get("timeout"):
                raise
            self.state, self.why = exc.state, exc.outcome.result.get("msg")
            raise self._time_is_up(exc.outcome.result) from None
        return result

    def _time_is_up(self, printed):
        period = self._node["timeout"]
        more = {key: printed[key] for key in protocol.PRINTED if key in printed}
        more["timedout"] = {"frame": _TIME_IS_UP, "period": period}
        return _Failure("Timed out after %s second(s)." % period, more)

    def _local(self):
        context = local_actions.Context(
            self._render,
            self._holds,
            self._core,
            self._node["module"],
            self._executor.verbosity,
            lambda: self._executor.now,
            self._executor.wall,
        )
        action = local_actions.run(self._turn["local"], self._turn.get("args"), context)
        try:
            while True:
                seconds = next(action)
                yield Wait(self._executor.now + seconds)
                if self._executor.is_over(self._task._where):
                    raise Stopped(self._executor.fate, self._executor.ended())
        except StopIteration as end:
            return end.value

    def _calls(self):
        tokens = Tokens(self._executor.token, self._late)
        for number in range(len(self._turn.get("late", ()))):
            tokens.of(number)  # all are worked out before anything is done
        step = self._step(tokens)
        self._executor.render_files(self._turn, tokens, self._render)
        if not self._turn.get("recipe"):
            outcome = yield from self._call(step, 0, tokens, first=True)
            return self._understand(outcome)
        recipe = recipes.begin(tokens.fill(self._turn["recipe"]))
        first, answer = True, None
        try:
            while True:
                number = recipe.send(answer)
                outcome = yield from self._call(step, number, tokens, first)
                first, answer = False, outcome.result
        except StopIteration as end:
            return self._understand(protocol.of(end.value))
        finally:
            recipe.close()

    def _call(self, step, number, tokens, first):
        call = self._turn["calls"][number]
        self._executor.is_first_call = first
        event = yield Call(step, dict(call, params=tokens.arguments(call["params"])))
        if event[0] == "stopped":
            raise Stopped(*event[1:])
        return event[1]

    def _understand(self, outcome):
        if protocol.has_no_result(outcome):
            self.why = outcome.result["msg"]
            printed = {key: value for key, value in outcome.result.items() if key != "parsed"}
            return results.of_module(dict(printed, msg=_NO_JSON), self._core)
        return results.of_module(outcome.result, self._core)

    def _late(self, number):
        """Return the value of a token."""
        try:
            return self._render(self._turn["late"][number])
        except TemplateFailed as exc:
            token = "%s_%d_" % (self._executor.token, number)
            for call in self._turn.get("calls", ()):
                name = _argument_with(token, call["params"])
                if name is not None:
                    raise TemplateFailed(local_actions.finalization(self._node["module"], name, exc)) from None
            raise

    def _step(self, tokens):
        """Return what the supervisor has to know of the task besides a call."""
        node, turn = self._node, self._turn
        step = {
            "name": self._task.name,
            "module": node["module"],
            "environment": self._environment(tokens),
            "retries": 1,  # a script may come back to it, whatever it says
        }
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


class _Failure(local_actions.ActionFailed):
    def __init__(self, message, more):
        super().__init__(message)
        self.more = more


def _argument_with(token, params):
    """Return the name of the argument of a call that holds a token, None where it cannot be told."""
    if token not in params:
        return None
    try:
        arguments = json.loads(params)
    except ValueError:
        return None
    arguments = arguments.get("ANSIBLE_MODULE_ARGS", arguments)
    return next((name for name, value in arguments.items() if token in json.dumps(value) or token in name), None)
