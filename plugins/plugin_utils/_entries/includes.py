# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""include_tasks, import_tasks, include_role and import_role: the tasks of a file or of a role, treated like those of a block."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ansible_collections.background.jobs.plugins.plugin_utils._entries import keywords
from ansible_collections.background.jobs.plugins.plugin_utils._entries.context import Around
from ansible_collections.background.jobs.plugins.plugin_utils._entries.written import Written
from ansible_collections.background.jobs.plugins.plugin_utils._errors import nearest, unfit_kind
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Body, Included, Scope

if t.TYPE_CHECKING:
    from ansible_collections.background.jobs.plugins.plugin_utils._entries.blocks import StepBuilder

_OF_TASKS = frozenset(("file", "_raw_params", "apply"))
_FROM = ("tasks_from", "vars_from", "defaults_from", "handlers_from")
_OF_ROLE = frozenset(("name", "role", "apply", "public", "allow_duplicates", "rolespec_validate", "rescuable", *_FROM))
_DEEPEST = 20


def tasks(include: Written, scope: Scope, builder: StepBuilder, around: Around) -> Body:
    """Return the tasks that `include` stands for; around: what they inherit from it and from around it."""
    action = t.cast("str", include.action)
    options = _options(include, action, scope)
    around = _applied(include, action, options, around)
    body: Body = []
    for included in _found(include, action, options):
        _refuse_endless(include, action, included)
        own = _with_role(include, action, included, around)
        if included.spec is not None:
            checked = Written(include.at, {"name": include.title, "block": []}, own, keywords.BLOCK)
            include.guarded(action, include.language.check_role, builder.checked(included, own), checked.scope({}))
        body += builder.included(included, f"{include.at}, {included.home.files[0]}", own)
    return body


def _options(include: Written, action: str, scope: Scope) -> dict[str, t.Any]:
    args = include.source.get("args", ABSENT)
    options = include.guarded(action, include.language.arguments, action, include.source[action], args)
    known = _OF_ROLE if action.endswith("_role") else _OF_TASKS
    for key in options:
        if key not in known:
            allowed = ", ".join(sorted(known - {"_raw_params"}))
            hint = nearest(key, known)
            raise include.refuse(action, f"{key!r} is not one of its options.{hint} They are: {allowed}.")
    if "apply" in options and keywords.is_import(action):
        raise include.refuse(action, "an import has no 'apply': the keys beside it apply to its tasks anyway.")
    return {key: value if key == "apply" else include.rendered(action, value, scope) for key, value in options.items()}


def _found(include: Written, action: str, options: Mapping[str, t.Any]) -> Iterator[Included]:
    sources, home = include.language.sources, include.around.home
    if action.endswith("_role"):
        name = options.get("name", options.get("role"))
        if not isinstance(name, str) or not name:
            raise include.refuse(action, unfit_kind("it needs the name of a role", name))
        given = {key: value for key, value in options.items() if value is not None}
        yield from include.guarded(action, sources.role, {**given, "name": name}, home)
        return
    file = options.get("file", options.get("_raw_params"))
    if not isinstance(file, str) or not file:
        raise include.refuse(action, unfit_kind("it needs the name of a file", file))
    yield include.guarded(action, sources.tasks, file, home)


def _refuse_endless(include: Written, action: str, included: Included) -> None:
    file = included.home.files[0]
    if included.home.files.count(file) > _DEEPEST:
        raise include.refuse(action, f"{file} includes itself, again and again. Add a condition that ends this.")


def _applied(include: Written, action: str, options: Mapping[str, t.Any], around: Around) -> Around:
    """Return what tasks inherit, including `apply`."""
    apply = options.get("apply")
    if apply is None:
        return around
    if not isinstance(apply, Mapping):
        raise include.refuse(action, unfit_kind("'apply' must be a dictionary", apply))
    block = Written(f"{include.at}.apply", {**apply, "block": []}, around, keywords.BLOCK)
    return block.inside()


def _with_role(include: Written, action: str, included: Included, around: Around) -> Around:
    """Return what tasks inherit, including from their file and their role."""
    around = replace(
        around,
        home=included.home,
        role_defaults={**around.role_defaults, **included.defaults},
        role_variables={**around.role_variables, **included.variables},
        params={**around.params, **included.params},
        loop={**around.loop, **included.magic},
    )
    if not included.keys:
        return around
    dependency = Written(
        f"{include.at}, {included.home.files[0]}", {**included.keys, "block": []}, around, keywords.BLOCK
    )
    return dependency.inside()
