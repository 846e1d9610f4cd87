# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._core.asking import Recorder
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused


class FakeHandler:
    """An action plugin, as far as its calls are caught."""

    def __init__(self) -> None:
        self._task = types.SimpleNamespace(action="x", args={"a": 1})
        self.executed: list[tuple[str, dict[str, t.Any]]] = []
        self.commands: list[str] = []

    def _execute_module(self, module: str, arguments: dict[str, t.Any], **dummy: t.Any) -> dict[str, t.Any]:
        self.executed.append((module, arguments))
        self._low_level_execute_command("mkdir")
        return {"ansible_facts": {"ansible_pkg_mgr": "apt"}}

    def _low_level_execute_command(self, command: str) -> None:
        self.commands.append(command)


def armed(lookups: dict[str, t.Any] | None = None) -> tuple[FakeHandler, Recorder]:
    handler = FakeHandler()
    recorder = Recorder({} if lookups is None else lookups)
    recorder.arm(handler)
    return handler, recorder


def test_the_call_that_would_be_async_is_caught() -> None:
    handler, recorder = armed()
    handler._execute_module(module_name="m", module_args={"b": 2}, wrap_async=1, ignore_unknown_opts=True)  # type: ignore[call-arg]
    assert recorder.caught is not None
    assert (recorder.caught.module, recorder.caught.arguments, recorder.caught.ignore_unknown) == ("m", {"b": 2}, True)
    assert handler.executed == []


def test_without_a_name_it_is_the_module_of_the_task() -> None:
    handler, recorder = armed()
    handler._execute_module(wrap_async=True)  # type: ignore[call-arg]
    assert recorder.caught is not None and (recorder.caught.module, recorder.caught.arguments) == ("x", {"a": 1})


def test_finding_something_out_is_done_once_a_launch() -> None:
    lookups: dict[str, t.Any] = {}
    first, dummy = armed(lookups)
    second, dummy = armed(lookups)
    for handler in (first, first, second):
        facts = handler._execute_module("ansible.legacy.setup", {"filter": "ansible_pkg_mgr"})
        assert facts["ansible_facts"]["ansible_pkg_mgr"] == "apt"
        facts.clear()
    assert (len(first.executed), len(second.executed), first.commands) == (1, 0, ["mkdir"])


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda handler: handler._execute_module("ansible.legacy.command", {}), "runs 'ansible.legacy.command' itself"),
        (lambda handler: handler._low_level_execute_command("rm"), "runs commands on the host itself"),
        (lambda handler: handler._find_needle("files", "x"), "files from the controller"),
        (lambda handler: [handler._execute_module(wrap_async=1) for dummy in range(2)], "more than one module"),
    ],
)
def test_what_would_be_done_before_the_job_is_refused(use: t.Callable[[t.Any], object], words: str) -> None:
    handler, dummy = armed()
    with pytest.raises(Refused, match=words):
        use(handler)
    assert handler.executed == [] and handler.commands == []
