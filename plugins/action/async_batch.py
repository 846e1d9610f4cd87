# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts many tasks in the background, in one remote call."""

from __future__ import annotations

import typing as t

from ansible_collections.background.jobs.plugins.modules.async_batch import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils._core.core import Core
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import launching
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.launch_action import LaunchAction
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.remote import Result


class ActionModule(LaunchAction):
    """The controller's half of async_batch."""

    module = "async_batch"
    argument_spec = ARGUMENT_SPEC
    tasks = "tasks"

    def prepare(self, core: Core, options: dict[str, t.Any]) -> tuple[object, launching.Limits]:
        return options["tasks"], launching.Limits.of(options)

    def also(self, started: launching.Launch) -> Result:
        return {"batch_id": started.batch_id}
