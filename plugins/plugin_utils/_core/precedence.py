# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Which variables win: those that the play has set or registered, those passed on, or a job's own."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping

from ansible.utils.vars import load_extra_vars

from ansible_collections.background.jobs.plugins.plugin_utils._core import late
from ansible_collections.background.jobs.plugins.plugin_utils._model import Scope, Variables

if t.TYPE_CHECKING:
    from ansible.playbook.task import Task
    from ansible.plugins.action import ActionBase


class Known:
    """The variables of the launching task, by precedence."""

    def __init__(self, action: ActionBase, task_vars: Mapping[str, t.Any]) -> None:
        self._task_vars = task_vars
        self._extra_vars = load_extra_vars(action._loader)
        handed_on = set(handed_on_to(action._task, task_vars))
        self.strong = late.MAGIC | set(self._extra_vars) | handed_on
        """Names that nothing in a job can override."""
        self.set_before = set(of_cache(action._task, task_vars, "_nonpersistent_fact_cache"))
        """Names that set_fact or register has set."""
        read = of_cache(action._task, task_vars, "_vars_cache")
        self._found_out = {*self._extra_vars, *handed_on, *self.set_before, *read}

    def scope(self, defaults: Variables, own: Variables, params: Variables, loop: Variables) -> Scope:
        """Return the variables that a task sees in addition to, or instead of, those of the launching task.

        defaults: of its roles; own: of the task, its blocks and roles; params: of its includes; loop: of its loops.
        """
        # As for plain tasks: set_fact, register and include_vars win over the variables of a task,
        # -e over those of an include, and the variables of a loop over all.
        return {
            **{key: value for key, value in defaults.items() if key not in self._task_vars},
            **{key: value for key, value in own.items() if key not in self._found_out},
            **{key: value for key, value in params.items() if key not in self._extra_vars},
            **loop,
        }


def of_cache(task: Task, task_vars: Mapping[str, t.Any], cache: str) -> Iterator[str]:
    """Return the variables that earlier tasks have set for this host: with include_vars, or with set_fact and register."""
    if task._variable_manager is not None:
        yield from getattr(task._variable_manager, cache).get(task_vars.get("inventory_hostname"), ())


def handed_on_to(task: Task, task_vars: Mapping[str, t.Any]) -> Iterator[str]:
    """Yield the variables that the loop, the includes and the role of the launching task pass on to it."""
    yield from (task_vars[key] for key in ("ansible_loop_var", "ansible_index_var") if key in task_vars)
    yield from task.get_include_params()
    if task._role is not None:
        yield from task._role.get_role_params(task.get_dep_chain())
