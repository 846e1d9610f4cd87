# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest
from ansible.template import is_trusted_as_template, trust_as_template

from ansible_collections.background.jobs.plugins.plugin_utils._core import core as _core
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


def armed(lookups: dict[str, t.Any] | None = None) -> tuple[FakeHandler, _core._Recorder]:
    handler = FakeHandler()
    recorder = _core._Recorder({} if lookups is None else lookups)
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


def action(module: str = "somewhere", windows: bool = False, verb: str = "async_run", seconds: int = 0) -> t.Any:
    shell = types.SimpleNamespace(_IS_WINDOWS=windows)
    kind = type("Action", (), {"__module__": module})
    made: t.Any = kind()
    made._connection = types.SimpleNamespace(_shell=shell)
    made._task = types.SimpleNamespace(action=f"background.jobs.{verb}", async_val=seconds)
    return made


def test_windows_and_mitogen_are_refused() -> None:
    _core.refuse_unsupported_controller(action())
    with pytest.raises(Refused, match="Windows"):
        _core.refuse_unsupported_controller(action(windows=True))
    with pytest.raises(Refused, match="Mitogen"):
        _core.refuse_unsupported_controller(action("ansible_mitogen.mixins"))


@pytest.mark.parametrize(
    ("verb", "instead"),
    [
        ("async_run", "launches in the background already.*'wait: true'"),
        ("async_batch", "launches in the background already.*'timeout' limits the jobs"),
        ("async_wait", "is what waits.*'timeout' limits the wait"),
        ("async_cancel", "Leave out 'async'"),
        ("async_info", "Leave out 'async'"),
        ("async_prune", "Leave out 'async'"),
    ],
)
def test_async_on_our_own_tasks_is_refused_and_told_what_to_do(verb: str, instead: str) -> None:
    with pytest.raises(Refused, match=f"'async' on a task of {verb}.*{instead}"):
        _core.refuse_unsupported_controller(action(verb=verb, seconds=60))
    _core.refuse_unsupported_controller(action(verb=verb))


def test_templates_are_compiled_once_and_never_confused() -> None:
    compiled: list[str] = []

    class Engine:
        def _compile_template(self, text: str, options: object) -> str:
            compiled.append(text)
            return f"{text}!"

    engine: t.Any = Engine()
    _core._remember_compiled(engine)
    texts = [f"{{{{ item }}}} {number}" for number in range(1500)]
    assert [engine._compile_template(text, None) for text in texts for dummy in range(3)] == [
        f"{text}!" for text in texts for dummy in range(3)
    ]
    assert compiled == texts


def test_variables_win_as_those_of_plain_tasks_do() -> None:
    core = object.__new__(_core.Core)
    core.task_vars = {"inventory": 1, "found": 1, "extra": 1}
    core._extra_vars = {"extra": 1}
    core._found_out = {"found", "extra"}
    every = dict.fromkeys(("inventory", "found", "extra", "loop"), "mine")
    assert core.scope({**every, "new": "mine"}, {}, {}, {}) == {"loop": "mine", "new": "mine"}
    assert core.scope({}, every, {}, {}) == {"inventory": "mine", "loop": "mine"}
    assert core.scope({}, {"found": "weak"}, every, {}) == {"inventory": "mine", "found": "mine", "loop": "mine"}
    assert core.scope({"loop": 1}, {"loop": 2}, {"loop": 3}, every) == every


def test_what_the_play_has_found_out_is_known_by_name() -> None:
    manager = types.SimpleNamespace(
        _vars_cache={"h": {"read": 1}, "other": {"x": 1}}, _nonpersistent_fact_cache={"h": {"set": 1}}
    )
    task: t.Any = types.SimpleNamespace(_variable_manager=manager, _role=None, get_include_params=lambda: {"handed": 1})
    assert sorted(_core._found_out(task, {"inventory_hostname": "h"})) == ["handed", "read", "set"]


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("command: uptime", {"command": "uptime"}),
        ('{"command": "uptime"}', {"command": "uptime"}),
        ("[{command: uptime}, {command: echo}]", [{"command": "uptime"}, {"command": "echo"}]),
        ("command: echo {{ x }}", {"command": "echo {{ x }}"}),
        ("echo", "echo"),
        ("{{ tasks }}", "{{ tasks }}"),
        ("{{ one + two }}", "{{ one + two }}"),
    ],
)
def test_tasks_may_be_a_text_as_on_a_command_line(text: str, tasks: object) -> None:
    found = _core._from_text(trust_as_template(text))
    assert found == tasks
    if isinstance(found, dict):
        assert is_trusted_as_template(found["command"])


def test_what_nobody_has_typed_is_no_task() -> None:
    assert _core._from_text("command: uptime") == "command: uptime"


def test_what_is_nearly_yaml_is_told() -> None:
    with pytest.raises(Refused, match=r"not the YAML or JSON of tasks.*flow sequence"):
        _core._from_text(trust_as_template("command: [x"))
