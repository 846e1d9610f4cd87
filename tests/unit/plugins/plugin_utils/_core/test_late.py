# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play import Play
from ansible.template import Templar, trust_as_template

from ansible_collections.background.jobs.plugins.plugin_utils._core import late
from ansible_collections.background.jobs.plugins.plugin_utils._errors import refusing


def play_with(*handlers: dict[str, t.Any]) -> t.Any:
    loader = DataLoader()
    return Play.load({"hosts": "all", "handlers": list(handlers)}, loader=loader, vars={})


def rendered(name: str, variables: dict[str, t.Any]) -> str:
    templar = Templar(DataLoader(), variables={"service": "web", **variables})
    return t.cast("str", refusing(templar.template, name))


def test_handlers_are_known_by_the_names_that_core_finds_them_by() -> None:
    play = play_with(
        {"name": "plain", "command": "true", "listen": ["topic", "other"]},
        {"name": trust_as_template("restart {{ service }}"), "command": "true"},
        {"name": trust_as_template("reload {{ of_its_own }}"), "command": "true", "vars": {"of_its_own": "it"}},
        {"name": trust_as_template("{{ unknown }}"), "command": "true", "listen": "third"},
        {"command": "true", "listen": "nameless"},
    )
    names = late.handlers_of(play, rendered)
    assert names == ["plain", "topic", "other", "restart web", "reload it", "{{ unknown }}", "third", "nameless"]


def test_handlers_of_roles_in_the_job_are_not_those_of_the_play(tmp_path: Path) -> None:
    for name in ("in_job", "other"):
        (tmp_path / "roles" / name / "handlers").mkdir(parents=True)
        (tmp_path / "roles" / name / "handlers" / "main.yml").write_text(
            f"- {{name: restart {name}, command: 'true', listen: {name} changed}}\n"
        )
    loader = DataLoader()
    loader.set_basedir(str(tmp_path))
    play = Play.load({"hosts": "all", "roles": ["in_job", "other"]}, loader=loader, vars={})
    names = late.handlers_of(play, rendered, {str(tmp_path / "roles" / "in_job")})
    assert [name for name in names if "in_job" in name] == []
    assert {"restart other", "other changed"} <= set(names)
    assert {"restart in_job", "in_job changed"} <= set(late.handlers_of(play, rendered))
