# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends jobs."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.background.jobs.plugins.modules.async_cancel import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._core.own_task import refuse_unsupported_controller
from ansible_collections.background.jobs.plugins.plugin_utils._errors import telling_refusals
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import operating, remote


class ActionModule(ActionBase):
    """The controller's half of async_cancel."""

    _supports_async = True  # not true, but so the error comes from here and not from core

    @telling_refusals
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        refuse_unsupported_controller(self)
        options = _options.read(self._task.args, ARGUMENT_SPEC)
        selection = operating.Selection.of(options, options["all"], options["core_jobs"])
        operating.signal_number(options["signal"])
        host = str((task_vars or {}).get("inventory_hostname") or "localhost")
        check_mode = bool(self._task.check_mode)
        return remote.operate(
            self,
            task_vars or {},
            "async_cancel",
            lambda surroundings: operating.cancel(surroundings, selection, options, host, check_mode),
        )
