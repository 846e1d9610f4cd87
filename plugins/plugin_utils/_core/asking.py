# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Runs an action plugin, and catches its remote calls.

The private names of ansible-core that this needs are listed in core.py.
"""

from __future__ import annotations

import copy
import json
import typing as t

from ansible.plugins import loader as plugin_loader

from ansible_collections.background.jobs.plugins.plugin_utils._errors import plainly
from ansible_collections.background.jobs.plugins.plugin_utils._plan import actions
from ansible_collections.background.jobs.plugins.plugin_utils._plan.payloads import COMMAND
from ansible_collections.background.jobs.plugins.plugin_utils._plan.recipes import Work
from ansible_collections.background.jobs.plugins.plugin_utils._plan.staging import Staged
from ansible_collections.background.jobs.plugins.plugin_utils._plan.tape import Command

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

Arguments = dict[str, t.Any]


class Asked(t.NamedTuple):
    """What an action plugin would run: a module and its arguments, or nothing, for a reason.

    If it would run more than one, `calls` has all of them; `recipe` chooses between them; `staged`: files they need.
    """

    module: str
    arguments: Arguments
    ignore_unknown: bool
    handler: t.Any
    skip: str | None = None
    calls: tuple[Asked, ...] = ()
    recipe: dict[str, t.Any] | None = None
    staged: tuple[Staged, ...] = ()


def asked_by(work: Work, handler: ActionBase) -> Asked:
    calls = tuple(
        Asked(COMMAND, {"command": list(call.words)}, False, handler)
        if isinstance(call, Command)
        else Asked(call.module, call.arguments, call.ignore_unknown, handler)
        for call in work.calls
    )
    main = calls[0] if calls else Asked("", {}, False, handler)
    return main._replace(calls=calls, recipe=work.recipe, staged=tuple(work.staged))


class Recorder:
    """Stands in for the remote calls of one run of an action plugin."""

    def __init__(self, lookups: dict[str, t.Any]) -> None:
        self.caught: Asked | None = None
        self.lookups = lookups
        self.looking_up = False

    def arm(self, handler: t.Any) -> None:
        really_execute, really_command = handler._execute_module, handler._low_level_execute_command

        def execute(module_name: str | None = None, module_args: t.Any = None, *rest: t.Any, **more: t.Any) -> t.Any:
            module = module_name or handler._task.action
            arguments = dict(handler._task.args if module_args is None else module_args)
            if more.get("wrap_async"):
                return self.catch(Asked(module, arguments, bool(more.get("ignore_unknown_opts")), handler))
            return self.look_up(really_execute, module, arguments, *rest, **more)

        def command(*rest: t.Any, **more: t.Any) -> t.Any:
            if self.looking_up:
                return really_command(*rest, **more)
            raise plainly(
                "its action plugin runs commands on the host itself, which cannot be left to a job. Use a plain task."
            )

        def needle(*dummy: t.Any) -> t.Any:
            raise plainly(actions.TRANSFERS)

        handler._execute_module = execute
        handler._low_level_execute_command = command
        handler._find_needle = needle
        handler._early_needs_tmp_path = lambda: False
        # An action plugin may delegate to another one, as the one of shell does to the one of command.
        handler._shared_loader_obj = Loaders(lambda dummy, other: self.arm(other))

    def catch(self, asked: Asked) -> Arguments:
        if self.caught is not None:
            raise plainly("its action plugin runs more than one module. Use a plain task.")
        self.caught = asked
        return {"changed": True, "started": True, "finished": False, "ansible_job_id": "0.0"}

    def look_up(
        self, really: t.Callable[..., t.Any], module: str, arguments: Arguments, *rest: t.Any, **more: t.Any
    ) -> t.Any:
        """Make a call that only gathers information, once per launch; refuse one that may change something."""
        if not actions.only_looks(module):
            raise plainly(f"its action plugin runs {module!r} itself before the job could start. Use a plain task.")
        key = json.dumps([module, arguments], sort_keys=True, default=str)
        if key not in self.lookups:
            self.looking_up = True
            try:
                self.lookups[key] = really(module, arguments, *rest, **more)
            finally:
                self.looking_up = False
        return copy.deepcopy(self.lookups[key])


class Loaders:
    """`ansible.plugins.loader`, but `arm` (name, plugin) is called on action plugins before they are handed out."""

    def __init__(self, arm: t.Callable[[str, t.Any], object]) -> None:
        self._arm = arm
        self.action_loader = self

    def __getattr__(self, name: str) -> t.Any:
        source = plugin_loader if hasattr(plugin_loader, name) else plugin_loader.action_loader
        return getattr(source, name)

    def get(self, name: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        handler = plugin_loader.action_loader.get(name, *args, **kwargs)
        if handler is not None and not isinstance(handler, type):
            self._arm(name, handler)
        return handler
