# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Changes the arguments on the controller, and hands on to the module of the same name, as 'uri' does."""

    def run(self, tmp=None, task_vars=None):
        self._supports_async = True
        super().run(tmp, task_vars)
        arguments = dict(self._task.args, text="action " + self._task.args.get("text", ""))
        return self._execute_module("tiny.tools.acted", arguments, task_vars=task_vars, wrap_async=self._task.async_val)
