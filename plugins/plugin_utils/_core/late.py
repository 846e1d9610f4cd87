# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The interface to ansible-core for jobs with a script: loops, files of variables, handlers, and what jobs hand back.

What it needs besides the names in core.py, checked with 2.19.14, 2.20.10 and 2.21.5, in all three unless it says otherwise:

- `_invoke_lookup` and `_DirectCall` of the templating, and `str_problematic_strip`, used as by `TaskExecutor._get_loop_items`;
- of the action plugin include_vars: that it reads its files in `run`, and lists them in `ansible_included_var_files`;
- `Play.handlers` and the roles of a play with `get_handler_blocks`; `Handler.listen`, `get_name`;
- that the handlers in `Task.notify` of the action plugin's task are read after `run`;
- 2.21: `register_host_variables` with `VariableLayer`; before: that `ansible_facts` of a result become facts, or with
  `_ansible_facts_cacheable` unset, and the action's name among those of set_fact, variables.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from ansible import constants as C  # noqa: N812  # as ansible-core names it
from ansible._internal._datatag import _utils
from ansible._internal._datatag._tags import TrustedAsTemplate
from ansible._internal._templating._jinja_plugins import _DirectCall, _invoke_lookup
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.release import __version__
from ansible.template import generate_ansible_template_vars

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, FILE, NAMED_FILE

Arguments = dict[str, t.Any]

_OF_TEMPLATES = ("src", "dest", "trim_blocks", "lstrip_blocks", "newline_sequence")
VERSION = ".".join(__version__.split(".")[:2])

# Variables that Ansible itself sets, and nothing in a playbook can override.
MAGIC = frozenset(
    (
        "ansible_check_mode",
        "ansible_collection_name",
        "ansible_config_file",
        "ansible_dependent_role_names",
        "ansible_diff_mode",
        "ansible_forks",
        "ansible_inventory_sources",
        "ansible_limit",
        "ansible_loop",
        "ansible_loop_var",
        "ansible_index_var",
        "ansible_parent_role_names",
        "ansible_parent_role_paths",
        "ansible_play_batch",
        "ansible_play_hosts",
        "ansible_play_hosts_all",
        "ansible_play_name",
        "ansible_play_role_names",
        "ansible_playbook_python",
        "ansible_role_name",
        "ansible_role_names",
        "ansible_run_tags",
        "ansible_search_path",
        "ansible_skip_tags",
        "ansible_verbosity",
        "ansible_version",
        "group_names",
        "groups",
        "hostvars",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
        "omit",
        "play_hosts",
        "playbook_dir",
        "role_name",
        "role_names",
        "role_path",
        "vars",
    )
)


def looked_up(templar: t.Any, lookup: str, value: object) -> object:
    """Return the items of a loop with_<lookup>, as TaskExecutor._get_loop_items does."""
    terms = value
    if isinstance(terms, str):
        terms = templar.resolve_to_container(_utils.str_problematic_strip(terms))
    if not isinstance(terms, list):
        terms = [terms]

    @_DirectCall.mark
    def invoke_lookup() -> t.Any:
        return _invoke_lookup(
            plugin_name=lookup, lookup_terms=terms, lookup_kwargs={"wantlist": True}, invoked_as_with=True
        )

    return templar.evaluate_expression(
        expression=TrustedAsTemplate().tag("invoke_lookup()"), local_variables={"invoke_lookup": invoke_lookup}
    )


def trusted(text: str) -> str:
    return TrustedAsTemplate().tag(text)


def read_variables(handler: t.Any, task_vars: Arguments) -> tuple[list[str], Mapping[str, object]]:
    """Return the files that an include_vars reads, and their variables."""
    handler.register_host_variables = lambda *dummy, **more: None  # they belong to the job, not to the play
    try:
        result = handler.run(task_vars=task_vars)
    except AnsibleError as exc:
        raise Refused(str(exc)) from exc
    if result.get("failed"):
        raise Refused(" ".join(str(result.get("message") or result.get("msg")).split()))
    return [str(path) for path in result["ansible_included_var_files"]], result["ansible_facts"]


_DELIMITERS = tuple(f"{kind}_{end}_string" for kind in ("block", "variable", "comment") for end in ("start", "end"))
_LINE_ENDS = {"\\n": "\n", "\\r": "\r", "\\r\\n": "\r\n"}


def is_template(fqcn: str) -> bool:
    return fqcn in ("ansible.builtin.template", "ansible.legacy.template")


