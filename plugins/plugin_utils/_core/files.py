# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Runs action plugins with a controller half against a stand-in for the host.

What it needs besides the names in core.py, the same in 2.19, 2.20 and 2.21:

- of `ActionBase`: `_transfer_file`, `_fixup_perms2`, `_make_tmp_path`, `_remove_tmp_path`, `_remote_expand_user`,
  `_compute_environment_string`, `_get_remote_user`, `_connection`, `_loader`, `_play_context`;
- of connections: `_shell` with `tmpdir`, `_remote_is_local`;
- that `template` delegates to the action plugin `ansible.legacy.copy`, which it gets from its `_shared_loader_obj`.
"""

from __future__ import annotations

import copy
import typing as t
from pathlib import Path

from ansible import constants as C  # noqa: N812  # as ansible-core names it
from ansible.errors import AnsibleActionFail, AnsibleActionSkip, AnsibleError

from ansible_collections.background.jobs.plugins.plugin_utils._core.asking import Loaders
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, plainly
from ansible_collections.background.jobs.plugins.plugin_utils._model import Become, Step
from ansible_collections.background.jobs.plugins.plugin_utils._plan import actions, recipes, staging
from ansible_collections.background.jobs.plugins.plugin_utils._plan.recipes import Settings, Work
from ansible_collections.background.jobs.plugins.plugin_utils._plan.staging import Store
from ansible_collections.background.jobs.plugins.plugin_utils._plan.tape import (
    ABSENT,
    DIRECTORY,
    SAME,
    Command,
    HostState,
    ModuleCall,
    Tape,
)

Arguments = dict[str, t.Any]
Run = t.Callable[..., t.Any]

_THERE, _NOT_THERE = 0, 1  # the status of the command that checks `creates` and `removes`


def store() -> Store:
    """Return a Store for the files of a launch."""
    return Store(C.DEFAULT_LOCAL_TMP)  # type: ignore[attr-defined]


def send(action: t.Any, files: Store) -> Arguments:
    """Return the part of the plan for the files of a launch; if they are too large for it, they are sent ahead as one file."""
    if files.size <= staging.IN_PLAN:
        return files.in_plan()
    shell = action._connection._shell
    if shell.tmpdir is None:
        action._make_tmp_path()
    remote = shell.join_path(shell.tmpdir, "files")
    action._transfer_file(files.path, remote)
    # The user of the jobs must be able to read it.
    action._fixup_perms2((shell.tmpdir, remote))
    return files.in_plan(remote)


def work_of(handler: t.Any, fqcn: str, step: Step, task_vars: Arguments, files: Store) -> Work:
    """Return the Work of a step whose action plugin has a controller half; the plugin's task is ready to run."""
    task = handler._task
    task.async_val = 0  # with any other number these plugins would refuse
    handler = copy.copy(handler)
    handler._connection = _Connection(handler._connection)
    files.contents = step.contents
    if step.contents is not None and step.contents.template is not None:
        handler._loader = _Loader(handler._loader, step.contents.stand_in)
    recording = _Recording(step, files, task_vars)
    recording.arm(handler)
    try:
        getattr(recording, fqcn.rpartition(".")[2])(handler, handler.run)
    except AnsibleError as exc:
        raise actions.unable(fqcn, _text_of(exc)) from exc
    finally:
        files.contents = None
        task.check_mode, task.diff = step.check_mode, step.diff
    if recording.work is None:
        raise actions.unable(fqcn, str(recording.failure.get("msg") or ""))
    return recording.work


def _text_of(exc: BaseException) -> str:
    """Return the message of an error on one line, without the prefix of unexpected errors."""
    return " ".join(str(exc).split()).removeprefix("Unexpected AnsibleActionFail error: ")


