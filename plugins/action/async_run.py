# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts one task in the background."""

from __future__ import annotations

import typing as t

from ansible_collections.background.jobs.plugins.modules.async_run import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._core.core import Core
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import launching
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.launch_action import LaunchAction
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.remote import Result


class ActionModule(LaunchAction):
    """The controller's half of async_run."""

    module = "async_run"
    argument_spec = ARGUMENT_SPEC
    tasks = "task"

    def prepare(self, core: Core, options: dict[str, t.Any]) -> tuple[object, launching.Limits]:
        entries = launching.single_entry(core, options["task"], options["name"])
        if options["singleton"] and not any("name" in entry for entry in entries if isinstance(entry, dict)):
            raise Refused("Option 'singleton': it identifies a job by its name, and this job has none. Add 'name'.")
        return entries, launching.Limits(
            singleton=options["singleton"],
            batch_id=options["batch_id"],
            keep_output=_options.kept_output(options["keep_output"]),
            pool=options["pool"],
            pool_size=options["pool_size"],
        )

    def also(self, started: launching.Launch) -> Result:
        only = started.jobs[0]
        return {"ansible_job_id": only["ansible_job_id"], "results_file": only["results_file"]}
