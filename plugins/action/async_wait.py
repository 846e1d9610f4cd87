# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for jobs, many at a time."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.background.jobs.plugins.modules.async_wait import ARGUMENT_SPEC
from ansible_collections.background.jobs.plugins.plugin_utils import _options, _remote, _selection
from ansible_collections.background.jobs.plugins.plugin_utils._core import (
    hand_on_discovered_interpreter,
    refuse_unsupported_controller,
)
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused


class ActionModule(ActionBase):
    """The controller's half of async_wait."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        try:
            refuse_unsupported_controller(self)
            options = _options.read(self._task.args, ARGUMENT_SPEC)
            targets = _selection.select(options["jobs"])
        except Refused as exc:
            # Without the cause: core would add its words to a message that has them already.
            raise AnsibleActionFail(str(exc), obj=getattr(exc, "source", None)) from None
        result = _remote.wait(self, task_vars or {}, targets, _options.of_waiter(options))
        hand_on_discovered_interpreter(self, result)
        return result
