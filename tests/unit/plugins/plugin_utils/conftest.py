# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import re
import typing as t
from collections.abc import Collection, Mapping

from ansible_collections.background.jobs.plugins.plugin_utils._entries import expansion
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, closest, plainly
from ansible_collections.background.jobs.plugins.plugin_utils._late import scripted
from ansible_collections.background.jobs.plugins.plugin_utils._model import (
    ABSENT,
    FILE,
    NAMED_FILE,
    Become,
    Block,
    Body,
    Defaults,
    Home,
    Included,
    Job,
    Role,
    Step,
)

MODULES = {
    "command": "ansible.builtin.command",
    "shell": "ansible.builtin.shell",
    "ansible.builtin.file": "ansible.builtin.file",
    "template": "ansible.builtin.template",
    "ansible.builtin.package_facts": "ansible.builtin.package_facts",
    "ansible.builtin.setup": "ansible.builtin.setup",
}
REFUSED_MODULES = ("add_host",)
LOCAL = ("assert", "debug", "fail", "include_vars", "meta", "pause", "set_fact")
INCLUDES = ("include_tasks", "import_tasks", "include_role", "import_role")

Tree = dict[str, t.Any]
_TEMPLATE = re.compile(r"\{\{ ([\w.]+) \}\}")


class FakeCall:
    def __init__(self, module: str, value: object, args: object) -> None:
        self.fqcn = MODULES[module]
        self.value = value
        self.args = args
        given = dict(value) if isinstance(value, dict) else {"_raw_params": value}
        self.arguments = {**given, **(args if isinstance(args, dict) else {})}

    def recalled(self, arguments: Tree) -> FakeCall:
        other = copy.copy(self)
        other.arguments = arguments
        return other


class FakeSources:
    """Files of tasks and roles that are given as values; a role is what `Included` takes, or its tasks."""

    def __init__(self, files: Mapping[str, t.Any], roles: Mapping[str, t.Any]) -> None:
        self.files = files
        self.roles = roles

    def tasks(self, name: str, home: Home) -> Included:
        if name not in self.files:
            raise Refused(f"there is no file {name!r}.")
        return Included(self.files[name], Home((f"/play/{name}", *home.files), home.roles))

    def role(self, options: Mapping[str, t.Any], home: Home) -> list[Included]:
        given = self.roles.get(options["name"])
        if given is None:
            raise Refused(f"there is no role {options['name']!r}.")
        found = given if isinstance(given, dict) else {"tasks": given}
        role = Role(options["name"], f"/roles/{options['name']}")
        file = f"{role.path}/tasks/{options.get('tasks_from', 'main')}.yml"
        return [Included(home=Home((file, *home.files), (role, *home.roles)), **found)]

    def position(self, value: object) -> str | None:
        return f"the.yml:{value.line}" if isinstance(value, Placed) else None


class Placed(dict[str, t.Any]):
    """A task that knows its line."""

    def __init__(self, line: int, **task: t.Any) -> None:
        super().__init__(task)
        self.line = line


