# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.background.jobs.plugins.module_utils._verbs import stand_in

SPEC = {"name": {"type": "str"}, "poll": {"type": "float", "default": 10}, "_plan": {"no_log": True}}


@pytest.fixture
def logged(monkeypatch):
    """What was written to syslog."""
    found = []
    monkeypatch.setattr(stand_in.syslog, "openlog", lambda *words: found.append(words))
    monkeypatch.setattr(stand_in.syslog, "syslog", lambda *words: found.append(words))
    return found


def module(**given):
    about = {"_ansible_module_name": "background.jobs.async_wait", "_ansible_syslog_facility": "LOG_LOCAL3"}
    return stand_in.AnsibleModule(dict(about, **given), argument_spec=SPEC, supports_check_mode=True)


def answer(capsys, end):
    with pytest.raises(SystemExit) as caught:
        end()
    return json.loads(capsys.readouterr().out), caught.value.code


def test_options_that_are_not_given_have_their_defaults(logged):
    assert module(name="x", unknown=1).params == {"name": "x", "poll": 10, "_plan": None}


def test_a_module_answers(logged, capsys):
    one = module()
    assert answer(capsys, lambda: one.exit_json(changed=True, name="\udcff")) == (
        {"changed": True, "name": "\udcff"},
        0,
    )
    assert answer(capsys, lambda: one.fail_json(msg="no")) == ({"failed": True, "msg": "no"}, 1)
    one.warn("careful")
    assert answer(capsys, one.exit_json)[0]["warnings"] == ["careful"]


def test_a_call_is_logged_as_those_of_ansible_core_are(logged):
    module(name="caf\xe9\0\udcff", _plan="secret", _ansible_target_log_info="web1")
    (identifier, dummy, facility), (priority, text) = logged
    assert (identifier, facility) == ("ansible-background.jobs.async_wait", stand_in.syslog.LOG_LOCAL3)
    assert priority == stand_in.syslog.LOG_INFO
    assert text == "web1 Invoked with name=caf\xe9? poll=10 _plan=NOT_LOGGING_PARAMETER"


def test_what_is_not_to_be_logged_is_not(logged):
    module(name="x", _ansible_no_log=True)
    assert not logged


@pytest.mark.parametrize(("open_to_us", "goes_to"), [({"here", "home"}, "here"), ({"home"}, "home"), (set(), "/")])
def test_a_folder_that_cannot_be_read_is_left(logged, tmp_path, monkeypatch, open_to_us, goes_to):
    for name in ("here", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    readable = {"/", *(str(tmp_path / name) for name in open_to_us)}
    monkeypatch.setattr(stand_in.os, "access", lambda path, dummy: path in readable)
    module()
    assert os.getcwd() == os.path.join(str(tmp_path), goes_to)
