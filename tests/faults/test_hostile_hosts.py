# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host in the hands of somebody else: what it answers harms neither the controller nor the terminal."""

from __future__ import annotations

import base64
import json
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

JID = "j123456789012345.0"
EVIL = "evil\x1b[2J\x1b]0;title\x07\u202e\r"
JOB = {"jid": JID, "dir": "/d", "name": EVIL, "msg": EVIL, "source": "background.jobs", "started_at": 1.0}
RUNNING = {**JOB, "state": "running", "finished": False}
DEFERRED = {**JOB, "state": "succeeded", "finished": True, "ended_at": 2.0, "deferred": True}
BOMB = 700 * 1024 * 1024


class Hostile:
    """A host whose Python prints a prepared answer to every request."""

    def __init__(self, folder: Path, packed: bytes) -> None:
        self.name = "hostile"
        self._python = folder / "python"
        answer = folder / "answer"
        reply = base64.b64encode(packed).decode("ascii")
        answer.write_text(json.dumps({"changed": False, "reply": reply}))
        self._python.write_text(f"#!/bin/sh\nexec cat '{answer}'\n")
        self._python.chmod(0o755)

    def variables(self) -> dict[str, Any]:
        return {"ansible_connection": "local", "ansible_python_interpreter": str(self._python)}


def packed(*jobs: dict[str, Any]) -> bytes:
    reply = {"now": 100.0, "user": EVIL, "async_dir": EVIL, "jobs": jobs, "troubles": [EVIL], "leftovers": []}
    return zlib.compress(json.dumps(reply).encode("ascii"))


def waiting(**options: Any) -> list[dict[str, Any]]:
    return [{"name": "wait", "background.jobs.async_wait": {"jobs": JID, **options}}]


def test_a_bomb_is_not_unpacked(tmp_path, play) -> None:
    stream = zlib.compressobj(1)
    bomb = b"".join(stream.compress(b" " * 1024 * 1024) for dummy in range(BOMB // 1024 // 1024)) + stream.flush()
    played = play([Hostile(tmp_path, bomb)], waiting(), check=False, timeout=120)
    told = played.result("wait")
    assert told["failed"]
    assert "none of it is used" in told["msg"] and "more than" in told["msg"]


@pytest.mark.parametrize("timeout", [0, 3])
def test_a_result_that_never_comes_ends_the_wait(tmp_path, play, timeout) -> None:
    began = time.monotonic()
    played = play([Hostile(tmp_path, packed(DEFERRED))], waiting(timeout=timeout), check=False, timeout=120)
    told = played.result("wait")
    assert told["failed"]
    assert f"{JID} has a result, but does not send it" in told["msg"]
    assert time.monotonic() - began < 60


def test_a_job_that_never_ends_is_left_when_the_time_is_up(tmp_path, play) -> None:
    played = play([Hostile(tmp_path, packed(RUNNING))], waiting(timeout=3, poll=1), check=False, timeout=120)
    assert "did not finish within 3s" in played.result("wait")["msg"]


def test_nothing_acts_on_the_terminal(tmp_path, play) -> None:
    tasks = [
        *waiting(timeout=2, poll=1, on_timeout="return"),
        {"name": "list", "background.jobs.async_info": {}, "register": "found"},
        {"name": "draw", "ansible.builtin.debug": {"msg": "{{ found.jobs | background.jobs.timeline }}"}},
    ]
    env = {"ANSIBLE_STDOUT_CALLBACK": "default", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    played = play([Hostile(tmp_path, packed(RUNNING))], tasks, check=False, timeout=120, env=env)
    assert "1 running (evil" in played.output
    for text in (played.output, played.errors):
        assert not {"\x1b", "\x07", "\u202e", "\r"} & set(text)
        assert "\\u001b" not in text and "\\u202e" not in text
