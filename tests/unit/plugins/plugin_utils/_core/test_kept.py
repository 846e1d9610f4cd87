# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import sys
import types
import typing as t
from pathlib import Path

import pytest
from ansible._internal._templating._utils import Omit
from ansible.executor.module_common import _BuiltModule
from ansible.plugins.shell import ShellBase
from ansible.template import Templar, trust_as_template

from ansible_collections.background.jobs.plugins.plugin_utils._core import kept

KEPT = {"path": "/d/it's.code", "sha256": "0" * 64}
CALLS = [("async_wait", {"_request": "r"}), ("async_batch", {"tasks": [], "_request": "r"})]


class FakeConnection:
    transport = "ssh"

    def __init__(self) -> None:
        self._shell = ShellBase()
        self.become: t.Any = None
        self.options = {"host": "a", "password": "secret"}

    def get_options(self) -> dict[str, t.Any]:
        return self.options


class FakeAction:
    """An action plugin, as far as it makes a call: what it sends, and what is answered."""

    def __init__(self, *answers: dict[str, t.Any]) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, bytes]] = []
        self._connection = FakeConnection()
        self._task = types.SimpleNamespace(delegate_to=None)
        self._templar: t.Any = types.SimpleNamespace(template=lambda value: value)

    def _configure_module(self, module_name: str, module_args: t.Any, task_vars: t.Any) -> tuple[t.Any, str]:
        task_vars.setdefault("ansible_facts", {})["discovered_interpreter_python"] = "/found"
        return _BuiltModule(
            b_module_data=b"all", module_style="new", shebang="#!/found", serialization_profile="legacy"
        ), "/x.py"

    def _execute_module(self, name: str, arguments: dict[str, t.Any], task_vars: t.Any) -> dict[str, t.Any]:
        arguments["_ansible_no_log"] = False
        bits, dummy = self._configure_module(module_name=name, module_args=arguments, task_vars=task_vars)
        assert (bits.module_style, bits.shebang) == ("new", "#!/found")
        build = self._connection._shell.build_module_command
        self.commands = [
            build("A=1", f"#!{sys.executable}", cmd="").strip(),
            build("", "#!/found", "/tmp/x.py", arg_path=None),
        ]
        self.sent.append((name, bits.b_module_data))
        return self.answers.pop(0)


def execute(folder: Path, action: FakeAction, task_vars: dict[str, t.Any], calls: t.Any = tuple(CALLS)) -> t.Any:
    return kept.execute(t.cast("t.Any", action), calls, task_vars, folder)


@pytest.fixture
def task_vars() -> dict[str, t.Any]:
    return {"inventory_hostname": "a"}


def whole(action: FakeAction) -> list[tuple[str, bool]]:
    return [(name.rpartition(".")[2], data == b"all") for name, data in action.sent]


def test_the_second_call_is_short(tmp_path: Path, task_vars: dict[str, t.Any]) -> None:
    action = FakeAction({"reply": 1, "kept": KEPT}, {"reply": 2})
    assert [execute(tmp_path, action, task_vars) for dummy in range(2)] == [{"reply": 1}, {"reply": 2}]
    assert whole(action) == [("async_wait", True), ("async_wait", False)]


def test_what_is_sent_in_short_says_what_to_run(tmp_path: Path, task_vars: dict[str, t.Any]) -> None:
    action = FakeAction({"kept": KEPT}, {})
    for dummy in range(2):
        execute(tmp_path, action, task_vars, [("async_run", {"_plan": "\"'''\\ é"})])
    text = action.sent[1][1].decode()
    assert text.startswith("#!/found\n")
    assert len(text) < 4000
    told = "\ndef run(*words):\n    print(json.dumps(words))\n\nARGUMENTS = "
    program = text.replace("\nARGUMENTS = ", told)
    done = subprocess.run([sys.executable], input=program, capture_output=True, text=True, check=True)
    path, sha256, module, arguments, files = json.loads(done.stdout)
    assert files == 0
    assert {"path": path, "sha256": sha256} == KEPT
    assert module == "ansible_collections.background.jobs.plugins.modules.async_run"
    assert json.loads(arguments) == {"ANSIBLE_MODULE_ARGS": {"_plan": "\"'''\\ é", "_ansible_no_log": False}}


def test_another_module_that_does_the_same_is_called_where_it_is_kept(
    tmp_path: Path, task_vars: dict[str, t.Any]
) -> None:
    action = FakeAction({"kept": KEPT}, {"reply": 1})
    execute(tmp_path, action, task_vars, CALLS[1:])
    execute(tmp_path, action, task_vars)
    assert whole(action) == [("async_batch", True), ("async_batch", False)]


