# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused, kind, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._plan import actions


@pytest.mark.parametrize("name", sorted(actions.REFUSED))
@pytest.mark.parametrize("prefix", ["", "ansible.builtin.", "ansible.legacy."])
def test_actions_that_cannot_be_jobs_are_refused_by_name(prefix: str, name: str) -> None:
    with pytest.raises(Refused, match=f"{name} cannot run in the background: .*[.]$"):
        actions.refuse(prefix + name)


@pytest.mark.parametrize(
    "name", ["command", "ansible.builtin.package", "ansible.builtin.copy", "script", "my.own.template"]
)
def test_others_are_not(name: str) -> None:
    actions.refuse(name)


@pytest.mark.parametrize(
    ("name", "arguments", "known"),
    [
        ("ansible.builtin.copy", {}, True),
        ("ansible.legacy.script", {}, True),
        ("my.own.copy", {}, False),
        ("ansible.builtin.file", {}, False),
        ("ansible.builtin.uri", {}, False),
        ("ansible.builtin.uri", {"src": "x"}, True),
        ("ansible.builtin.uri", {"src": "x", "remote_src": "yes"}, False),
        ("ansible.legacy.uri", {"body_format": "form-multipart"}, True),
        ("ansible.builtin.uri", {"body_format": "json"}, False),
    ],
)
def test_a_controller_half_is_known_of_cores_own_actions_alone(
    name: str, arguments: dict[str, object], known: bool
) -> None:
    assert actions.has_controller_half(name, arguments, False) is known


def test_what_is_skipped_in_check_mode_anyway_sends_nothing() -> None:
    assert not actions.has_controller_half("ansible.builtin.uri", {"src": "x"}, True)


def test_jobs_of_jobs_are_refused() -> None:
    with pytest.raises(Refused, match="jobs cannot launch"):
        actions.refuse("background.jobs.async_run")


@pytest.mark.parametrize(
    ("module", "looks"),
    [("ansible.legacy.setup", True), ("a.b.x_info", True), ("ansible.legacy.command", False), ("copy", False)],
)
def test_only_looking(module: str, looks: bool) -> None:
    assert actions.only_looks(module) is looks


def test_errors_name_the_job_in_one_line() -> None:
    assert (
        str(JobRefused("tasks[1]", "two\nlines", "loop", "no."))
        == "tasks[1] ('two lines'), key 'loop': no. Nothing was started."
    )
    assert shorten("a " * 50, 10) == "a a a a a…"
    assert [kind(value) for value in (None, True, 1, "x", {}, [], object)] == [
        "nothing",
        "a boolean ('True')",
        "a number ('1')",
        "a string ('x')",
        "a dictionary",
        "a list",
        "type",
    ]


@pytest.mark.parametrize(
    ("fqcn", "option", "arguments", "decides"),
    [
        ("ansible.builtin.unarchive", "src", {}, True),
        ("ansible.builtin.unarchive", "src", {"remote_src": False}, True),
        ("ansible.builtin.unarchive", "src", {"remote_src": True}, False),
        ("ansible.builtin.copy", "src", {"remote_src": "yes"}, False),
        ("ansible.builtin.copy", "src", {"remote_src": "{{ known_later }}"}, True),
        ("ansible.builtin.copy", "remote_src", {"remote_src": True}, True),
        ("ansible.builtin.copy", "dest", {}, False),
    ],
)
def test_a_source_on_the_host_is_for_the_module_to_read(
    fqcn: str, option: str, arguments: dict[str, object], decides: bool
) -> None:
    assert actions.decides(fqcn, option, arguments) is decides