class _Recording:
    """Runs the action plugin of one step against one HostState after the other."""

    def __init__(self, step: Step, files: Store, task_vars: Arguments) -> None:
        self.work: Work | None = None
        self.failure: Arguments = {}
        self._files = files
        self._first = self._last = files.number
        self._tape = Tape(HostState())
        self._step = step
        self._task_vars = task_vars
        most_shown: int = C.MAX_FILE_SIZE_FOR_DIFF  # type: ignore[attr-defined]
        self._settings = Settings(step.check_mode, step.no_log, most_shown)
        self._sent = False

    def arm(self, handler: t.Any) -> None:
        def execute(module_name: str | None = None, module_args: t.Any = None, *dummy: t.Any, **more: t.Any) -> t.Any:
            arguments = dict(handler._task.args if module_args is None else module_args)
            call = ModuleCall(module_name or handler._task.action, arguments, bool(more.get("ignore_unknown_opts")))
            answer = self._tape.answer(call)
            if self._sent and call.leaf != "stat":
                self._next_folder(handler)
            return answer

        def command(cmd: str, *dummy: t.Any, chdir: str | None = None, **more: t.Any) -> t.Any:
            line = cmd.strip()
            if chdir:
                line = handler._connection._shell.append_command(f"cd {chdir}", line)
            executable = handler._play_context.executable or "/bin/sh"
            code = self._tape.run(Command((executable, "-c", line)))
            return {"rc": code, "stdout": "", "stdout_lines": [], "stderr": "", "stderr_lines": []}

        def transfer(local_path: str, remote_path: str) -> str:
            self._tape.events.append(self._files.transfer(str(local_path), str(remote_path)))
            self._sent = True
            return remote_path

        def expand(path: str, sudoable: bool = True, pathsep: object = None) -> str:
            return _expand(handler, path, sudoable, self._step.become)

        handler._execute_module = execute
        handler._low_level_execute_command = command
        handler._transfer_file = transfer
        handler._fixup_perms2 = lambda paths, *dummy, **more: paths
        handler._make_tmp_path = lambda *dummy, **more: handler._connection._shell.tmpdir
        handler._remove_tmp_path = lambda *dummy, **more: None
        handler._remote_expand_user = expand
        # The environment of a job is not part of its command line.
        handler._compute_environment_string = lambda *dummy: ""
        handler._shared_loader_obj = Loaders(self._arm_other)

    def _arm_other(self, name: str, handler: t.Any) -> None:
        """Record an action plugin that another one delegates to, as `template` does to `copy`."""
        self.arm(handler)
        if name.rpartition(".")[2] == "copy":
            handler.run = _Copied(self, handler, handler.run)

    def _next_folder(self, handler: t.Any) -> None:
        self._sent = False
        self._files.number += 1
        self._set_folder(handler)

    def _set_folder(self, handler: t.Any) -> None:
        handler._connection._shell.tmpdir = f"{self._files.token}/{self._files.number}"

    def tape(self, handler: t.Any, run: Run, state: HostState, diff: bool = False, check_mode: bool = False) -> Tape:
        """Run an action plugin against a HostState, and return its Tape."""
        task = handler._task
        arguments, before, folder = task.args, self._tape, handler._connection._shell.tmpdir
        tape = self._tape = Tape(state)
        # Files of the same name have the same place in every state: only one of the states will be real.
        self._files.number = self._first
        self._set_folder(handler)
        task.args = dict(arguments)
        task.check_mode, task.diff = check_mode, diff
        # With copies of variables that the plugin changes: template adds to the search path.
        search_path = list(self._task_vars.get("ansible_search_path", ()))
        try:
            tape.result = dict(run(task_vars={**self._task_vars, "ansible_search_path": search_path}) or {})
        except AnsibleActionSkip as exc:
            tape.result = {**exc.result, "skipped": True, "changed": False, "msg": str(exc.message)}
        except AnsibleActionFail as exc:
            tape.result = {**exc.result, "failed": True, "changed": False, "msg": _text_of(exc)}
        finally:
            task.args, self._tape = arguments, before
            handler._connection._shell.tmpdir = folder
            if self._sent:
                self._sent = False
                self._files.number += 1
            self._last = self._files.number = max(self._last, self._files.number)
        return tape

    def _main(self, handler: t.Any, run: Run, state: HostState, check_mode: bool = False) -> Tape | None:
        """Return the tape of the state in which everything succeeds; None if it does not (`failure`), or is one plain call."""
        tape = self.tape(handler, run, state, self._step.diff, check_mode)
        if tape.result.get("failed"):
            self.failure = tape.result
            return None
        self.work = recipes.plain_call(tape)
        return tape if self.work is None else None

    def copy(self, handler: t.Any, run: Run) -> None:
        absent = self._main(handler, run, HostState())
        if absent is None:
            return
        same = self.tape(handler, run, HostState(stats=(SAME,)))
        into = None
        if recipes.is_single(absent):
            into = self.tape(handler, run, HostState(stats=(DIRECTORY, ABSENT)), self._step.diff)
        self.work = recipes.copy(absent, same, into, self._settings)

    def uri(self, handler: t.Any, run: Run) -> None:
        asked = self._main(handler, run, HostState())
        if asked is not None:
            self.work = recipes.sent(asked)

    def template(self, handler: t.Any, run: Run) -> None:
        rendered = self.tape(handler, run, HostState())  # what it delegates to copy is recorded there
        if rendered.result.get("failed"):
            self.failure = rendered.result

    def assemble(self, handler: t.Any, run: Run) -> None:
        absent = self._main(handler, run, HostState())
        if absent is not None:
            same = self.tape(handler, run, HostState(stats=(SAME,)))
            self.work = recipes.assemble(absent, same, self._settings)

    def unarchive(self, handler: t.Any, run: Run) -> None:
        unpacked = self._main(handler, run, HostState(stats=(DIRECTORY,), codes=(_NOT_THERE,)))
        if unpacked is not None:
            missing = self.tape(handler, run, HostState(codes=(_NOT_THERE,)))
            created = None
            if handler._task.args.get("creates"):
                created = self.tape(handler, run, HostState(codes=(_THERE,)))
            self.work = recipes.unarchive(unpacked, missing, created, self._settings)

    def script(self, handler: t.Any, run: Run) -> None:
        creates, removes = (handler._task.args.get(key) for key in ("creates", "removes"))
        passed = (_NOT_THERE,) if creates else ()
        all_passed = passed + ((_THERE,) if removes else ())
        ran = self._main(handler, run, HostState(codes=(*all_passed, 0)), self._step.check_mode)
        if ran is not None:
            created = self.tape(handler, run, HostState(codes=(_THERE,))) if creates else None
            removed = self.tape(handler, run, HostState(codes=(*passed, _NOT_THERE))) if removes else None
            self.work = recipes.script(ran, created, removed, self._settings)


