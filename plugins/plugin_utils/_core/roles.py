# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Finds and reads files of tasks, and roles.

Checked with 2.19.14, 2.20.10 and 2.21.5. What it needs, the same in all three:

- `Role`: `_load_role_data`, `_load_role_yaml` and `_load_dependencies`, which it overrides; `_get_role_argspecs`, `_create_validation_task`;
  `_role_path`, `_role_collection`, `_metadata`, `add_parent`, `get_dep_chain`, `get_default_vars`, `get_vars`, `get_role_params`;
- `RoleInclude.load`, and `_ds`, a dependency as written;
- `Task._role`, `_parent`, `_variable_manager`, `play`, `get_include_params`;
- `Origin`, the place where a value was written.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ansible._internal._datatag._tags import Origin
from ansible.errors import AnsibleError
from ansible.playbook.role import Role as CoreRole
from ansible.playbook.role.include import RoleInclude

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, kind, refusing
from ansible_collections.background.jobs.plugins.plugin_utils._model import Home, Included, Role

if t.TYPE_CHECKING:
    from ansible.parsing.dataloader import DataLoader
    from ansible.playbook.task import Task

VALIDATE = "ansible.builtin.validate_argument_spec"

_NAMING = ("role", "name", "vars", "collections")


class Sources:
    """Files of tasks, and roles, as the task that launches would find them."""

    def __init__(self, task: Task, loader: DataLoader) -> None:
        self._task = task
        self._loader = loader

    def position(self, value: object) -> str | None:
        origin = value if isinstance(value, Origin) else Origin.get_tag(value)
        return f"{origin.path}:{origin.line_num}" if origin and origin.path and origin.line_num else None

    def search_path(self, home: Home) -> list[str]:
        """Return the folders in which tasks search for files, without the playbook's."""
        return list(dict.fromkeys([*home.search, *self._task.get_search_path()]))

    def tasks(self, name: str, home: Home) -> Included:
        path = self._find(name, home)
        try:
            tasks = self._loader.load_from_file(path, trusted_as_template=True)
        except AnsibleError as exc:
            text = " ".join(str(exc).split()).rstrip(".")
            raise Refused(f"{self.position(exc.obj) or path} cannot be read: {text}.") from exc
        within = Home(files=(path, *home.files), roles=home.roles)
        return Included(_list(tasks, path), within, magic=self._magic(within))

    def _find(self, name: str, home: Home) -> str:
        folders = [str(Path(file).parent) for file in home.files]
        own = [str(Path(self._task.get_path()).parent)]
        paths = [role.path for role in home.roles]
        if self._task._role is not None:
            paths.append(self._task._role._role_path)
        for path in paths:
            folders += [f"{path}/tasks", path]
        folders += [*own, self._loader.get_basedir()]
        # An absolute path is left as it is.
        candidates = list(dict.fromkeys(str(Path(folder, Path(name).expanduser()).resolve()) for folder in folders))
        for candidate in candidates:
            if Path(candidate).is_file():
                return candidate
        raise Refused(f"there is no file {name!r}. Looked for {', '.join(candidates)}.")

    def _magic(self, home: Home) -> dict[str, object]:
        search = self.search_path(home)
        magic: dict[str, object] = {"ansible_search_path": list(dict.fromkeys([*search, self._loader.get_basedir()]))}
        if home.roles:
            role = home.roles[0]
            magic |= {
                "role_name": role.own.get_name(include_role_fqcn=False),
                "role_path": role.path,
                "ansible_role_name": role.name,
                "ansible_collection_name": role.own._role_collection,
            }
        return magic

    def _parents(self, home: Home) -> dict[str, object]:
        """Return the variables of an included role about the roles that include it."""
        above = self._task.get_include_params()
        parents = [(role.name, role.path) for role in home.roles if role.is_included]
        if self._task._role is not None:
            parents.append((self._task._role.get_name(), self._task._role._role_path))
        names = [name for name, dummy in parents] + list(above.get("ansible_parent_role_names", ()))
        paths = [path for dummy, path in parents] + list(above.get("ansible_parent_role_paths", ()))
        return {"ansible_parent_role_names": names, "ansible_parent_role_paths": paths} if names else {}

    def role(self, options: Mapping[str, t.Any], home: Home) -> list[Included]:
        name = str(options["name"])
        parent = home.roles[0].own if home.roles else self._task._role
        collections = list(home.roles[0].collections) if home.roles else self._task.collections
        include = refusing(
            RoleInclude.load,
            name,
            play=self._task.play,
            variable_manager=self._task._variable_manager,
            loader=self._loader,
            collection_list=collections,
        )
        from_files = {key.removesuffix("_from"): str(options[key]) for key in options if key.endswith("_from")}
        role = _load(include, self._task.play, parent, from_files)
        validate = bool(options.get("rolespec_validate", True))
        parents = self._parents(home)
        return [replace(part, magic={**part.magic, **parents}) for part in self._parts(role, home, None, [], validate)]

    def _parts(
        self, role: _RoleAsWritten, home: Home, keys: Mapping[str, object] | None, seen: list[CoreRole], validate: bool
    ) -> Iterator[Included]:
        """Yield the tasks of the roles that a role depends on, and then its own.

        keys: the keywords that a role which depends on this one sets for it; None for a role that is included.
        """
        known = Role(role.get_name(), str(role._role_path), tuple(role.collections or ()), keys is None, role)
        name = str(role._from_files.get("tasks", "main.yml"))
        file = next((path for path in _spellings(f"{known.path}/tasks/{name}") if Path(path).is_file()), name)
        within = Home(files=(file, *home.files), roles=(known, *home.roles))
        for dependency, said in role.written_dependencies:
            if dependency not in seen or dependency._metadata.allow_duplicates:
                seen.append(dependency)
                yield from self._parts(
                    dependency, Home(files=home.files, roles=within.roles), said, seen, validate=True
                )
        chain = role.get_dep_chain()
        yield Included(
            tasks=_list(role.tasks_as_written, file),
            home=within,
            defaults=role.get_default_vars(chain),
            variables=role.get_vars(chain, include_params=False),
            params=role.get_role_params(chain),
            magic=self._magic(within),
            keys=keys or {},
            role=known.name,
            handlers=_list(role.handlers_as_written, f"{known.path}/handlers"),
            spec=_specification(role, name) if validate else None,
        )


