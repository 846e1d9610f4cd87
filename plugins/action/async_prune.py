# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes the records of jobs."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from ansible_collections.background.jobs.plugins.modules.async_prune import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import operating
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.operate_action import OperateAction
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.remote import Result
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import Surroundings


class ActionModule(OperateAction):
    """The controller's half of async_prune."""

    module = "async_prune"
    argument_spec = ARGUMENT_SPEC

    def prepare(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Callable[[Surroundings], Result]:
        selection = operating.Selection.of(options, options["all"], options["core_jobs"])
        return lambda surroundings: operating.prune(surroundings.call, selection, self.check_mode)
