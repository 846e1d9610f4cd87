# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Turns a module's output into the result that ansible-core would register.

What it needs, checked with 2.19.14, 2.20.10 and 2.21.5:

- `ActionBase._parse_returned_data(res, profile)`, which needs only `_used_interpreter` of its object, and returns
  a dict in 2.19 and 2.20, a `UnifiedTaskResult` in 2.21;
- `Direction` and `get_module_decoder`, for parts of a result;
- `DeferredWarningContext`, which collects the warnings of a task;
- 2.19, 2.20: `TaskExecutor._apply_task_result_compat`, `AnsibleActionCapturedError.maybe_raise_on_result`,
  `_error_utils.result_dict_from_exception`, and `remove_internal_keys`;
- 2.21: `UnifiedTaskResult` with `from_action_result_dict`, `as_result_dict`, `remove_internal_keys`,
  `maybe_raise_on_result`, `_create_from_exception` and `finalize_warnings`.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Sequence

from ansible._internal._display_utils import DeferredWarningContext
from ansible.errors import AnsibleError, AnsibleTaskError
from ansible.module_utils.common.json import Direction, get_module_decoder
from ansible.plugins.action import ActionBase

Arguments = dict[str, t.Any]

_PROFILE = "legacy"


class _Caller:
    """Replaces an action plugin."""

    _used_interpreter = None


def registered(stdout: str, stderr: str = "", rc: int = 0) -> Arguments:
    """Return what a plain task registers if its module printed this; `rc` as from the shell of a connection."""
    output: t.Any = {"stdout": stdout, "stderr": stderr, "rc": rc}
    with DeferredWarningContext(variables={}) as context:
        try:
            result = _finish(ActionBase._parse_returned_data(t.cast("t.Any", _Caller()), output, _PROFILE))
        except (AnsibleError, TypeError) as exc:
            result = _of_exception(exc)
    result.pop("warnings", None)
    result.pop("deprecations", None)
    if context.get_warnings():
        result["warnings"] = context.get_warnings()
    if context.get_deprecation_warnings():
        result["deprecations"] = context.get_deprecation_warnings()
    return result


def with_messages(result: Arguments) -> Arguments:
    """Return a result with its warnings and deprecations, as printed by a module, decoded by core."""
    decoder = get_module_decoder(_PROFILE, Direction.MODULE_TO_CONTROLLER)
    said = {key: result[key] for key in ("warnings", "deprecations") if key in result}
    return {**result, **json.loads(json.dumps(said), cls=decoder)} if said else result


def _of_exception(exc: Exception) -> Arguments:
    try:
        raise AnsibleTaskError from exc
    except AnsibleTaskError as failure:
        return _from_exception(failure)


try:
    from ansible._internal._task import UnifiedTaskResult
except ImportError:  # 2.19, 2.20
    from ansible._internal._errors import _captured, _error_utils
    from ansible.executor import task_executor
    from ansible.utils.display import Display
    from ansible.vars import clean

    # Missing in 2.21, with which types are checked.
    _old = t.cast("t.Any", (_captured, _error_utils, task_executor, clean))
    _maybe_raise_on_result = _old[0].AnsibleActionCapturedError.maybe_raise_on_result
    _result_dict_from_exception = _old[1].result_dict_from_exception
    _apply_task_result_compat = _old[2].TaskExecutor._apply_task_result_compat
    _remove_internal_keys = _old[3].remove_internal_keys

    def _finish(result: t.Any) -> Arguments:
        """Do what `_execute_module`, TaskExecutor and the strategy do with a result."""
        results = result.get("results", [])
        if not isinstance(results, Sequence) or isinstance(results, str):
            result["ansible_module_results"] = result.pop("results")
            Display().warning("Found internal 'results' key in module return, renamed to 'ansible_module_results'.")
        _remove_internal_keys(result)
        for key in ("stdout", "stderr"):
            if key in result and f"{key}_lines" not in result:
                result[f"{key}_lines"] = (result[key] or "").splitlines()
        result.setdefault("failed", "rc" in result and result["rc"] not in (0, "0"))
        result.setdefault("changed", False)
        result.pop("invocation", None)
        _apply_task_result_compat(result, DeferredWarningContext.current())
        _maybe_raise_on_result(result)
        result.pop("_ansible_parsed", None)
        return t.cast("Arguments", result)

    def _from_exception(exc: Exception) -> Arguments:
        result = _result_dict_from_exception(exc, accept_result_contribution=True)
        result.setdefault("changed", False)
        result.pop("_ansible_parsed", None)
        return t.cast("Arguments", result)

else:

    def _finish(result: t.Any) -> Arguments:
        """Do what `_execute_module` and TaskExecutor do with a result."""
        result.remove_internal_keys()
        of_action = UnifiedTaskResult.from_action_result_dict(result.as_result_dict(for_round_trip=True))
        of_action.maybe_raise_on_result()
        return _as_dict(of_action)

    def _from_exception(exc: Exception) -> Arguments:
        return _as_dict(
            UnifiedTaskResult._create_from_exception(exc, accept_result_contribution=True, source_is_module=False)
        )

    def _as_dict(result: t.Any) -> Arguments:
        return t.cast("Arguments", result.as_result_dict())
