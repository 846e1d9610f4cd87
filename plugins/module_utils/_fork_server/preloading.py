# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Imports and compiles ahead, in the template, what each job would need."""

from __future__ import annotations

import ast
import collections.abc
import datetime
import importlib
import importlib.util
import locale
import pkgutil
import re
import sys
import zipfile

from ansible_collections.background.jobs.plugins.module_utils._fork_server import spawning

# At the beginning of a line, so that no condition applies. Parsing all of a module would take longer than compiling it.
_IMPORT = re.compile(r"^(?:from[ \t]+[\w.]+[ \t]+import[ \t]+(?:\([^()]*\)|[^\n(]+)|import[ \t]+[^\n]+)", re.MULTILINE)


def preload(mod_name):
    """Import what the module `mod_name` will import, and compile the module itself, once for all jobs.

    That is what the payload holds of ansible-core's module_utils, and what the module imports at its top level
    without condition, as far as it comes with the payload or the standard library: other libraries of a host may
    not survive a fork.
    """
    loader, origin, package = _find(mod_name)
    names = _core_utilities(loader.archive)
    code = loader.get_code(mod_name)
    standard = getattr(sys, "stdlib_module_names", ())
    for name in _top_level_imports(loader.get_source(mod_name), code, package):
        if name.startswith("ansible_collections.") or name.split(".")[0] in standard:
            names.append(name)
    for name in names:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except ImportError:
                pass  # an attribute, not a module; or the job will report it
    sys.meta_path.insert(0, _Compiled(mod_name, loader, origin, code))
    spawning.spare_copies()
    warm_up()


def _find(mod_name):
    """Return a module's loader, the path of its file and its package. Not its spec, for which zipimport would compile it."""
    package = mod_name.rpartition(".")[0]
    for folder in importlib.import_module(package).__path__:
        loader = pkgutil.get_importer(folder)
        try:
            if not loader.is_package(mod_name):
                return loader, "%s/%s.py" % (folder, mod_name.rpartition(".")[2]), package
        except ImportError:
            pass  # it is in another folder
    spec = importlib.util.find_spec(mod_name)
    return spec.loader, spec.origin, spec.parent


def warm_up():
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

    def __init__(self, name, loader, origin, code):
        self._name, self._loader, self._origin, self._code = name, loader, origin, code

    def find_spec(self, name, path=None, target=None):
        if name == self._name:
            return importlib.util.spec_from_file_location(name, self._origin, loader=self)
        return None

    def __getattr__(self, attribute):
        return getattr(self._loader, attribute)

    def get_code(self, name):
        return self._code if name == self._name else self._loader.get_code(name)


def _top_level_imports(source, code, package):
    """Yield the names that a module imports at its top level without condition, attributes too. code: the module's."""
    for found in _IMPORT.finditer(source):
        try:
            (node,) = ast.parse(found.group()).body
        except (SyntaxError, ValueError):
            continue  # it is part of a string, or an error for the job to report
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in code.co_names:  # else it is part of a string
                    yield alias.name
        elif (node.module or "") in code.co_names:
            name = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield name
            for alias in node.names:
                yield "%s.%s" % (name, alias.name)
