# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for jobs, many at a time."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.background.jobs.plugins.modules.async_wait import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._core.own_task import (
    hand_on_discovered_interpreter,
    refuse_unsupported_controller,
)
from ansible_collections.background.jobs.plugins.plugin_utils._errors import telling_refusals
from ansible_collections.background.jobs.plugins.plugin_utils._host.transport import ConnectionLost
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import operating
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import remote as _remote
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import WaitFailed


class ActionModule(ActionBase):
    """The controller's half of async_wait."""

    _supports_async = True  # not true, but so the error comes from here and not from core

    @telling_refusals
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        try:
            refuse_unsupported_controller(self)
            options = _options.read(self._task.args, ARGUMENT_SPEC)
            remote = _remote.Remote(self, task_vars or {})
            targets, warnings = operating.targets_of(options, remote.call_until_answered)
        except WaitFailed as exc:
            return exc.result
        except ConnectionLost as exc:
            raise AnsibleConnectionFailure(str(exc)) from exc
        result = _remote.wait(remote, task_vars or {}, targets, _options.of_waiter(options))
        if warnings:
            result["warnings"] = warnings + list(result.get("warnings") or ())
        hand_on_discovered_interpreter(self, result)
        return result
