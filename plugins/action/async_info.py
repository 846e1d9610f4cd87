# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists jobs."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from ansible_collections.background.jobs.plugins.modules.async_info import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import operating
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.operate_action import OperateAction
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.remote import Result
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import Surroundings


class ActionModule(OperateAction):
    """The controller's half of async_info."""

    module = "async_info"
    argument_spec = ARGUMENT_SPEC

    def prepare(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Callable[[Surroundings], Result]:
        selection = operating.Selection.of(options, everything=True, core=options["core_jobs"])
        tail = options["tail"]
        if tail is not None and tail < 0:
            raise Refused(f"Option 'tail': it must be a number of lines, 0 or more: got {tail}.")
        return lambda surroundings: operating.info(surroundings.call, selection, tail)
