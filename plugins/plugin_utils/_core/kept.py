# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Calls this collection's modules, with a short program if the host keeps the module: see module_utils/_verbs/kept.py (for
parts of launches that it keeps, see module_utils/_protocol/shared.py).

What a host keeps is noted (notes.py). The host checks that when it is called: if the file is not the one that was noted,
the module is sent again.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import typing as t
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleValueOmittedError
from ansible.executor.module_common import _BuiltModule
from ansible.module_utils.common.json import Direction, get_module_encoder

from ansible_collections.background.jobs.plugins.plugin_utils._core import prebuilt, sources
from ansible_collections.background.jobs.plugins.plugin_utils._core.notes import Kept, Notes

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

Arguments = dict[str, t.Any]

PROGRAM = Path(__file__).resolve().parents[2] / "module_utils" / "_verbs" / "short_program.py"
_PREFIX = "background.jobs."
# Python reads a program from a pipe byte by byte, 0.4 s per megabyte, unless a program reads it as a whole.
_READ = "import sys; exec(compile(sys.stdin.buffer.read(), '<stdin>', 'exec'))"
_PROFILE = "legacy"
_KEPT = {"path": re.compile(r"/.*\.code", re.DOTALL), "sha256": re.compile(r"[0-9a-f]{64}")}


def execute(
    action: ActionBase, calls: Sequence[tuple[str, Arguments]], task_vars: Arguments, folder: Path | None = None
) -> Arguments:
    """Return the result of the first of `calls`, or of another one, all of which would do the same.

    calls: name in this collection and arguments; the others are made if the host keeps their module and not the first.
    """
    notes = Notes(action, task_vars, folder)
    known = notes.read()
    for module, arguments in calls:
        kept = known.modules.get(module)
        if kept and kept["made_of"] == sources.of_own(module):
            result = _call(action, module, arguments, task_vars, kept)[0]
            if "not_kept" not in result:
                result.pop("kept", None)
                return result
            del known.modules[module]
            notes.write(known)
    module, arguments = calls[0]
    result, shebang = _call(action, module, arguments, task_vars)
    told = _checked(result.pop("kept", None))
    if told and shebang:
        known = notes.read()
        known.modules[module] = {**told, "shebang": shebang, "made_of": sources.of_own(module)}
        notes.write(known)
    return result


def _call(
    action: ActionBase, module: str, arguments: Arguments, task_vars: Arguments, kept: Kept | None = None
) -> tuple[Arguments, str | None]:
    """Return the result of a call, and the shebang that it used."""
    really = action._configure_module
    used: list[str | None] = []

    def configure(module_name: str, module_args: t.Any, task_vars: t.Any) -> tuple[t.Any, str]:
        if kept is None:
            with prebuilt.used():
                bits, path = really(module_name=module_name, module_args=module_args, task_vars=task_vars)
        else:
            encoder = get_module_encoder(_PROFILE, Direction.CONTROLLER_TO_MODULE)
            text = json.dumps({"ANSIBLE_MODULE_ARGS": module_args}, cls=encoder)
            files = _most_files(action, task_vars)
            bits, path = _short(module_name, text, kept, files), f"{module_name.rpartition('.')[2]}.py"
        used.append(bits.shebang)
        return bits, path

    setattr(action, "_configure_module", configure)  # noqa: B010  # mypy takes no method for a variable
    try:
        with _read_at_once(action._connection._shell):
            result = action._execute_module(f"{_PREFIX}{module}", dict(arguments), task_vars=task_vars)
    finally:
        del action._configure_module
    return result, used[0] if used else None


@contextlib.contextmanager
def _read_at_once(shell: t.Any) -> Iterator[None]:
    """While this lasts, an interpreter reads a piped program as a whole."""
    really = shell.build_module_command

    def build(env_string: str, shebang: str, cmd: str, arg_path: str | None = None) -> t.Any:
        command = really(env_string, shebang, cmd, arg_path)
        is_piped = shebang and not cmd.strip() and arg_path is None
        return f"{command} -c {shlex.quote(_READ)}" if is_piped else command

    shell.build_module_command = build
    try:
        yield
    finally:
        del shell.build_module_command


def _short(module: str, arguments: str, kept: Kept, files: int) -> _BuiltModule:
    fqn = f"ansible_collections.{module.replace(_PREFIX, _PREFIX + 'plugins.modules.')}"
    # In two lines: a traceback shows the last one, and the arguments, which may hold secrets, are not in that.
    call = f"\nARGUMENTS = {arguments!r}\nrun({kept['path']!r}, {kept['sha256']!r}, {fqn!r}, ARGUMENTS, {files})\n"
    return _BuiltModule(
        b_module_data=f"{kept['shebang']}\n".encode() + PROGRAM.read_bytes() + call.encode(),
        module_style="new",
        shebang=kept["shebang"],
        serialization_profile=_PROFILE,
    )


def _checked(told: object) -> Kept | None:
    """Return what a host reports to keep, None if the report is not valid."""
    if not isinstance(told, Mapping):
        return None
    found = {key: str(told.get(key)) for key in _KEPT}
    return found if all(pattern.fullmatch(found[key]) for key, pattern in _KEPT.items()) else None


def _most_files(action: ActionBase, task_vars: Arguments) -> int:
    """Return how many files ansible-core has a module open at most, 0: as many as its user may."""
    most = constants.config.get_config_value("PYTHON_MODULE_RLIMIT_NOFILE", variables=task_vars)
    try:
        return most if isinstance(most, int) else int(action._templar.template(most))
    except AnsibleValueOmittedError:
        return 0
