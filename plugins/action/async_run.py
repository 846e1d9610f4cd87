# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts one task in the background."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.background.jobs.plugins.modules.async_run import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._core.core import Core
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, telling_refusals
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import launching


class ActionModule(ActionBase):
    """The controller's half of async_run."""

    _supports_async = True  # not true, but so the error comes from here and not from core

    @classmethod
    def finalize_task_arg(cls, name: str, value: t.Any, templar: t.Any, context: t.Any) -> t.Any:
        # The task is rendered with its own variables.
        return value if name == "task" else super().finalize_task_arg(name, value, templar, context)

    @telling_refusals
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        try:
            options = _options.read(self._task.args, ARGUMENT_SPEC)
            waiting = launching.waiting_of(options)
            core = Core(self, task_vars or {})
            entries = launching.single_entry(core, options["task"], options["name"])
            if options["singleton"] and not any("name" in entry for entry in entries if isinstance(entry, dict)):
                raise Refused("Option 'singleton': it identifies a job by its name, and this job has none. Add 'name'.")
            started = launching.launch(
                core,
                entries,
                launching.defaults_of(core, options),
                launching.Limits(
                    singleton=options["singleton"],
                    batch_id=options["batch_id"],
                    keep_output=_options.kept_output(options["keep_output"]),
                    pool=options["pool"],
                    pool_size=options["pool_size"],
                ),
                module="async_run",
                waiting=waiting,
            )
        except launching.LaunchFailed as exc:
            return exc.result
        only = started.jobs[0]
        return {
            **launching.finish(core, started, waiting, "async_run"),
            "ansible_job_id": only["ansible_job_id"],
            "results_file": only["results_file"],
        }
