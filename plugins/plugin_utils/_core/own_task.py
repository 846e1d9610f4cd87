# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The task of one of this collection's own actions: what it refuses, and what it hands on.

The private names of ansible-core that this needs are listed in core.py.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.background.jobs.plugins.plugin_utils._core import late
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, plainly, refusing

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

Arguments = dict[str, t.Any]

_LAUNCHING = (
    "it launches in the background already. Leave out 'async' and 'poll': 'timeout' limits the jobs, "
    "and with 'wait: true' the task waits for them."
)
_OTHER_THAN_LAUNCHING = "it cannot run in the background. Leave out 'async' and 'poll'."
_INSTEAD_OF_ASYNC = {
    "async_batch": _LAUNCHING,
    "async_run": _LAUNCHING,
    "async_wait": "it only waits. Leave out 'async' and 'poll' (or write 'poll' as an option): 'timeout' limits the wait.",
}


def flag(action: ActionBase, task_vars: Mapping[str, t.Any], name: str, default: bool) -> bool:
    """Return a variable as a boolean; false if it is not a word for true."""
    return bool(boolean(refusing(action._templar.template, task_vars.get(name, default)), strict=False))


def variable(action: ActionBase, task_vars: Mapping[str, t.Any], name: str) -> object:
    """Return the value of a variable, None if there is none."""
    return refusing(action._templar.template, task_vars.get(name))


def refuse_unsupported_controller(action: ActionBase) -> None:
    """Refuse `async` on our own tasks, Windows hosts, and Mitogen, which replaces the calls that launches use."""
    if action._task.async_val:
        verb = str(action._task.action).rpartition(".")[2]
        raise plainly(f"'async' on a task of {verb}: {_INSTEAD_OF_ASYNC.get(verb, _OTHER_THAN_LAUNCHING)}")
    action._supports_async = False  # the truth again: with async support, 2.21 does not let an action hand on facts
    if getattr(action._connection._shell, "_IS_WINDOWS", False):
        raise Refused("this host runs Windows, where background.jobs does not work. Use 'async' and 'poll: 0' there.")
    if any(base.__module__.split(".")[0] in ("ansible_mitogen", "mitogen") for base in type(action).__mro__):
        raise Refused(
            "Mitogen is active, and background.jobs does not work under it. Use another strategy (such as linear) for this play."
        )


def hand_on_discovered_interpreter(action: ActionBase, result: Arguments) -> None:
    """Publish which Python was found on the host, as `_execute_module` does, so that later tasks need not search again."""
    key = action._discovered_interpreter_key
    if not key:
        return
    late.hand_on(action, result, {}, {key: action._discovered_interpreter})


def send_poll_event(action: ActionBase, task_vars: Mapping[str, t.Any], views: list[Arguments]) -> None:
    """Send callbacks the event of core's async polls; without effect if this version of core does that differently."""
    view = next((view for view in views if not view["finished"]), None)
    queue = getattr(action._display, "_final_q", None)
    if view is None or queue is None:
        return
    from ansible.executor import task_result
    from ansible.inventory.host import Host

    host = Host(str(task_vars.get("inventory_hostname")))
    result = {"ansible_job_id": view["ansible_job_id"], "started": True, "finished": False, "changed": False}
    raw_result = getattr(task_result, "_RawTaskResult", None)  # 2.19, 2.20
    try:
        if raw_result is not None:
            told: tuple[t.Any, ...] = (raw_result(host, action._task, result, action._task.dump_attrs()),)
        else:
            from ansible._internal._task import UnifiedTaskResult  # 2.21

            told = (host, action._task, UnifiedTaskResult.from_action_result_dict(result))
        queue.send_callback("v2_runner_on_async_poll", *told)
    except (AttributeError, ImportError, TypeError) as exc:
        action._display.vvv(f"callbacks were not notified of the poll: {exc}")
