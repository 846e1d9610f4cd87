# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Finds modules by their names."""

from __future__ import annotations

import typing as t
from collections.abc import Collection

from ansible.plugins import loader as plugin_loader

from ansible_collections.background.jobs.plugins.plugin_utils._errors import closest, refusing


def find(name: str, collections: list[str] | None) -> t.Any:
    """Return the module or action plugin of a name, None if there is none."""
    module = refusing(plugin_loader.module_loader.find_plugin_with_context, name, collection_list=collections)
    if module.resolved and not module.action_plugin:
        action = plugin_loader.action_loader.find_plugin_with_context(name, collection_list=collections)
        return action if action.resolved else module
    if module.resolved:
        return module
    action = refusing(plugin_loader.action_loader.find_plugin_with_context, name, collection_list=collections)
    return action if action.resolved else None


def like(name: str, collections: list[str] | None) -> list[str]:
    """Return the names of modules that may be meant by a mistyped one."""
    collection, dot, leaf = name.rpartition(".")
    if not dot:
        return closest(leaf, _modules_of([*(collections or ()), "ansible.legacy"]))
    from ansible.collections.list import list_collections  # it imports all of ansible-galaxy

    known = ["ansible.builtin", "ansible.legacy", *list_collections()]
    within = [collection] if collection in known else closest(collection, known)[:1]
    return [f"{one}.{module}" for one in within for module in closest(leaf, _modules_of([one]))]


def _modules_of(collections: list[str]) -> list[str]:
    """Return the names of modules, without their collections."""
    from ansible.plugins.list import list_plugins  # as above

    found: Collection[str] = refusing(list_plugins, "module", collections)
    return list(dict.fromkeys(name.rpartition(".")[2] for name in found))