def _list(tasks: object, path: str) -> list[object]:
    if tasks is None:
        return []
    if not isinstance(tasks, list):
        raise Refused(f"{path} must be a list of tasks: it is {kind(tasks)}.")
    return tasks


def _spellings(path: str) -> list[str]:
    return [path, f"{path}.yml", f"{path}.yaml", f"{path}.json", path.removesuffix(".yml") + ".yaml"]


class _RoleAsWritten(CoreRole):
    """A role that keeps its tasks as written."""

    tasks_as_written: object = None
    handlers_as_written: object = None
    is_loading: bool = False

    def _load_role_yaml(self, subdir: str, main: str | None = None, allow_dir: bool = False) -> t.Any:
        data = super()._load_role_yaml(subdir, main=main, allow_dir=allow_dir)
        if subdir == "handlers":
            self.handlers_as_written = data
            return None
        if subdir != "tasks":
            return data
        self.tasks_as_written = data
        return None

    def _load_dependencies(self) -> list[CoreRole]:
        # Keep each role with the keywords of its dependency.
        self.written_dependencies = [
            (_load(include, self._play, self), _said_of(include)) for include in self._metadata.dependencies
        ]
        return [role for role, dummy in self.written_dependencies]


def _load(include: RoleInclude, play: t.Any, parent: CoreRole | None, from_files: t.Any = None) -> _RoleAsWritten:
    role = _RoleAsWritten(play=play, from_files=from_files, from_include=True, validate=False)
    role.written_dependencies = []
    path = include.get_role_path()
    ancestors = [*parent.get_dep_chain(), parent] if parent is not None else []
    depending = [one for one in ancestors if isinstance(one, _RoleAsWritten) and one.is_loading]
    if any(one._role_path == path for one in depending):
        names = " -> ".join(str(one) for one in [*depending, include.get_name()])
        raise Refused(f"roles depend on each other: {names}. Remove one of these dependencies.")
    role.is_loading = True
    refusing(role._load_role_data, include, parent_role=parent)
    role.is_loading = False
    return role


def _said_of(include: RoleInclude) -> dict[str, object]:
    """Return the keys of a dependency that a block may have too, such as `when`."""
    written = include._ds if isinstance(include._ds, Mapping) else {}
    return {key: value for key, value in written.items() if key in RoleInclude.fattributes and key not in _NAMING}


def _specification(role: _RoleAsWritten, tasks_from: str) -> Mapping[str, object] | None:
    entry = "main" if tasks_from == "main.yml" else tasks_from
    specification = role._get_role_argspecs().get(entry)
    if not specification:
        return None
    arguments: Mapping[str, object] = role._create_validation_task(specification, entry)["args"]
    return arguments
