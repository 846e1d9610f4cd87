# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What action plugins need around waits and other work: remote calls, reconnecting, progress lines, the result."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from collections.abc import Collection

from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.utils.display import Display

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing
from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._core import kept, late, notes, own_task
from ansible_collections.background.jobs.plugins.plugin_utils._errors import printable
from ansible_collections.background.jobs.plugins.plugin_utils._host import replies, transport
from ansible_collections.background.jobs.plugins.plugin_utils._host.codec import decode_result
from ansible_collections.background.jobs.plugins.plugin_utils._host.transport import ConnectionLost
from ansible_collections.background.jobs.plugins.plugin_utils._options import WaitOptions
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import report
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.progress import Progress
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.selection import Target, View
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import (
    Begun,
    Surroundings,
    Waiter,
    WaitFailed,
)

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

Result = dict[str, t.Any]

display = Display()

_LAUNCHING = ("async_batch", "async_run")
# Seconds during which calls that seem to have been cut off count as that, and not as failures.
_BENEFIT_OF_DOUBT = 30.0


def wait(
    remote: Remote, task_vars: dict[str, t.Any], targets: list[Target], options: WaitOptions, begun: Begun | None = None
) -> Result:
    """Wait for `targets`; return the result of the task."""
    entries = report.Entries(decode_result)
    surroundings = dataclasses.replace(surroundings_of(remote), prepare=entries.prepare)
    waiter = Waiter(targets, options, surroundings, str(task_vars.get("inventory_hostname") or "localhost"))
    if begun:
        waiter.take(begun)
    try:
        outcome = waiter.run()
    except WaitFailed as exc:
        return exc.result
    result = report.build(outcome, entries, options.on_timeout, options.timeout)
    remote.hand_on(result, options.set_facts)
    return result


def surroundings_of(remote: Remote) -> Surroundings:
    return Surroundings(call=remote.call, reset=remote.reset, clock=time.monotonic, sleep=time.sleep, say=remote.say)


class Remote:
    """The host of a task, as far as its jobs are concerned; module: the one that answers there."""

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any], module: str = "async_wait") -> None:
        self._action = action
        self._module = module
        self._task_vars = task_vars
        self._async_dir = _options.async_dir(action)
        self._cut_off_since: float | None = None
        self._commands = transport.Commands()
        self._events = own_task.flag(action, task_vars, "background_jobs_callbacks", False)

    def call(self, request: dict[str, t.Any]) -> dict[str, t.Any]:
        result = self.execute(_request=packing.pack(request))
        if result.get("failed") or "reply" not in result:
            raise WaitFailed(
                failure(result, "the host did not answer the request. With -vvv, Ansible shows what it said instead.")
            )
        try:
            return replies.unpacked(result["reply"], request)
        except replies.Malformed as exc:
            raise WaitFailed(failure({}, malformed(exc))) from exc

    def call_until_answered(self, request: dict[str, t.Any]) -> dict[str, t.Any]:
        """Like `call`, but repeated for a while if the connection breaks: for requests that may be sent twice."""
        try:
            return self.send(lambda: self.call(request))[0]
        except (transport.Unreached, transport.Unanswered) as exc:
            raise ConnectionLost(str(exc)) from exc

    def send(self, call: t.Callable[[], Result], patience: float = transport.PATIENCE) -> tuple[Result, bool]:
        """See transport.send."""
        progress = Progress(str(self._task_vars.get("inventory_hostname") or "localhost"), 0.0)
        options = self._action._connection.get_options()
        line = transport.Line(
            call=call,
            reset=self.reset,
            clock=time.monotonic,
            sleep=time.sleep,
            say=lambda why, pause: self.say(progress.lost(why, pause), []),
            retries=int(options.get("reconnection_retries") or 0),
            patience=patience,
        )
        return transport.send(line)

    def attempt(self, work: t.Callable[[], Result]) -> Result:
        """Return what `work` returns; raise ConnectionLost if the connection broke meanwhile."""
        try:
            with self._commands.watching(self._action._connection):
                return work()
        except AnsibleAuthenticationFailure:
            raise  # trying again does not help
        except AnsibleConnectionFailure as exc:
            raise self._lost(str(exc)) from exc
        except AnsibleError as exc:
            self._take_for_lost(exc)
            raise

    def execute(self, **arguments: object) -> Result:
        """Return what the module returns; raise ConnectionLost if it is unknown what the module did."""
        # Modules that launch answer the same requests as async_wait: the host may have kept one of them.
        others = _LAUNCHING if self._module in ("async_wait", *_LAUNCHING) else ()
        modules = dict.fromkeys([self._module, *others])
        calls = [
            (module, {**_options.SMALLEST[module], **arguments, "_async_dir": self._async_dir}) for module in modules
        ]
        result = self.attempt(lambda: kept.execute(self._action, calls, self._task_vars))
        if result.get("unreachable"):
            raise self._lost(str(result.get("msg") or "the host is unreachable"))
        if why := transport.stopped(result):
            raise ConnectionLost(why)
        self._take_for_lost(result)
        return result

    def _lost(self, why: str) -> ConnectionLost:
        return ConnectionLost(why, untold=bool(self._action._task.no_log) and not self._commands.reached)

    def _take_for_lost(self, reply: Result | Exception) -> None:
        """Raise ConnectionLost if a call seems to have been cut off, unless calls have been for too long."""
        why = transport.cut_off(reply)
        if not why:
            self._cut_off_since = None
            return
        now = time.monotonic()
        self._cut_off_since = self._cut_off_since or now
        if now - self._cut_off_since < _BENEFIT_OF_DOUBT:
            raise ConnectionLost(why)

    def keeps(self) -> set[str]:
        """Return the hashes of the parts of launches that the host keeps (shared.py), as far as it has reported."""
        return notes.Notes(self._action, self._task_vars).shared(self._async_dir)

    def note_kept(self, hashes: Collection[str], before: Collection[str]) -> None:
        """Remember for `keeps` the shared parts of this launch, and those known before."""
        notes.Notes(self._action, self._task_vars).note_shared(self._async_dir, hashes, before)

    def hand_on(self, result: Result, set_facts: bool) -> None:
        """Notify the handlers of the play that jobs have notified, and on request make the jobs' facts facts of the host."""
        variables, facts, notified = report.to_hand_on(result["jobs"])
        late.notify(self._action, notified)
        if set_facts:
            late.hand_on(self._action, result, variables, facts)

    def reset(self) -> None:
        reset = getattr(self._action._connection, "reset", None)
        if reset is None:
            return
        try:
            reset()
        except AnsibleError as exc:
            display.vvv(f"the connection could not be reset: {exc}")

    def say(self, line: str, views: list[View]) -> None:
        display.display(printable(line))
        if self._events:
            own_task.send_poll_event(self._action, self._task_vars, views)


def malformed(exc: replies.Malformed) -> str:
    return f"What the host answered cannot be right, and none of it is used: {exc}."


def failure(reply: Result, otherwise: str) -> Result:
    """Return the result of a task whose remote call failed. If it has an exception, core writes the message."""
    result = {**reply, "failed": True, "changed": False}
    if isinstance(result.get("msg"), str):
        result["msg"] = printable(result["msg"])
    return result if "exception" in reply else {"msg": otherwise, **result}
