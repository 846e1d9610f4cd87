# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Finds the action plugin and the arguments for the name of a module and what is written beside it."""

from __future__ import annotations

import typing as t

from ansible.parsing.mod_args import ModuleArgsParser
from ansible.plugins import loader as plugin_loader

from ansible_collections.background.jobs.plugins.plugin_utils._core import modules, roles
from ansible_collections.background.jobs.plugins.plugin_utils._errors import nearest, plainly, refusing
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Home
from ansible_collections.background.jobs.plugins.plugin_utils._plan import actions

if t.TYPE_CHECKING:
    from ansible.playbook.task import Task
    from ansible.plugins.action import ActionBase

Arguments = dict[str, t.Any]

_NORMAL = "ansible.legacy.normal"


class Kind(t.NamedTuple):
    """A module, and the action plugin that runs it; shared by all entries with that module."""

    fqcn: str
    task: Task
    handler: ActionBase


class ParsedCall(t.NamedTuple):
    """The module call of an entry, its arguments still templates; shared by all items of the entry's loop."""

    kind: Kind
    arguments: Arguments

    @property
    def fqcn(self) -> str:
        return self.kind.fqcn


class Calls:
    """The module calls of one launch."""

    def __init__(self, action: ActionBase, templar: t.Any, sources: roles.Sources) -> None:
        self._action, self._templar, self._sources = action, templar, sources
        self._task = action._task
        self._kinds: dict[tuple[str, Home], Kind] = {}
        self._parsed: dict[t.Any, tuple[object, object, ParsedCall]] = {}

    def call(self, module: str, value: object, args: object, home: Home) -> ParsedCall:
        """Return the call that `module: value`, and `args` beside it, stand for. Refused if there is no such module."""
        kind = self._kinds.get((module, home))
        if kind is None:
            kind = self._kinds[module, home] = self._kind(module, home)
        # All items of a loop share the same objects, known by their ids. They are kept, or the ids could be reused.
        key = (module, home, id(value), id(args))
        if key not in self._parsed:
            self._parsed[key] = (value, args, ParsedCall(kind, self.arguments(module, value, args)))
        return self._parsed[key][2]

    def arguments(self, action: str, value: object, args: object) -> Arguments:
        """Return the arguments of an action, written as a mapping or as `key=value`."""
        source = {action: value} if args is ABSENT else {action: value, "args": args}
        parser = ModuleArgsParser(task_ds=source, collection_list=self._task.collections)
        dummy, arguments, dummy = refusing(parser.parse, skip_action_validation=True)
        return dict(arguments)

    def is_module(self, name: str, home: Home) -> bool:
        return name.rpartition(".")[2] in actions.NOT_PLUGINS or modules.find(name, self._collections(home)) is not None

    def modules_like(self, name: str, home: Home) -> list[str]:
        return modules.like(name, self._collections(home))

    def _collections(self, home: Home) -> list[str] | None:
        # A role has its own collections, and not those of the play.
        collections: list[str] | None = list(home.roles[0].collections) if home.roles else self._task.collections
        return collections

    def _kind(self, module: str, home: Home) -> Kind:
        actions.refuse(module)
        found = modules.find(module, self._collections(home))
        if found is None:
            hint = nearest(module, (), also=self.modules_like(module, home))
            raise plainly(
                f"there is no module {module!r}: a typo, a collection that is not installed, or a key that a job does not have.{hint}"
            )
        actions.refuse(found.resolved_fqcn)
        # Building modules does not know short names from the collections of a role: take the full one.
        name = found.resolved_fqcn if home.roles and home.roles[0].collections else module
        task = self.copy_of_task(name, home)
        return Kind(found.resolved_fqcn, task, self.handler(name, task))

    def copy_of_task(self, action: str, home: Home) -> Task:
        """Return a copy of the launching task for another action, which searches for files as the tasks of `home` do."""
        task = self._task.copy(exclude_parent=True)
        task._parent = self._task._parent
        task.action = action
        # Any number makes action plugins run as for async; the supervisor enforces the time limit.
        task.async_val = 1
        task.poll = 0
        if home.roles:
            task.collections = self._collections(home)
        if home.search:
            search = self._sources.search_path(home)
            task.get_search_path = lambda: list(search)  # type: ignore[method-assign]
        return task

    def handler(self, name: str, task: Task) -> ActionBase:
        """Return the action plugin that core would use; see TaskExecutor._get_action_handler_with_module_context."""
        collections: list[str] | None = task.collections
        module = plugin_loader.module_loader.find_plugin_with_context(name, collection_list=collections)
        if module.resolved and module.action_plugin:
            chosen = module.action_plugin
        elif plugin_loader.action_loader.has_plugin(name, collection_list=collections):
            chosen = name
        else:
            chosen, collections = _NORMAL, None
        handler = plugin_loader.action_loader.get(
            chosen,
            task=task,
            connection=self._action._connection,
            play_context=self._action._play_context,
            loader=self._action._loader,
            templar=self._templar,
            shared_loader_obj=plugin_loader,
            collection_list=collections,
        )
        if handler is None:
            raise plainly(f"its action plugin {chosen!r} cannot be loaded. Run it as a plain task to see why.")
        return t.cast("ActionBase", handler)
