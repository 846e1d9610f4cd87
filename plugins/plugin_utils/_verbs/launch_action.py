# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What the action plugins of the verbs that launch jobs have in common."""

from __future__ import annotations

import abc
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.background.jobs.plugins.plugin_utils._core.core import Core
from ansible_collections.background.jobs.plugins.plugin_utils._errors import telling_refusals
from ansible_collections.background.jobs.plugins.plugin_utils._options import read
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import launching
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.remote import Result


class LaunchAction(ActionBase, abc.ABC):
    """The controller's half of a verb that launches jobs, and waits for them if it is asked to."""

    _supports_async = True  # not true, but so the error comes from here and not from core
    module: str
    """The module that answers on the host."""
    argument_spec: dict[str, t.Any]
    tasks: str
    """The option with what is to run. It may use variables that do not exist yet when core would render it."""

    @classmethod
    def finalize_task_arg(cls, name: str, value: t.Any, templar: t.Any, context: t.Any) -> t.Any:
        return value if name == cls.tasks else super().finalize_task_arg(name, value, templar, context)

    @telling_refusals
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        try:
            options = read(self._task.args, self.argument_spec)
            waiting = launching.waiting_of(options)
            core = Core(self, task_vars or {})
            entries, limits = self.prepare(core, options)
            defaults = launching.defaults_of(core, options)
            started = launching.launch(core, entries, defaults, limits, module=self.module, waiting=waiting)
        except launching.LaunchFailed as exc:
            return exc.result
        return {**launching.finish(core, started, waiting, self.module), **self.also(started)}

    @abc.abstractmethod
    def prepare(self, core: Core, options: dict[str, t.Any]) -> tuple[object, launching.Limits]:
        """Return the entries, as they are written, and the Limits of the batch; Refused if the options contradict each other."""

    @abc.abstractmethod
    def also(self, started: launching.Launch) -> Result:
        """Return what the result of this verb has more than those of others."""
