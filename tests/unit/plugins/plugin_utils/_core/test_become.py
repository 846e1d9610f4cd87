# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command lines are those of ansible-core's own become plugins."""

from __future__ import annotations

import shlex
import types
import typing as t

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins import loader as plugin_loader
from ansible.template import Templar, trust_as_template

from ansible_collections.background.jobs.plugins.module_utils._protocol import becoming
from ansible_collections.background.jobs.plugins.plugin_utils._core import become
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import Become

KEYS = dict.fromkeys(("become", "become_user", "become_method", "become_flags", "become_exe"))
SUDO = {"become": True, "become_method": "sudo"}


def users(
    *, launching: dict[str, t.Any] | None = None, remote_user: str | None = "deploy", password: str = ""
) -> t.Any:
    """Return the users of a launch that becomes another by sudo with these options, or nobody."""
    plugin = None
    if launching is not None:
        plugin = plugin_loader.become_loader.get("sudo")
        plugin.set_options(task_keys=launching)
    action: t.Any = types.SimpleNamespace(
        _connection=types.SimpleNamespace(become=plugin, _shell=plugin_loader.shell_loader.get("sh")),
        _play_context=types.SimpleNamespace(become_pass=password, executable=None),
        _get_remote_user=lambda: remote_user,
    )
    return become.Users(action)


def asked(of: t.Any, variables: dict[str, t.Any] | None = None, **keys: t.Any) -> Become | None:
    return t.cast("Become | None", of.become({**KEYS, **keys}, Templar(DataLoader(), variables=variables or {})))


def words(made: Become | None) -> list[str]:
    """Return the words of what a shell is to run."""
    assert made is not None
    shell, option, line = made.command
    assert (shell, option) == ("/bin/sh", "-c")
    return shlex.split(line)


@pytest.mark.parametrize(
    ("keys", "user", "beginning"),
    [
        (SUDO, "root", ["sudo", "-H", "-S", "-n", "-u", "root"]),
        ({**SUDO, "become_user": "web"}, "web", ["sudo", "-H", "-S", "-n", "-u", "web"]),
        ({**SUDO, "become_flags": "-E", "become_exe": "/opt/sudo"}, "root", ["/opt/sudo", "-E", "-u", "root"]),
        ({**SUDO, "become_method": "su", "become_user": "web"}, "web", ["su", "web", "-c"]),
    ],
)
def test_the_command_is_that_of_the_plugin_around_a_template_process(
    keys: dict[str, t.Any], user: str, beginning: list[str]
) -> None:
    made = asked(users(), **keys)
    assert made is not None and made.user == user
    assert words(made)[: len(beginning)] == beginning
    assert becoming.INTERPRETER in made.command[2] and "BECOME-SUCCESS" in made.command[2]


def test_it_is_made_once_for_all_tasks_that_ask_for_the_same() -> None:
    of = users()
    first, second, other = (asked(of, **SUDO, become_user=user) for user in ("web", "web", "db"))
    assert first is second and first != other


def test_variables_of_the_host_are_stronger_than_keywords() -> None:
    of = users()
    assert asked(of, {"ansible_become": False}, **SUDO) is None
    variables = {"ansible_become": True, "ansible_become_user": "db", "ansible_become_method": "sudo"}
    made = asked(of, variables, become=False, become_user="web")
    assert made is not None and made.user == "db"
    made = asked(of, {"ansible_become_user": trust_as_template("{{ who }}"), "who": "me"}, **SUDO)
    assert made is not None and made.user == "me"


@pytest.mark.parametrize(
    ("launching", "keys"),
    [
        (None, {"become": False}),
        ({"become_user": "web"}, {**SUDO, "become_user": "web"}),
        ({}, SUDO),
        # nobody asks sudo to become oneself, as in core
        (None, {**SUDO, "become_user": "deploy"}),
    ],
)
def test_the_user_of_the_launch_is_nobody_else(launching: dict[str, t.Any] | None, keys: dict[str, t.Any]) -> None:
    assert asked(users(launching=launching), **keys) is None


def test_with_other_flags_it_is_another_way_to_the_same_user() -> None:
    assert asked(users(launching={}), **SUDO, become_flags="-E -n") is not None


def test_root_goes_back_to_the_user_of_the_connection_and_others_cannot() -> None:
    made = asked(users(launching={}), become=False)
    assert made is not None and made.user == "deploy"
    assert asked(users(launching={}, remote_user="root"), become=False) is None
    with pytest.raises(Refused, match="run as 'web', who cannot switch back"):
        asked(users(launching={"become_user": "web"}), become=False)
    with pytest.raises(Refused, match="cannot switch back"):
        asked(users(launching={}, remote_user=None), become=False)


@pytest.mark.parametrize(
    ("variables", "password"), [({"ansible_become_password": "secret"}, ""), ({}, "secret")], ids=["variable", "asked"]
)
def test_where_a_password_is_set_only_root_goes_without_it(variables: dict[str, t.Any], password: str) -> None:
    with pytest.raises(Refused, match="passwords are not sent to hosts") as caught:
        asked(users(password=password), variables, **SUDO)
    assert "secret" not in str(caught.value)
    for as_root in (users(remote_user="root", password=password), users(launching={}, password=password)):
        made = asked(as_root, variables, **SUDO, become_user="web")
        assert made is not None and made.user == "web"
        assert "secret" not in str(made) and "password:" not in made.command[2]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("runas", "does not work for jobs. Use sudo or su"),
        ("nowhere.at.all", "there is no become plugin 'nowhere.at.all'"),
    ],
)
def test_methods_that_make_no_such_process_are_refused(method: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        asked(users(), become=True, become_method=method)
