# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play import Play

from ansible_collections.background.jobs.plugins.plugin_utils._core.roles import Sources
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import Home, Included

FILES = {
    "site.yml": "",
    "tasks.yml": "- {name: top, command: a}\n- {name: second, command: b}\n",
    "empty.yml": "",
    "mapping.yml": "a: b\n",
    "broken.yml": "- a:\n  - [\n",
    "sub/first.yml": "- {name: in sub, command: a}\n",
    "sub/other.yml": "- {name: other in sub, command: a}\n",
    "other.yml": "- {name: other at the top, command: a}\n",
    "roles/web/tasks/main.yml": "- {name: web, command: a}\n",
    "roles/web/tasks/extra.yaml": "- {name: extra, command: a}\n",
    "roles/web/tasks/sub/part.yml": "- {name: part, command: a}\n",
    "roles/web/defaults/main.yml": "colour: web\nsize: web\n",
    "roles/web/vars/main.yml": "kind: web\n",
    "roles/web/vars/alt.yml": "kind: alt\n",
    "roles/web/meta/main.yml": "dependencies:\n  - {role: base, when: wanted, vars: {asked: for}}\n  - {role: base, when: wanted, vars: {asked: for}}\n",
    "roles/web/meta/argument_specs.yml": "argument_specs:\n  main:\n    options: {size: {type: str}}\n",
    "roles/base/tasks/main.yml": "- {name: base, command: a}\n",
    "roles/base/defaults/main.yml": "colour: base\nground: base\n",
    "roles/base/vars/main.yml": "exported: base\n",
    "roles/bare/files/f": "",
    "roles/wrong/tasks/main.yml": "a: b\n",
    "roles/one/meta/main.yml": "dependencies: [two]\n",
    "roles/two/meta/main.yml": "dependencies: [one]\n",
}


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    loader = DataLoader()
    loader.set_basedir(str(tmp_path))
    task: t.Any = types.SimpleNamespace(
        _role=None,
        _variable_manager=None,
        collections=None,
        play=Play(),
        get_path=lambda: f"{tmp_path}/site.yml:3",
        get_search_path=lambda: [str(tmp_path)],
        get_include_params=dict,
    )
    return Sources(task, loader)


def names(included: Included) -> list[str]:
    return [t.cast("dict[str, str]", task)["name"] for task in included.tasks]


def test_a_file_is_found_beside_the_one_that_includes_it_and_then_beside_the_playbook(
    sources: Sources, tmp_path: Path
) -> None:
    first = sources.tasks("sub/first.yml", Home())
    assert (names(first), first.home.files) == (["in sub"], (f"{tmp_path}/sub/first.yml",))
    assert names(sources.tasks("other.yml", first.home)) == ["other in sub"]
    assert names(sources.tasks("other.yml", Home())) == ["other at the top"]
    assert names(sources.tasks("tasks.yml", first.home)) == ["top", "second"]
    assert names(sources.tasks(f"{tmp_path}/tasks.yml", Home())) == ["top", "second"]
    assert list(sources.tasks("empty.yml", Home()).tasks) == []
    assert first.magic == {"ansible_search_path": [f"{tmp_path}/sub", str(tmp_path)]}


def test_tasks_know_their_place(sources: Sources, tmp_path: Path) -> None:
    included = sources.tasks("tasks.yml", Home())
    assert [sources.position(task) for task in included.tasks] == [f"{tmp_path}/tasks.yml:{line}" for line in (1, 2)]
    assert sources.position("made up") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.yml", ["no file 'nowhere.yml'", "Looked for {0}/sub/nowhere.yml, {0}/nowhere.yml."]),
        ("mapping.yml", ["{0}/mapping.yml must be a list of tasks", "a dictionary"]),
        ("broken.yml", ["{0}/broken.yml:3 cannot be read"]),
        ("sub", ["no file 'sub'"]),
    ],
)
def test_bad_files(sources: Sources, tmp_path: Path, name: str, words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        sources.tasks(name, Home(files=(f"{tmp_path}/sub/first.yml",)))
    assert all(word.format(tmp_path) in str(caught.value) for word in words), str(caught.value)


def test_a_role_comes_after_those_that_it_depends_on(sources: Sources, tmp_path: Path) -> None:
    parts = sources.role({"name": "web"}, Home(files=("/x/y.yml",)))
    assert [names(part) for part in parts] == [["base"], ["web"]]
    base, web = parts
    assert (dict(base.keys), dict(web.keys)) == ({"when": "wanted"}, {})
    assert base.variables["asked"] == "for" and "asked" not in web.variables
    assert dict(web.defaults) == {"colour": "web", "size": "web", "ground": "base"}
    assert dict(web.variables) == {"kind": "web", "exported": "base"}
    assert (web.spec or {})["argument_spec"] == {"size": {"type": "str"}} and base.spec is None
    assert web.home.files == (f"{tmp_path}/roles/web/tasks/main.yml", "/x/y.yml")
    assert web.home.search == (f"{tmp_path}/roles/web", f"{tmp_path}/roles/web/tasks")
    assert base.home.search == (f"{tmp_path}/roles/base", f"{tmp_path}/roles/web", f"{tmp_path}/roles/base/tasks")
    assert {key: web.magic[key] for key in ("role_name", "role_path")} == {
        "role_name": "web",
        "role_path": f"{tmp_path}/roles/web",
    }
    assert "ansible_parent_role_names" not in web.magic


def test_files_of_a_role_are_found_in_its_tasks(sources: Sources, tmp_path: Path) -> None:
    home = sources.role({"name": "web"}, Home())[-1].home
    part = sources.tasks("sub/part.yml", home)
    assert names(part) == ["part"] and part.magic["role_name"] == "web"
    assert names(sources.tasks("extra.yaml", part.home)) == ["extra"]
    assert part.home.search == (f"{tmp_path}/roles/web", f"{tmp_path}/roles/web/tasks/sub")
    (inner,) = sources.role({"name": "base"}, part.home)
    assert (inner.magic["role_name"], inner.magic["ansible_parent_role_names"]) == ("base", ["web"])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"tasks_from": "extra"}, ["extra"]),
        ({"tasks_from": "sub/part.yml"}, ["part"]),
    ],
)
def test_a_role_may_start_elsewhere(sources: Sources, options: dict[str, str], found: list[str]) -> None:
    part = sources.role({"name": "web", **options}, Home())[-1]
    assert names(part) == found and Path(part.home.files[0]).is_file() and part.spec is None
    assert names(sources.tasks("extra.yaml", part.home)) == ["extra"]


def test_a_role_may_have_other_variables_and_no_tasks(sources: Sources) -> None:
    assert sources.role({"name": "web", "vars_from": "alt"}, Home())[-1].variables["kind"] == "alt"
    assert sources.role({"name": "web", "rolespec_validate": False}, Home())[-1].spec is None
    (bare,) = sources.role({"name": "bare"}, Home())
    assert list(bare.tasks) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "nope"}, ["'nope' was not found"]),
        ({"name": "web", "tasks_from": "nope"}, ["tasks/nope"]),
        ({"name": "wrong"}, ["wrong/tasks/main.yml must be a list of tasks"]),
        ({"name": "one"}, ["roles depend on each other: one -> two -> one. Remove one of these dependencies."]),
    ],
)
def test_bad_roles(sources: Sources, options: dict[str, str], words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        sources.role(options, Home())
    assert all(word in str(caught.value) for word in words), str(caught.value)
