# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Waiting for jobs, in repeated calls of limited length. Callers pass in the clock, the pauses and the calls."""

from __future__ import annotations

import math
import typing as t
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.plugin_utils._host.transport import BACK_OFF, ConnectionLost
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT
from ansible_collections.background.jobs.plugins.plugin_utils._options import WaitOptions
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.progress import Progress
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.selection import Target, View

MAX_BLOCK = 15.0
MAX_BYTES = 8 * 1024 * 1024
GRACE = 10.0
# A host that never answered is given up after this time, even if the wait itself has no limit.
FIRST_CONTACT = 300.0
# The call that launches jobs waits for their end no longer than this.
_FIRST_BLOCK = 5.0
# The pause after a call that returned at once without news.
_BREATH = 0.5

Reply = dict[str, t.Any]


class WaitFailed(Exception):
    """The host answered a call with a failure; `result` is its answer."""

    def __init__(self, result: dict[str, t.Any]) -> None:
        super().__init__(str(result.get("msg", "")))
        self.result = result


@dataclass(frozen=True, slots=True)
class Begun:
    """The answer on the jobs that the call that launched them brought, and for how many seconds it waited."""

    reply: Reply
    waited: float


@dataclass(slots=True)
class Surroundings:
    """All that a wait needs from outside; prepare: is given the views before each call."""

    call: Callable[[dict[str, t.Any]], Reply]
    reset: Callable[[], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    say: Callable[[str, list[View]], None]
    prepare: Callable[[list[View]], None] = lambda views: None


@dataclass(slots=True)
class WaitOutcome:
    views: list[View]
    elapsed: float = 0.0
    timed_out: bool = False
    unreachable: str | None = None
    missing: bool = False
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Unreachable(Exception):
    pass


class Waiter:
    """Waits for one list of jobs."""

    def __init__(self, targets: list[Target], options: WaitOptions, surroundings: Surroundings, host: str) -> None:
        self.targets = targets
        self.options = options
        self.surroundings = surroundings
        self.progress = Progress(host, options.poll)
        self.views: list[View] = [target.known or _unseen(target) for target in targets]
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.start = surroundings.clock()
        self.deadline = self.start + options.timeout if options.timeout else math.inf
        self.kill_at = self.start  # when processes that were told to end are killed
        self.contact = False
        self.missing = False

    def run(self) -> WaitOutcome:
        outcome = WaitOutcome(views=self.views, errors=self.errors, warnings=self.warnings)
        try:
            outcome.timed_out = self._wait()
            if outcome.timed_out and self.options.on_timeout == "cancel":
                self._cancel()
        except _Unreachable as exc:
            outcome.unreachable = str(exc)
        if outcome.unreachable is None and not self.errors:
            self._clean_up()
        outcome.missing = self.missing
        outcome.elapsed = self.surroundings.clock() - self.start
        return outcome

    def take(self, begun: Begun) -> None:
        """Take over the wait from the call that launched the jobs."""
        waited = min(max(begun.waited, 0.0), MAX_BLOCK)  # the host's claim, bounded
        self.start -= waited
        self.deadline -= waited
        self.contact = True
        for index, job in enumerate(begun.reply["jobs"]):
            self._update(index, job, begun.reply)

    def _pending(self) -> list[int]:
        """Return the indexes of the jobs whose end, or result, or the end of their leftover processes, is still to come."""
        ending = [index for index, view in enumerate(self.views) if view.get("ending")]
        return sorted({*self._unanswered(), *ending})

    def _unanswered(self) -> list[int]:
        """Return the indexes of the jobs whose end, or result, is still to come."""
        return [index for index, view in enumerate(self.views) if not view["finished"] or view.get("deferred")]

    def _wait(self) -> bool:
        """Wait; return whether the time ran out."""
        while True:
            pending = self._pending()
            if not pending or self.errors or self._satisfied():
                return False
            now = self.surroundings.clock()
            # Results that did not fit into the last reply are fetched even after the deadline.
            deferred = any(self.views[index].get("deferred") for index in pending)
            if now >= self.deadline and not deferred and self.contact:
                return True
            self.surroundings.prepare(self.views)
            before, unanswered = self._states(), len(self._unanswered())
            # processes without a supervisor are ended only by calls of cancel
            op = "cancel" if any(self.views[index].get("ending") for index in pending) else "wait"
            self._ask(op, pending, 0.0 if deferred else self._block(now), told=True)
            if deferred and len(self._unanswered()) >= unanswered:
                self._give_up_on_deferred()
                return False
            changed = self._states() != before
            self._tell(changed)
            if not changed and not deferred and self.surroundings.clock() - now < _BREATH < self.deadline - now:
                self.surroundings.sleep(_BREATH)

    def _give_up_on_deferred(self) -> None:
        """Give up: each answer should bring at least one result, and a host that sends none would be asked for ever."""
        for target, view in zip(self.targets, self.views, strict=True):
            if view.get("deferred"):
                self.errors.append(
                    f"{target.where}: the host says that {target.jid} has a result, but does not send it"
                )

    def _satisfied(self) -> bool:
        if self.options.mode != "any":
            return False
        return any(
            view["finished"] and not view.get("deferred") and view["state"] != states.SKIPPED for view in self.views
        )

    def _block(self, now: float) -> float:
        return max(0.0, min(MAX_BLOCK, self.options.poll or MAX_BLOCK, self.deadline - now))

    def _states(self) -> list[str]:
        return [view["state"] for view in self.views]

    def _tell(self, changed: bool) -> None:
        if self._pending() and not self._satisfied():
            line = self.progress.line(self.views, self.surroundings.clock(), changed)
            if line is not None:
                self.surroundings.say(line, self.views)

    def _ask(self, op: str, indexes: list[int], block: float = 0.0, told: bool = False) -> Reply:
        jobs = [(self.targets[index].jid, self.targets[index].directory) for index in indexes]
        request = _request(op, jobs)
        if op != "forget":
            request.update(block=block, max_bytes=MAX_BYTES)
        if op == "wait":
            request["mode"] = self.options.mode
            for job, index in zip(request["jobs"], indexes, strict=True):
                if "revision" in self.views[index]:
                    job["revision"] = self.views[index]["revision"]
        if op == "cancel":
            request.update(grace=max(0.0, self.kill_at - self.surroundings.clock()), told=told)
            for job, index in zip(request["jobs"], indexes, strict=True):
                job["ending"] = self.views[index].get("ending")
        reply = self._call(request)
        for index, job in zip(indexes, reply["jobs"], strict=True):
            if op != "forget":
                self._update(index, job, reply)
        return reply

    def _call(self, request: dict[str, t.Any]) -> Reply:
        attempt = 0
        while True:
            try:
                reply = self.surroundings.call(request)
            except ConnectionLost as exc:
                self._back_off(attempt, exc)
                attempt += 1
                # The time for waiting has passed while there was no connection.
                if "block" in request:
                    request["block"] = min(request["block"], self._block(self.surroundings.clock()))
            else:
                self.contact = True
                return reply

    def _back_off(self, attempt: int, exc: ConnectionLost) -> None:
        now = self.surroundings.clock()
        limit = self.deadline if self.contact else min(self.deadline, self.start + FIRST_CONTACT)
        pause = min(BACK_OFF[min(attempt, len(BACK_OFF) - 1)], limit - now)
        if pause <= 0:
            raise _Unreachable(str(exc)) from exc
        self.surroundings.say(self.progress.lost(str(exc), pause), self.views)
        self.surroundings.sleep(pause)
        self.surroundings.reset()

    def _update(self, index: int, job: View, reply: Reply) -> None:
        if "error" in job:
            self._mistaken(index, job, reply)
            return
        if job.get("unchanged"):
            _run_on(self.views[index], reply)
            return
        target = self.targets[index]
        view = {key: value for key, value in job.items() if key not in ("jid", "dir")}
        view["ansible_job_id"] = target.jid
        view["name"] = target.name or job.get("name") or target.jid
        if "item" not in job and target.item is not ABSENT and not job.get("no_log"):
            view["item"] = target.item
        _run_on(view, reply)
        self.views[index] = view

    def _mistaken(self, index: int, job: View, reply: Reply) -> None:
        target = self.targets[index]
        directory = job.get("dir") or target.directory or reply.get("async_dir") or "the async directory"
        if job["error"] == "not_found":
            why = f"{target.jid} is not in {directory} of user {reply.get('user') or '?'}"
            self.missing = True
        else:
            why = f"{target.jid} in {directory}: {job.get('msg') or 'its record cannot be read'}"
        self.views[index] = {**self.views[index], "state": states.LOST, "finished": True, "msg": f"{why}."}
        self.errors.append(f"{target.where}: {why}")

    def _cancel(self) -> None:
        until = self.surroundings.clock() + 3 * GRACE
        self.kill_at = until - 2 * GRACE
        self.deadline = max(self.deadline, until)
        told = False
        while (pending := self._pending()) and self.surroundings.clock() < until:
            self._ask("cancel", pending, MAX_BLOCK, told=told)
            told = True

    def _clean_up(self) -> None:
        wanted = {"none": (), "succeeded": (states.SUCCEEDED,), "ended": tuple(states.TERMINAL)}[self.options.cleanup]
        ended = [
            index
            for index, view in enumerate(self.views)
            if self.targets[index].jid is not None
            and self.targets[index].known is None
            and view["finished"]
            and view["state"] in wanted
        ]
        if not ended:
            return
        try:
            self._ask("forget", ended)
        except _Unreachable as exc:
            self.warnings.append(f"The records of {len(ended)} jobs were not removed: {exc}")


def first_request(jids: list[str], options: WaitOptions) -> dict[str, t.Any]:
    """Return the request that the call that launches these jobs makes at once: see Begun."""
    block = min(_FIRST_BLOCK, options.poll or MAX_BLOCK, options.timeout or MAX_BLOCK)
    request = _request("wait", [(jid, None) for jid in jids])
    return {**request, "mode": options.mode, "block": block, "max_bytes": MAX_BYTES}


def _request(op: str, jobs: list[tuple[str | None, str | None]]) -> dict[str, t.Any]:
    """Return what all requests about these jobs have (their form: module_utils/_protocol/requests.py)."""
    return {"op": op, "jobs": [{"jid": jid, "dir": directory} for jid, directory in jobs]}


def _run_on(view: View, reply: Reply) -> None:
    if view.get("started_at") is not None and not view.get("finished"):
        view["running_for"] = max(0.0, reply["now"] - view["started_at"])


def _unseen(target: Target) -> View:
    view: View = {
        "name": target.name or target.jid,
        "ansible_job_id": target.jid,
        "state": states.QUEUED,
        "finished": False,
    }
    if target.item is not ABSENT:
        view["item"] = target.item
    return view
