# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes how many jobs run at once."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from ansible_collections.background.jobs.plugins.modules.async_update import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import updating
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.operate_action import OperateAction
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.remote import Result
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import Surroundings


class ActionModule(OperateAction):
    """The controller's half of async_update."""

    module = "async_update"
    argument_spec = ARGUMENT_SPEC

    def prepare(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Callable[[Surroundings], Result]:
        wanted = updating.Wanted.of(options)
        return lambda surroundings: updating.update(surroundings.call, wanted, self.check_mode)
