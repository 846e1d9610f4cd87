# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Imports Jinja2 from the archive that a launch brought: from memory, without writing files."""

from __future__ import annotations

import base64
import importlib.abc
import importlib.util
import io
import sys
import zipfile


class _Archive(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads what is in the archive, and leaves all else to others."""

    def __init__(self, data):
        self._zip = zipfile.ZipFile(io.BytesIO(data))
        self._names = frozenset(self._zip.namelist())

    def packages(self):
        return sorted({name.partition("/")[0] for name in self._names})

    def _path(self, fullname):
        stem = fullname.replace(".", "/")
        for path in (stem + "/__init__.py", stem + ".py"):
            if path in self._names:
                return path
        return None

    def find_spec(self, fullname, path=None, target=None):
        found = self._path(fullname)
        if found is None:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=found, is_package=self.is_package(fullname))

    def is_package(self, fullname):
        return (self._path(fullname) or "").endswith("/__init__.py")

    def get_source(self, fullname):
        path = self._path(fullname)
        if path is None:
            raise ImportError("%s is not in the archive" % fullname, name=fullname)
        return self._zip.read(path).decode("utf-8")

    def get_code(self, fullname):
        return compile(self.get_source(fullname), "<archive>/%s" % self._path(fullname), "exec", dont_inherit=True)


def provide(archive):
    """Make the packages in the archive (as in plan["archive"]) importable, before any that the host has itself."""
    finder = _Archive(base64.b64decode(archive))
    wanted = finder.packages()
    for name in [name for name in sys.modules if name.partition(".")[0] in wanted]:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    return wanted
