# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What a template imports and compiles ahead, so that no job has to."""

from __future__ import annotations

import ast
import collections.abc
import datetime
import importlib
import importlib.util
import locale
import sys
import zipfile


def preload(mod_name):
    """Import what the module `mod_name` will import, and compile the module itself, once for all jobs.

    That is what the payload holds of ansible-core's module_utils, and what the module imports at its top level
    without condition, as far as it comes with the payload or the standard library: what else a host has may not
    bear a fork.
    """
    spec = importlib.util.find_spec(mod_name)
    names = _core_utilities(spec.loader.archive)
    standard = getattr(sys, "stdlib_module_names", ())
    for name in _top_level_imports(spec.loader.get_source(mod_name), spec.parent):
        if name.startswith("ansible_collections.") or name.split(".")[0] in standard:
            names.append(name)
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # an attribute, not a module; or the job will say it
    sys.meta_path.insert(0, _Compiled(spec))
    _warm_up()


def _warm_up():
    """Fill the caches that each job would fill anew; nothing that a module can see is changed."""
    for value in (None, True, 1, 1.0, "", b"", [], {}, (), set(), frozenset(), datetime.datetime.min):
        for name in (
            "Mapping",
            "MutableMapping",
            "Sequence",
            "MutableSequence",
            "Set",
            "MutableSet",
            "KeysView",
            "Iterable",
            "Hashable",
        ):
            isinstance(value, getattr(collections.abc, name))
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        return
    locale.setlocale(locale.LC_ALL, before)


def _core_utilities(archive):
    with zipfile.ZipFile(archive) as payload:
        paths = [
            path for path in payload.namelist() if path.startswith("ansible/module_utils/") and path.endswith(".py")
        ]
    return [path[: -len(".py")].replace("/", ".") for path in paths if not path.endswith("/__init__.py")]


class _Compiled:
    """Finds one module that was compiled beforehand: zipimport would compile it anew in each job, more than once."""

    def __init__(self, spec):
        self._name, self._loader, self._origin = spec.name, spec.loader, spec.origin
        self._code = spec.loader.get_code(spec.name)

    def find_spec(self, name, path=None, target=None):
        if name == self._name:
            return importlib.util.spec_from_file_location(name, self._origin, loader=self)
        return None

    def __getattr__(self, attribute):
        return getattr(self._loader, attribute)

    def get_code(self, name):
        return self._code if name == self._name else self._loader.get_code(name)


def _top_level_imports(source, package):
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            name = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield name
            for alias in node.names:
                yield "%s.%s" % (name, alias.name)
