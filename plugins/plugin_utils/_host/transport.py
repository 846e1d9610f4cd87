# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Repeats a request until a host answers: only one that may be repeated, such as a launch, as hosts start a batch only once."""

from __future__ import annotations

import contextlib
import re
import signal
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PATIENCE = 60.0
BACK_OFF = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between tries; the last one from then on

Reply = dict[str, t.Any]

# Docker's message if there is no running container.
_STOPPED = "Error response from daemon: .*(?:is not running|is paused|is restarting|No such container)"
# Messages that mean that nothing was sent to the host: it is as unreachable as for any other task.
_NEVER_REACHED = re.compile(
    "ssh: connect to host |ssh: Could not resolve hostname |Permission denied \\(|Host key verification failed|"
    + _STOPPED
)
# How core reports a host (a container, say) that stops in the middle of a call: a file transfer that failed without a
# message, or a process that was killed before it had printed anything.
_NOT_TAKEN = re.compile(r"failed to transfer file .*:\s*\Z", re.DOTALL)
_KILLED = (128 + signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGKILL, -signal.SIGTERM)


class ConnectionLost(Exception):
    """A call did not get through; another may.

    untold: the reason is hidden, because the task has `no_log`, and no command of the call was carried out before: as far
    as can be known without the message, the host was never reached.
    """

    def __init__(self, text: str, untold: bool = False) -> None:
        super().__init__(text)
        self.untold = untold


class Unreached(Exception):
    """There was no connection to the host, and nothing was sent."""


class Unanswered(Exception):
    """The connection broke, and did not come back: it is unknown what the host has done."""


class Commands:
    """Notes whether commands were sent and carried out through a connection, whatever errors say."""

    def __init__(self) -> None:
        self.carried_out = False
        self.sent_data = False

    @property
    def reached(self) -> bool:
        """Whether something may have been done on the host: a command returned, or one was sent its input."""
        return self.carried_out or self.sent_data

    @contextlib.contextmanager
    def watching(self, connection: t.Any) -> Iterator[None]:
        really = connection.exec_command

        def exec_command(cmd: str, in_data: bytes | None = None, *rest: t.Any, **more: t.Any) -> t.Any:
            self.sent_data = self.sent_data or bool(in_data)
            result = really(cmd, in_data, *rest, **more)
            self.carried_out = True
            return result

        connection.exec_command = exec_command
        try:
            yield
        finally:
            del connection.exec_command


@dataclass(slots=True)
class Line:
    """All that sending needs from outside.

    retries: those that the connection itself makes; patience: seconds for which a lost host is tried again.
    """

    call: Callable[[], Reply]
    reset: Callable[[], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    say: Callable[[str, float], None]
    retries: int = 0
    patience: float = PATIENCE


def cut_off(reply: Reply | Exception) -> str:
    """Return why a call counts as cut off, "" if it is an answer or a real failure.

    reply: what a module returned, or the error of a transfer.
    """
    if isinstance(reply, Exception):
        return str(reply).strip() if _NOT_TAKEN.search(str(reply)) else ""
    if reply.get("module_stdout") == "" and reply.get("rc") in _KILLED:
        return f"the module was killed before it could answer, rc {reply['rc']}"
    return ""


def stopped(reply: Reply) -> str:
    """Return why a host counts as unreachable although core reports a module's failure, "" if it does not."""
    said = str(reply.get("module_stderr") or "").strip()
    return said if reply.get("module_stdout") == "" and re.match(_STOPPED, said) else ""


def send(line: Line) -> tuple[Reply, bool]:
    """Return the host's answer, and whether it was asked only once; raise Unreached or Unanswered.

    A host without a connection is tried once more; one that was lost is tried again for the line's patience.
    """
    attempt, give_up, was_reached = 0, 0.0, False
    while True:
        try:
            return line.call(), attempt == 0
        except ConnectionLost as exc:
            # One of the connection's own retries may have reached the host before the last one did not; but not if
            # the first command, which starts nothing, was not carried out.
            was_reached = was_reached or not (exc.untold or (line.retries == 0 and _NEVER_REACHED.search(str(exc))))
            now = line.clock()
            give_up = give_up or now + line.patience
            pause = min(BACK_OFF[min(attempt, len(BACK_OFF) - 1)], give_up - now)
            if attempt and not was_reached:
                raise Unreached(str(exc)) from exc
            if pause <= 0:
                raise Unanswered(str(exc)) from exc
            line.say(str(exc), pause)
        line.sleep(pause)
        line.reset()
        attempt += 1
