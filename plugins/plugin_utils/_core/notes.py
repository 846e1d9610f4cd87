# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Notes in Ansible's home what hosts keep: for later tasks, of this run of ansible-playbook and of others."""

from __future__ import annotations

import hashlib
import json
import typing as t
from collections.abc import Collection
from pathlib import Path

from ansible_collections.background.jobs.plugins.plugin_utils._core import home

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

# For a module: path and sha256 of the file that the host keeps, the shebang it was kept for, and the fingerprint of its
# sources (sources.py).
Kept = dict[str, str]

_KEPT = ("path", "sha256", "shebang", "made_of")
_MOST_HASHES = 500


class Known(t.NamedTuple):
    """What a host keeps: modules by name, and hashes of shared parts of plans by async directory."""

    modules: dict[str, Kept]
    shared: dict[str, list[str]]


class Notes:
    """The notes on the host of a task, for the task's user and interpreter there."""

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any], folder: Path | None = None) -> None:
        self._folder = folder or home.lasting() or home.of_this_run()
        self._action = action
        self._task_vars = task_vars

    def read(self) -> Known:
        try:
            return _checked(json.loads(self._path().read_text()))
        except (OSError, ValueError):
            return Known({}, {})

    def write(self, known: Known) -> None:
        """Replace the notes; if two workers write at once, the changes of one may be lost. What is not noted is sent again."""
        home.write(self._path(), json.dumps(known).encode())

    def shared(self, async_dir: str) -> set[str]:
        """Return the hashes of the shared parts that are kept."""
        return set(self.read().shared.get(async_dir, ()))

    def note_shared(self, async_dir: str, hashes: Collection[str], before: Collection[str] = ()) -> None:
        """Note that these shared parts are kept. before: those of earlier launches, of which only some may stay noted."""
        known = self.read()
        wanted = list(dict.fromkeys([*sorted(hashes), *sorted(before)]))[:_MOST_HASHES]
        if set(wanted) != set(known.shared.get(async_dir, ())):
            known.shared[async_dir] = wanted
            self.write(known)

    def _path(self) -> Path:
        """Return the file for the notes. Its name depends on the interpreter, which may only be discovered by the first call."""
        action = self._action
        delegated_to = action._task.delegate_to
        own = self._task_vars["ansible_delegated_vars"][delegated_to] if delegated_to else self._task_vars
        become = action._connection.become
        options = {key: value for key, value in action._connection.get_options().items() if "pass" not in key}
        about = [
            own.get("inventory_hostname"),
            action._connection.transport,
            options,
            [become.name, become.get_option("become_user")] if become else None,
            action._templar.template(own.get("ansible_python_interpreter")),
            (own.get("ansible_facts") or {}).get("discovered_interpreter_python"),
        ]
        text = json.dumps(about, sort_keys=True, default=str)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def _checked(noted: t.Any) -> Known:
    """Return the notes that were read. ValueError if they are not valid, for example of another version."""
    try:
        modules, shared = noted
        known = Known(
            {str(module): {key: str(told[key]) for key in _KEPT} for module, told in modules.items()},
            {str(folder): [str(digest) for digest in digests] for folder, digests in shared.items()},
        )
    except (TypeError, KeyError, AttributeError) as exc:
        raise ValueError("these are no notes") from exc
    return known