def test_what_is_not_kept_any_more_is_sent_again(tmp_path: Path, task_vars: dict[str, t.Any]) -> None:
    action = FakeAction({"kept": KEPT}, {"not_kept": "gone"}, {"reply": 1}, {"reply": 2})
    assert [execute(tmp_path, action, task_vars) for dummy in range(3)] == [{}, {"reply": 1}, {"reply": 2}]
    assert [is_whole for dummy, is_whole in whole(action)] == [True, False, True, True]


@pytest.mark.parametrize("change", ["host", "become", "interpreter", "found", "delegated"])
def test_notes_are_of_one_user_and_interpreter_of_a_host(
    tmp_path: Path, task_vars: dict[str, t.Any], change: str
) -> None:
    action = FakeAction({"kept": KEPT}, {})
    execute(tmp_path, action, task_vars)
    if change == "host":
        action._connection.options["host"] = "b"
    elif change == "become":
        action._connection.become = types.SimpleNamespace(name="sudo", get_option=lambda name: "x")
    elif change == "interpreter":
        task_vars["ansible_python_interpreter"] = "/other"
    elif change == "found":
        task_vars["ansible_facts"] = {"discovered_interpreter_python": "/other"}
    else:
        action._task.delegate_to = "b"
        task_vars["ansible_delegated_vars"] = {"b": {"inventory_hostname": "b"}}
    execute(tmp_path, action, task_vars)
    assert [is_whole for dummy, is_whole in whole(action)] == [True, True]


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        "x",
        {"path": "/d/a.code"},
        {"path": "a.code", "sha256": "0" * 64},
        {"path": "/d/a.code", "sha256": 7},
        {"path": "/d/a.zip", "sha256": "0" * 64},
    ],
)
def test_what_no_host_says_of_what_it_keeps_is_not_noted(
    tmp_path: Path, task_vars: dict[str, t.Any], told: object
) -> None:
    action = FakeAction({"kept": told}, {"reply": 1})
    execute(tmp_path, action, task_vars)
    execute(tmp_path, action, task_vars)
    assert [is_whole for dummy, is_whole in whole(action)] == [True, True]


@pytest.mark.parametrize(("most", "sent"), [(1024, 1024), ("1024", 1024), ("{{ 512 * two }}", 1024), ("{{ omit }}", 0)])
def test_a_limit_for_open_files_goes_along(
    tmp_path: Path, task_vars: dict[str, t.Any], most: int | str, sent: int
) -> None:
    written = trust_as_template(most) if isinstance(most, str) else most
    task_vars["ansible_python_module_rlimit_nofile"] = written
    action = FakeAction({"kept": KEPT}, {"reply": 1})
    action._templar = Templar(variables={"two": 2, "omit": Omit})
    execute(tmp_path, action, task_vars)
    execute(tmp_path, action, task_vars)
    assert action.sent[1][1].endswith(b"', ARGUMENTS, %d)\n" % sent)


def test_secrets_are_not_noted(tmp_path: Path, task_vars: dict[str, t.Any]) -> None:
    action = FakeAction({"kept": KEPT}, {})
    execute(tmp_path, action, task_vars)
    action._connection.options["password"] = "another"
    execute(tmp_path, action, task_vars)
    assert [is_whole for dummy, is_whole in whole(action)] == [True, False]


def test_what_was_kept_of_another_version_is_sent_again(
    tmp_path: Path, task_vars: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    action = FakeAction({"kept": KEPT}, {"kept": KEPT}, {})
    execute(tmp_path, action, task_vars)
    monkeypatch.setattr(kept.sources, "of_own", lambda module: "another")
    execute(tmp_path, action, task_vars)
    execute(tmp_path, action, task_vars)
    assert [is_whole for dummy, is_whole in whole(action)] == [True, True, False]


def test_a_program_that_is_piped_is_read_at_once(tmp_path: Path, task_vars: dict[str, t.Any]) -> None:
    action = FakeAction({})
    execute(tmp_path, action, task_vars)
    piped, sent = action.commands
    assert sent == "/found /tmp/x.py"
    program = "import sys\nif __name__ == '__main__':\n    print(len(sys.argv), sys.stdin.read(), 'é')\n"
    done = subprocess.run(["sh", "-c", piped], input=program, capture_output=True, text=True, check=True)
    assert done.stdout == "1  é\n"
    assert not vars(action._connection._shell).get("build_module_command"), "other tasks are as they were"
