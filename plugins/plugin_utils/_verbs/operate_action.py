# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What the action plugins of the verbs that operate jobs have in common."""

from __future__ import annotations

import abc
import typing as t
from collections.abc import Callable

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.background.jobs.plugins.plugin_utils._core import own_task
from ansible_collections.background.jobs.plugins.plugin_utils._errors import telling_refusals
from ansible_collections.background.jobs.plugins.plugin_utils._host.transport import ConnectionLost
from ansible_collections.background.jobs.plugins.plugin_utils._options import read
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.remote import Remote, Result, surroundings_of
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import Surroundings, WaitFailed


class OperateAction(ActionBase, abc.ABC):
    """The controller's half of a verb that does something with the jobs of a host."""

    _supports_async = True  # not true, but so the error comes from here and not from core
    module: str
    """The module that answers on the host."""
    argument_spec: dict[str, t.Any]

    @telling_refusals
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        own_task.refuse_unsupported_controller(self)
        variables = task_vars or {}
        work = self.prepare(read(self._task.args, self.argument_spec), variables)
        try:
            result = work(surroundings_of(Remote(self, variables, self.module)))
        except WaitFailed as exc:
            return exc.result
        except ConnectionLost as exc:
            raise AnsibleConnectionFailure(str(exc)) from exc
        own_task.hand_on_discovered_interpreter(self, result)
        return result

    @abc.abstractmethod
    def prepare(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Callable[[Surroundings], Result]:
        """Check the options before the host is asked, and return what is to be done; Refused if they are wrong."""

    @property
    def check_mode(self) -> bool:
        return bool(self._task.check_mode)
