# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""One task of a script, with its loop and conditions, carried out as by ansible-core's TaskExecutor."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._late import (
    late_files,
    local_actions,
    loop_items,
    results,
)
from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed
from ansible_collections.background.jobs.plugins.module_utils._late.tries import Stopped, Tries
from ansible_collections.background.jobs.plugins.module_utils._late.variables import View
from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.module_utils._supervisor.attempts import Wait

_CONDITION = "Conditional result was False"


class TurnResult:
    """The result of a task, or of one turn of its loop, and what is known of it besides."""

    def __init__(self, result, state, started):
        self.result, self.state, self.started = result, state, started
        self.attempts = 1
        self.notify = ()
        self.ignores = False  # whether the task ignores failures
        self.index = None  # of its entry in the report
        self.variables = {}  # of its turn of the loop
        self.item = None  # the item as it is shown, in a list
        self.why = None  # what the result does not say

    @property
    def ignored(self):
        """Whether it has failed, and the failure is ignored."""
        return self.ignores and self.state not in (states.SUCCEEDED, states.SKIPPED)


class Task:
    """executor: the Executor of its script; where: its place in the script."""

    def __init__(self, executor, node, where):
        self.executor, self.node, self.where = executor, node, where
        self.core = executor.core
        self.loop = loop_items.Loop(node, self.core)
        self.name = node.get("name") if isinstance(node.get("name"), str) else node["module"]
        self.during = {}  # what it has returned so far
        self.arguments = {}  # of its last turn, as far as they are known
        self.turns = []
        self.looped = False
        self.result = None  # of all of it
        self.returned = None  # its value before it is registered
        self.was_stopped = False

    @property
    def ignored(self):
        """Whether its failure is ignored."""
        if results.version_of(self.core) >= (2, 21):
            return any(turn.ignores for turn in self.turns)
        return all(turn.ignores for turn in self.turns if turn.result.failed)

    def refuse(self, why):
        """Make the task fail afterwards, for this reason. Return its last turn."""
        turn = self.turns[-1]
        turn.result.value.update(failed=True, msg=why)
        turn.state = states.FAILED
        self.result.value.update(failed=True, msg=why)
        return turn

    def run(self):
        """Yield the actions of the task; `turns` and `result` then hold the outcome."""
        error = None
        self.executor.started = self.executor.now
        try:
            turns = self.loop.turns(self._evaluate_loop, self._item_of)
        except (loop_items.NoList, TemplateFailed) as exc:
            if not _is_undefined(exc):
                self._add(self.new_turn(results.failure(str(exc), self.core, bare=True)))
                return
            turns, error = None, exc
        except Stopped as exc:
            self._add(self._of_stopped(exc))
            return
        if turns is None:
            yield from self._one((self.node.get("turns") or [{}])[0], {}, error)
        elif turns:
            yield from self._all(turns)
        else:
            self._add(self.new_turn(results.no_items(self.core)))

    def _all(self, turns):
        self.looped = True
        pause = self.node.get("loop_control", {}).get("pause")
        for position, (turn, variables) in enumerate(turns):
            if pause and position:
                yield Wait(self.executor.now + pause)
            self.was_stopped = self.was_stopped or self.executor.is_over(self.where)
            if self.was_stopped:
                break
            yield from self._one(turn, variables)
            try:
                if self._breaks(turn, variables):
                    break
            except TemplateFailed as exc:
                self.turns, self.looped = [], False
                self._add(self.new_turn(results.failure(str(exc), self.core, bare=True)))
                return
        self.result = results.of_loop([turn.result for turn in self.turns], self.core)
        self.returned = self.result.value

    def _breaks(self, turn, variables):
        """Say whether the loop ends with the current item. If the condition fails, so does this item; before core 2.21 the
        whole loop fails, and TemplateFailed is raised."""
        conditions = self.node.get("loop_control", {}).get("break_when")
        if not conditions or self.was_stopped:
            return False
        view, done = self.view(turn, variables), self.turns[-1]
        try:
            outcome = all(self.holds(view, value) for dummy, value in conditions)
        except TemplateFailed as exc:
            if results.version_of(self.core) < (2, 21):
                raise
            outcome, done.state = str(exc), states.FAILED
        except Stopped as exc:
            self._add(self._of_stopped(exc))
            return True
        done.result.set_break_when(outcome)
        self.executor.amend(self, done)
        return bool(outcome)

    def _one(self, turn, variables, error=None):
        view = self.view(turn, variables)
        try:
            done = yield from self._turn(turn, view, variables, error)
        except Stopped as exc:
            done = self._of_stopped(exc)
        done.variables = variables
        if variables:
            self.loop.mark(done.result, variables)
            done.item = [self._shown(turn, view, variables)]
        elif "item" in turn:
            done.item = [turn["item"]]
        self.see(done.result)
        self._add(done)

    def _add(self, turn):
        self.turns.append(turn)
        self.result, self.returned = turn.result, turn.result.value
        if not self.looped:
            self.result.register()
        self.executor.took_turn(self, turn, self.where)

    def _of_stopped(self, stopped):
        self.was_stopped = True
        return self.new_turn(results.Result(dict(stopped.outcome.result), self.core), stopped.state)

    def new_turn(self, result, state=None):
        """Return a TurnResult that ends now in `state`, or if that is None, in the state that its Result implies."""
        if state is None:
            state = states.SKIPPED if result.skipped else states.FAILED if result.failed else states.SUCCEEDED
        turn = TurnResult(result, state, self.executor.started)
        turn.ignores = self.node.get("ignore_errors") is True
        return turn

    # ---- what expressions see

    def view(self, turn, variables):
        known = {"frames": self.where.frames, "loop": variables, "during": self.during}
        return View(self.executor.variables, self.node, turn, **known)

    def render(self, view, value):
        return self.executor.evaluate(self.executor.engine.scope(view).render, value)

    def holds(self, view, value):
        return self.executor.evaluate(self.executor.engine.scope(view).holds, value)

    def put_files(self, view, turn, tokens):
        """Put those files of a turn into their place whose contents are known only now."""
        scope = self.executor.engine.scope(view)
        self.executor.evaluate(
            lambda stage: late_files.put(turn, tokens, scope, stage, self.node["module"]), self.executor.stage
        )

    def _evaluate_loop(self, value):
        return self.render(self.view({}, {}), value)

    def _item_of(self, turn):
        """Return the item of a turn that was known at launch."""
        if self.loop.name in turn.get("pinned", ()):
            return self.render(self.view(turn, {}), {"$expr": self.loop.name})
        return turn.get("item")

    def see(self, result):
        """Let conditions of the task see a result under the name that it registers."""
        if self.node.get("register"):
            self.during[self.node["register"]] = result.value

    def _shown(self, turn, view, variables):
        item = variables[self.loop.name]
        label = self.node.get("loop_control", {}).get("label")
        if label is None:
            return turn.get("item", item)
        try:
            return self.render(view, label)
        except (TemplateFailed, Stopped):
            return item

    # ---- one turn

    def _turn(self, turn, view, variables, error):
        self.executor.started = self.executor.now
        tries = Tries(self, turn, view, variables)
        try:
            result = yield from self._unless_skipped(turn, view, error, tries)
            result.finish()
        except (TemplateFailed, local_actions.ActionFailed) as exc:
            message = str(exc) if getattr(exc, "bare", False) else "Task failed: %s" % exc
            result = results.failure(message, self.core, **getattr(exc, "more", {}))
        done = self.new_turn(result, tries.state)
        done.attempts, done.notify, done.why = max(tries.made, 1), tries.notify, tries.why
        done.ignores = done.ignores or tries.ignores
        return done

    def _unless_skipped(self, turn, view, error, tries):
        if turn.get("skip") or "false_condition" in turn:
            return results.skipped(turn.get("skip") or _CONDITION, self.core, turn.get("false_condition"))
        false = self._false_condition(view, error)
        if false is not None:
            return results.skipped(_CONDITION, self.core, false[0])
        if error is not None:
            raise error
        tries.prepare()
        result = yield from tries.run()
        return result

    def _false_condition(self, view, error):
        """Return the first condition that does not hold, in a list, or None; error: why its loop could not be evaluated."""
        for written, value in self.node.get("when", ()):
            try:
                if not self.holds(view, value):
                    return [written]
            except TemplateFailed as exc:
                raise error or self.keyword_failed("A 'when'", exc) from None
        return None

    def keyword_failed(self, keyword, exc):
        """Return the failure of a condition, as core words it."""
        has_prefix = results.version_of(self.core) >= (2, 21)
        return TemplateFailed("%s expression failed: %s" % (keyword, exc) if has_prefix else str(exc))


def _is_undefined(failure):
    """Say whether a loop failed because of an undefined variable: then `when` may still skip the task."""
    return "is undefined" in str(failure) or "has no attribute" in str(failure)
