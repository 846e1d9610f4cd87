# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import typing as t

import pytest
from ansible.errors import AnsibleError

from ansible_collections.background.jobs.plugins.plugin_utils._host import transport
from ansible_collections.background.jobs.plugins.plugin_utils._host.transport import ConnectionLost

BROKEN = "Failed to connect to the host via ssh: Shared connection to 127.0.0.1 closed."
REFUSED = "Failed to connect to the host via ssh: ssh: connect to host web1 port 22: Connection refused"

CENSORED = "Failed to connect to the host via ssh: <error censored due to no log>"


class FakeHost:
    """Answers with what it is given, texts as failures of the connection; the last of them again and again."""

    def __init__(self, *answers: t.Any, retries: int = 0, takes: float = 0.0) -> None:
        self.answers = list(answers)
        self.takes = takes
        self.now = 0.0
        self.pauses: list[float] = []
        self.calls = 0
        self.resets = 0
        self.reached = False
        self.said: list[str] = []
        self.line = transport.Line(
            self._call, self._reset, lambda: self.now, self._sleep, lambda why, pause: self.said.append(why), retries
        )

    def _call(self) -> dict[str, t.Any]:
        self.calls += 1
        self.now += self.takes
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, str):
            raise ConnectionLost(answer, untold=answer == CENSORED and not self.reached)
        return t.cast("dict[str, t.Any]", answer)

    def _reset(self) -> None:
        self.resets += 1

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_an_answer_is_an_answer() -> None:
    host = FakeHost({"pid": 1})
    assert transport.send(host.line) == ({"pid": 1}, True)
    assert (host.calls, host.pauses, host.said) == (1, [], [])


def test_a_connection_that_broke_is_made_anew_and_the_host_asked_again() -> None:
    host = FakeHost(BROKEN, REFUSED, REFUSED, {"states": []})
    assert transport.send(host.line) == ({"states": []}, False)
    assert host.pauses == [1.0, 2.0, 4.0]
    assert host.resets == 3
    assert host.said == [BROKEN, REFUSED, REFUSED]


@pytest.mark.parametrize("takes", [0.0, 7.0])
def test_a_host_that_was_lost_is_given_up_after_a_minute(takes: float) -> None:
    host = FakeHost(BROKEN, REFUSED, takes=takes)
    with pytest.raises(transport.Unanswered, match="Connection refused"):
        transport.send(host.line)
    assert transport.PATIENCE <= host.now <= transport.PATIENCE + 3 * takes


def test_a_host_may_be_tried_for_longer() -> None:
    host = FakeHost(BROKEN, REFUSED)
    host.line.patience = 300.0
    with pytest.raises(transport.Unanswered):
        transport.send(host.line)
    assert host.now == 300.0


@pytest.mark.parametrize(
    "why",
    [
        REFUSED,
        "ssh: Could not resolve hostname web1: Name or service not known",
        "root@web1: Permission denied (publickey).",
        "Host key verification failed.",
        "Error response from daemon: container 1f is not running",
    ],
)
def test_a_host_that_was_never_reached_is_tried_once_more(why: str) -> None:
    host = FakeHost(why)
    with pytest.raises(transport.Unreached) as caught:
        transport.send(host.line)
    assert str(caught.value) == why
    assert (host.calls, host.pauses) == (2, [1.0])
    assert transport.send(FakeHost(REFUSED, {"pid": 1}).line) == ({"pid": 1}, False)


def test_a_host_that_the_connection_itself_tried_more_often_may_have_been_reached() -> None:
    host = FakeHost(REFUSED, retries=2)
    with pytest.raises(transport.Unanswered):
        transport.send(host.line)


def test_a_host_may_be_lost_after_it_could_not_be_reached_at_first() -> None:
    host = FakeHost(REFUSED, BROKEN, REFUSED, {"pid": 1})
    assert transport.send(host.line) == ({"pid": 1}, False)


NOT_RUNNING = "Error response from daemon: container 1f is not running"
TRANSFER = "failed to transfer file /tmp/a to /tmp/b/AnsiballZ_async_wait.py:\n"
UNPARSED = {"failed": True, "msg": "Module result deserialization failed", "module_stderr": ""}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (AnsibleError(TRANSFER + "\n"), TRANSFER.strip()),
        (AnsibleError(TRANSFER + "\ndd: error writing '/tmp/b': No space left on device"), ""),
        (AnsibleError("Failed to set permissions on the temporary files"), ""),
        ({**UNPARSED, "module_stdout": "", "rc": 137}, "the module was killed before it could answer, rc 137"),
        ({**UNPARSED, "module_stdout": "", "rc": 143}, "the module was killed before it could answer, rc 143"),
        ({**UNPARSED, "module_stdout": "half a li", "rc": 137}, ""),
        ({**UNPARSED, "module_stdout": "", "module_stderr": "/bin/sh: 1: /usr/bin/python3: not found", "rc": 127}, ""),
        ({**UNPARSED, "module_stdout": "", "module_stderr": NOT_RUNNING, "rc": 1}, ""),
        ({"failed": True, "msg": "no", "rc": 137}, ""),
        ({"reply": "..."}, ""),
    ],
)
def test_a_call_that_was_cut_off_is_told_from_one_that_failed(reply: t.Any, why: str) -> None:
    assert transport.cut_off(reply) == why


@pytest.mark.parametrize(
    ("printed", "said", "why"),
    [
        ("", f"{NOT_RUNNING}\n", NOT_RUNNING),
        (
            "",
            "Error response from daemon: No such container: web1\n",
            "Error response from daemon: No such container: web1",
        ),
        ("half a li", NOT_RUNNING, ""),
        ("", "Error response from daemon: unable to find user nobody2: no matching entries in passwd file", ""),
        ("", "Traceback (most recent call last):", ""),
    ],
)
def test_a_container_that_is_not_there_is_a_host_that_cannot_be_reached(printed: str, said: str, why: str) -> None:
    assert transport.stopped({**UNPARSED, "module_stdout": printed, "module_stderr": said, "rc": 1}) == why
    assert transport.stopped({"reply": "..."}) == ""


@pytest.mark.parametrize("retries", [0, 3])
def test_a_host_that_no_command_reached_is_unreachable_though_nobody_says_why(retries: int) -> None:
    host = FakeHost(CENSORED, retries=retries)
    with pytest.raises(transport.Unreached):
        transport.send(host.line)
    assert host.calls == 2


def test_a_host_that_was_reached_before_is_lost_though_nobody_says_why() -> None:
    host = FakeHost(CENSORED)
    host.reached = True
    with pytest.raises(transport.Unanswered):
        transport.send(host.line)


class Connection:
    """A connection whose commands come back, or not."""

    def __init__(self, breaks: bool) -> None:
        self.breaks = breaks

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        if self.breaks:
            raise AnsibleError("broken")
        return 0, b"", b""


@pytest.mark.parametrize(
    ("breaks", "data", "reached"), [(True, None, False), (True, b"module", True), (False, None, True)]
)
def test_commands_tell_whether_a_host_was_reached(breaks: bool, data: bytes | None, reached: bool) -> None:
    commands, connection = transport.Commands(), Connection(breaks)
    with contextlib.suppress(AnsibleError), commands.watching(connection):
        connection.exec_command("true", data, sudoable=False)
    assert commands.reached is reached
    assert "exec_command" not in vars(connection)