def template_file(
    handler: t.Any, rendered: Callable[[object], t.Any], arguments: Mapping[str, t.Any]
) -> tuple[str, Arguments, Mapping[str, object]] | None:
    """Return the text of a template file, the options to render it with, and the variables that the module adds."""
    named = {key: rendered(value) for key, value in arguments.items() if key in (*_DELIMITERS, *_OF_TEMPLATES)}
    given = {key: value for key, value in named.items() if value is not ABSENT}
    if not isinstance(given.get("src"), str):
        return None
    try:
        path = handler._find_needle("templates", given["src"])
        text = handler._loader.get_text_file_contents(path)
    except AnsibleError:
        return None
    options: Arguments = {key: str(given[key]) for key in _DELIMITERS if given.get(key) is not None}
    for key, default in (("trim_blocks", True), ("lstrip_blocks", False)):
        options[key] = bool(boolean(given.get(key, default), strict=False))
    line_end = str(given.get("newline_sequence", "\n"))
    options["newline_sequence"] = _LINE_ENDS.get(line_end, line_end)
    own = generate_ansible_template_vars(path=given["src"], fullpath=path, dest_path=str(given.get("dest")))
    return str.__str__(text), options, own


_NOT_FOUND = "{% include nobody_knows %}"


def other_templates(
    loader: t.Any, name: str, variables: Mapping[str, t.Any], rendered: Callable[[object], t.Any]
) -> list[str]:
    """Return the texts of the files that a name with FILE, or NAMED_FILE, stands for."""
    if not name.startswith(NAMED_FILE):
        return [trusted(other_template(loader, name.removeprefix(FILE), variables))]
    try:
        names = rendered(trusted(name.removeprefix(NAMED_FILE)))
    except Refused:
        return [trusted(_NOT_FOUND)]
    each = names if isinstance(names, list) else [names]
    return [trusted(other_template(loader, str(one), variables)) for one in each]


def other_template(loader: t.Any, name: str, variables: Mapping[str, t.Any]) -> str:
    """Return the text of a file that a template includes, or that the lookup `template` renders.

    If it is not found (core may also search beside the including file), return a text that stands for that.
    """
    folders = [*variables.get("ansible_search_path", ()), str(Path(variables.get("template_fullpath", "")).parent)]
    try:
        return str.__str__(loader.get_text_file_contents(loader.path_dwim_relative_stack(folders, "templates", name)))
    except (AnsibleError, OSError):
        return _NOT_FOUND


def handlers_of(play: t.Any, rendered: Callable[[str, Arguments], str], without: Collection[object] = ()) -> list[str]:
    """Return all names and topics by which the handlers of a play, and of its roles, can be notified.

    rendered(name, variables): renders a handler's name with its own variables; without: the paths of roles whose
    handlers are left out. (Handlers of a role that one host includes are in the play for all hosts.)
    """
    blocks = list(play.handlers)
    for role in play.get_roles():
        blocks += role.get_handler_blocks(play)
    handlers = [handler for block in blocks for handler in block.block if _path_of_role(handler) not in without]
    return list(dict.fromkeys(name for handler in handlers for name in _names_of(handler, rendered)))


def _path_of_role(handler: t.Any) -> str | None:
    return str(handler._role._role_path) if handler._role else None


def _names_of(handler: t.Any, rendered: Callable[[str, Arguments], str]) -> Iterator[str]:
    if handler.name:
        try:
            name = rendered(handler.name, handler.get_vars())
        except Refused:
            name = handler.name  # core ignores such a handler
        for more in ({"include_role_fqcn": False}, {"include_role_fqcn": True}):
            yield f"{handler.get_name(**more).removesuffix(handler.name)}{name}"
        yield str(name)
    yield from (str(topic) for topic in handler.listen or ())


def missing_handlers_fail() -> bool:
    return bool(C.ERROR_ON_MISSING_HANDLER)  # type: ignore[attr-defined]


def inject_facts() -> bool:
    return bool(C.INJECT_FACTS_AS_VARS)  # type: ignore[attr-defined]


def hand_on(action: t.Any, result: Arguments, variables: Mapping[str, object], facts: Mapping[str, object]) -> None:
    """Make what jobs have set variables of the host, as after set_fact, and what they have gathered its facts."""
    if not variables and not facts:
        return
    # Each call replaces the one before: hand on everything so far again.
    known = action.__dict__.setdefault("_handed_on", ({}, {}))
    for every, new in zip(known, (variables, facts), strict=True):
        every.update(new)
    variables, facts = known
    register = getattr(action, "register_host_variables", None)
    if register is not None:  # 2.21
        from ansible.plugins.action import VariableLayer

        register(dict(variables), layer=VariableLayer.EPHEMERAL_FACT)
        if facts:
            register(dict(facts), layer=VariableLayer.CACHEABLE_FACT)
        return
    result["ansible_facts"] = {**result.get("ansible_facts", {}), **variables, **facts}


def notify(action: t.Any, topics: list[str]) -> None:
    """Have handlers of the play notified by the action plugin's task."""
    if topics:
        action._task.notify = list(dict.fromkeys([*(action._task.notify or ()), *topics]))