class FakeLanguage:
    """Templates of the form {{ name }}; conditions are names of variables, with 'not' before them or without."""

    def __init__(
        self, files: Mapping[str, t.Any] | None = None, roles: Mapping[str, t.Any] | None = None, **variables: t.Any
    ) -> None:
        self.sources = FakeSources(files or {}, roles or {})
        self.variables = variables
        self.user: Tree = {"become": False, "become_user": "root"}

    def resolve(self, value: object) -> object:
        return self.template(value, {}) if isinstance(value, str) else value

    def scope(self, defaults: t.Any, own: t.Any, params: t.Any, loop: t.Any) -> Tree:
        weak = {key: value for key, value in defaults.items() if key not in self.variables}
        return {**weak, **own, **params, **loop}

    def variable(self, name: str, scope: Tree) -> object:
        if name.startswith(NAMED_FILE):
            try:
                name = FILE + self.template(name.removeprefix(NAMED_FILE), scope)
            except Refused:
                return "{% include nobody_knows %}"
        if name.startswith(FILE):
            return self.sources.files.get(name.removeprefix(FILE), "{% include nobody_knows %}")
        return {**self.variables, **scope}.get(name, ABSENT)

    def is_template(self, text: str) -> bool:
        return "untrusted" not in text

    def template(self, value: t.Any, scope: Tree) -> t.Any:
        known = {**self.variables, **scope}
        if isinstance(value, dict):
            return {key: self.template(inner, scope) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.template(inner, scope) for inner in value]
        if not isinstance(value, str):
            return value
        if value == "{{ omit }}":
            return ABSENT
        whole = _TEMPLATE.fullmatch(value)
        if whole:
            return self.look_up(whole[1], known)
        return _TEMPLATE.sub(lambda match: str(self.look_up(match[1], known)), value)

    def look_up(self, name: str, known: Tree) -> t.Any:
        first, *rest = name.split(".")
        if first not in known:
            raise Refused(f"'{first}' is undefined.")
        value = known[first]
        for key in rest:
            value = value[key]
        return self.template(value, known)

    def holds(self, condition: t.Any, scope: Tree) -> bool:
        if isinstance(condition, bool):
            return condition
        wanted = not condition.startswith("not ")
        return bool(self.look_up(condition.removeprefix("not "), {**self.variables, **scope})) is wanted

    def is_module(self, name: str, home: Home) -> bool:
        return name in MODULES or name in REFUSED_MODULES or name in LOCAL or name.rpartition(".")[2] in INCLUDES

    def modules_like(self, name: str, home: Home) -> list[str]:
        return closest(name, MODULES)

    def arguments(self, action: str, value: t.Any, args: t.Any) -> Tree:
        given = dict(value) if isinstance(value, dict) else {} if value is None else {"_raw_params": value}
        return {**given, **({} if args is ABSENT else args)}

    def argument_defaults(self, fqcn: str, scope: Tree) -> Tree:
        return dict(self.variables.get("module_defaults", {}).get(fqcn, {}))

    def call(self, module: str, value: object, args: object, home: Home) -> FakeCall:
        if module in REFUSED_MODULES:
            raise plainly(f"{module} cannot run in the background: it does its work on the controller.")
        if module not in MODULES:
            raise plainly(f"there is no module {module!r}.")
        return FakeCall(module, value, args)

    def is_left_out(self, tags: Collection[str]) -> bool:
        return "never" in tags and "asked" not in tags

    def own_tags(self) -> tuple[str, ...]:
        return ()

    def strong(self) -> Collection[str]:
        return t.cast("Collection[str]", self.variables.get("strong", ()))

    def set_before(self) -> Collection[str]:
        return t.cast("Collection[str]", self.variables.get("set_before", ()))

    def is_fact(self, name: str) -> bool:
        return name.startswith("ansible_")

    def trusted(self, text: str) -> str:
        return text

    def recall(self, call: FakeCall, arguments: Tree) -> FakeCall:
        return call.recalled(arguments)

    def looked_up(self, lookup: str, value: object, scope: Tree) -> object:
        terms = self.template(value, scope)
        return [f"{lookup} {term}" for term in terms] if lookup != "items" else terms

    def read_variables(self, options: Mapping[str, t.Any], home: Home, scope: Tree) -> tuple[list[str], Tree]:
        name = options.get("file", options.get("_raw_params"))
        return [f"/play/vars/{name}"], self.sources.files[name]

    def of_play(self, roles: object) -> Tree:
        return {
            "core": "2.21",
            "play_handlers": ["of the play", *self.variables.get("play_handlers", [])],
            "missing_handlers_fail": self.variables.get("missing_handlers_fail", True),
        }

    def runs_once_on(self) -> str | None:
        return self.variables.get("first_host")

    def host(self) -> str:
        return "this"

    def template_file(self, call: FakeCall, arguments: Tree, scope: Tree) -> tuple[str, Tree, Tree] | None:
        if call.fqcn != MODULES["template"]:
            return None
        return self.sources.files[arguments["src"]], {}, {"template_path": arguments["src"]}

    def check_role(self, included: Included, scope: Tree) -> None:
        spec = included.spec or {}
        missing = [name for name in spec.get("argument_spec", spec) if name not in {**self.variables, **scope}]
        if missing:
            raise Refused(f"missing required arguments: {', '.join(missing)}.")

    def become(self, keys: Mapping[str, t.Any], scope: Tree) -> Become | None:
        wanted = {**self.user, **{key: value for key, value in keys.items() if value is not None}}
        if wanted == self.user:
            return None
        if not wanted["become"]:
            raise Refused("there is no way back.")
        return Become(wanted["become_user"], ("become", wanted["become_user"]))


def expand(
    entries: object,
    defaults: Defaults | None = None,
    files: Mapping[str, t.Any] | None = None,
    roles: Mapping[str, t.Any] | None = None,
    **variables: t.Any,
) -> list[Job]:
    language = FakeLanguage(files, roles, **variables)
    return expansion.expand(entries, language, defaults or Defaults(), scripts=scripted)


def only(job: Job) -> Step:
    """Return the one task of a job that is no block."""
    (step,) = job.body
    assert isinstance(step, Step)
    return step


def steps(body: Body) -> list[Step]:
    """Return the tasks of a body, with those of its blocks, in the order written."""
    found: list[Step] = []
    for node in body:
        found += [node] if isinstance(node, Step) else steps(node.block) + steps(node.rescue) + steps(node.always)
    return found


def shape(body: Body) -> list[t.Any]:
    """Return a body as the names of its tasks; lists of them stand for block, rescue and always."""
    return [
        node.name
        if isinstance(node, Step)
        else {key: shape(getattr(node, key)) for key in ("block", "rescue", "always") if getattr(node, key)}
        for node in body
    ]


def block_of(job: Job) -> Block:
    (block,) = job.body
    assert isinstance(block, Block)
    return block