def _expand(handler: t.Any, path: str, sudoable: bool, become: Become | None) -> str:
    """Replace `~` by the `~user` that core would mean; the host finds the directory when the job runs."""
    if not path.startswith("~"):
        return path
    if ".." in path.split("/")[:-1]:  # core refuses that too
        raise Refused(f"{path!r} leads out of a home directory. Write it without '..'.")
    name, slash, rest = path.partition("/")
    if name == "~":
        if become is not None and sudoable:
            name += become.user
        elif getattr(handler._connection, "_remote_is_local", False):
            name = str(Path.home())
        elif sudoable and handler._connection.become and handler.get_become_option("become_user"):
            name += handler.get_become_option("become_user")
        else:
            name += handler._get_remote_user() or ""
    return name + slash + rest


class _Loader:
    """Reads files like DataLoader, except the text of a template, which is replaced by another one."""

    def __init__(self, loader: t.Any, text: str) -> None:
        self._loader, self._text = loader, text

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._loader, name)

    def get_text_file_contents(self, *dummy: object, **more: object) -> str:
        return self._text


class _Connection:
    """A connection with attributes that can be read, but no use; its own copy of the shell has the staging folder as tmpdir."""

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection
        self._shell = copy.copy(connection._shell)

    def __getattr__(self, name: str) -> t.Any:
        if name in ("exec_command", "put_file", "fetch_file"):
            raise plainly(
                "its action plugin uses the connection itself, which cannot be left to a job. Use a plain task."
            )
        return getattr(self._connection, name)


class _Copied:
    """Replaces the `run` of the action plugin copy."""

    def __init__(self, recording: _Recording, handler: t.Any, run: Run) -> None:
        self._recording, self._handler, self._run = recording, handler, run

    def __call__(self, tmp: object = None, task_vars: Arguments | None = None) -> Arguments:
        self._recording.copy(self._handler, self._run)
        return {"changed": True}
