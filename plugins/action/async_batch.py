# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts many tasks in the background, in one remote call."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.background.jobs.plugins.modules.async_batch import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._core.core import Core
from ansible_collections.background.jobs.plugins.plugin_utils._errors import telling_refusals
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import launching


class ActionModule(ActionBase):
    """The controller's half of async_batch."""

    _supports_async = True  # not true, but so the error comes from here and not from core

    @classmethod
    def finalize_task_arg(cls, name: str, value: t.Any, templar: t.Any, context: t.Any) -> t.Any:
        # The tasks hold templates with variables (item) that don't exist before their loops are run.
        return value if name == "tasks" else super().finalize_task_arg(name, value, templar, context)

    @telling_refusals
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        try:
            options = _options.read(self._task.args, ARGUMENT_SPEC)
            waiting = launching.waiting_of(options)
            core = Core(self, task_vars or {})
            started = launching.launch(
                core,
                options["tasks"],
                launching.defaults_of(core, options),
                launching.Limits.of(options),
                waiting=waiting,
            )
        except launching.LaunchFailed as exc:
            return exc.result
        return {**launching.finish(core, started, waiting), "batch_id": started.batch_id}
