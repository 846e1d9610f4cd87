# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The users that tasks of jobs run as, and the command lines of ansible-core's become plugins for that."""

from __future__ import annotations

import json
import shlex
import typing as t
from collections.abc import Mapping

from ansible import constants
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins import loader as plugin_loader

from ansible_collections.background.jobs.plugins.module_utils._protocol import becoming
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, refusing
from ansible_collections.background.jobs.plugins.plugin_utils._model import Become

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase
    from ansible.plugins.become import BecomeBase

_OPTIONS = ("become_user", "become_flags", "become_exe")
# Become methods of ansible-core for network devices and Windows, not for hosts with a POSIX shell.
_REFUSED = frozenset(("enable", "runas"))
_ASKS = (
    "a become password is set, and passwords are not sent to hosts for jobs. Configure sudo there not to ask for one, "
    "launch as root, or launch the jobs of that user with a separate task that becomes that user."
)
_NO_WAY_BACK = (
    "the jobs of this launch run as {user!r}, who cannot switch back to the user of the connection. "
    "Launch them with a separate task that does not become another user."
)


class Users:
    """The user of a launch, and how its jobs become others."""

    def __init__(self, action: ActionBase) -> None:
        self._action = action
        self._known: dict[str, Become] = {}

    @property
    def _launching(self) -> BecomeBase | None:
        """The plugin by which the launching task becomes another user."""
        plugin: BecomeBase | None = self._action._connection.become
        return plugin

    @property
    def _remote_user(self) -> str | None:
        user = self._action._get_remote_user()
        return None if user is None else str(user)

    @property
    def _user(self) -> str | None:
        """The launching user, as far as known."""
        plugin = self._launching
        return self._remote_user if plugin is None else str(plugin.get_option("become_user") or "root")

    def become(self, keys: Mapping[str, t.Any], templar: t.Any) -> Become | None:
        """Return how to become the user of a task with these keywords; None if it is the user of the launch."""
        variables = templar.available_variables
        wanted = keys["become"]
        if variables.get("ansible_become") is not None:
            wanted = boolean(refusing(templar.template, variables["ansible_become"]))
        if not wanted:
            return self._back()
        method = variables.get("ansible_become_method") or keys["become_method"]
        plugin = self._plugin(str(refusing(templar.template, method)), keys, templar)
        if self._is_that_of_the_launch(plugin):
            return None
        return self._command(plugin)

    def _back(self) -> Become | None:
        """Return how root becomes the user of the connection, as which a task without become would run."""
        launching, user = self._launching, self._remote_user
        if launching is None or user == self._user:
            return None
        if self._user != "root" or user is None:
            raise Refused(_NO_WAY_BACK.format(user=self._user))
        plugin = plugin_loader.become_loader.get(launching._load_name)
        plugin._options = {**launching._options, "become_user": user}
        return self._command(plugin)

    def _plugin(self, method: str, keys: Mapping[str, t.Any], templar: t.Any) -> BecomeBase:
        """Return the become plugin with its options; see TaskExecutor._set_plugin_options."""
        plugin: BecomeBase | None = plugin_loader.become_loader.get(method)
        if plugin is None:
            raise Refused(f"there is no become plugin {method!r}: a typo, or a collection that is not installed.")
        if plugin.name in _REFUSED:
            raise Refused(f"become_method {method!r} does not work for jobs. Use sudo or su.")
        if plugin.require_tty:
            raise Refused(f"become_method {method!r} needs a terminal, and jobs have none. Use sudo or su.")
        variables = templar.available_variables
        names = constants.config.get_plugin_vars("become", plugin._load_name)
        own = {name: refusing(templar.template, variables[name]) for name in names if name in variables}
        password = self._action._play_context.become_pass
        given = {**keys, **({"become_pass": password} if password else {})}
        refusing(plugin.set_options, task_keys=given, var_options=own)
        return plugin

    def _is_that_of_the_launch(self, plugin: BecomeBase) -> bool:
        launching = self._launching
        if launching is None:
            same_user_too = constants.BECOME_ALLOW_SAME_USER  # type: ignore[attr-defined]
            return not same_user_too and _option(plugin, "become_user") == self._user
        return launching._load_name == plugin._load_name and all(
            _option(plugin, name) == _option(launching, name) for name in _OPTIONS
        )

    def _command(self, plugin: BecomeBase) -> Become:
        if _option(plugin, "become_pass"):
            if self._user != "root":
                raise Refused(_ASKS)
            plugin._options["become_pass"] = None  # root is not asked for one
        user = str(_option(plugin, "become_user") or "root")
        key = json.dumps([plugin._load_name, plugin._options], sort_keys=True, default=str)
        if key not in self._known:
            # the interpreter is not quoted, so that a shell can expand a `~` in its path
            program = f"{becoming.INTERPRETER} -c {shlex.quote(becoming.PROGRAM)}"
            line = refusing(plugin.build_become_command, program, self._action._connection._shell)
            executable = self._action._play_context.executable or "/bin/sh"
            self._known[key] = Become(user, (str(executable), "-c", str(line)))
        return self._known[key]


def _option(plugin: BecomeBase, name: str) -> t.Any:
    """Return an option of a become plugin, None if it has no such option."""
    try:
        return plugin.get_option(name)
    except KeyError:
        return None
