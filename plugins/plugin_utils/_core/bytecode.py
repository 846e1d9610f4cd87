# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Has the modules of this collection compiled once, and not once for each run of ansible-playbook.

Python keeps compiled modules (`*.pyc`), but ansible-core loads those of collections in a way of its own, and compiles them
each time. Here Python's way is used for those of this collection. The files are in Ansible's home, and not beside the
sources, where nobody expects new files.
"""

from __future__ import annotations

import contextlib
import sys
import typing as t
import zlib
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path

from ansible.utils.collection_loader import AnsibleCollectionConfig

from ansible_collections.background.jobs.plugins.plugin_utils._core import home

_OWN = __name__.partition("plugin_utils.")[0]
_FOLDER = "bytecode"


def install() -> None:
    """Have what is imported of this collection from now on loaded like this, if there is a place that is safe."""
    of_core = AnsibleCollectionConfig.collection_finder
    if of_core not in sys.meta_path or any(isinstance(one, _Finder) for one in sys.meta_path):
        return
    if folder := home.closed(_FOLDER):
        sys.meta_path.insert(sys.meta_path.index(of_core), _Finder(folder))


class _Loader(SourceFileLoader):
    """Loads a module as Python does, with another place for the compiled ones."""

    folder: Path

    def get_code(self, fullname: str) -> t.Any:
        before, sys.pycache_prefix = sys.pycache_prefix, str(self.folder)
        try:
            return super().get_code(fullname)
        except (EOFError, ImportError, TypeError, ValueError):  # what was kept is damaged
            with contextlib.suppress(OSError):
                Path(cache_from_source(self.path)).unlink()
            return self.source_to_code(self.get_data(self.path), self.path)
        finally:
            sys.pycache_prefix = before

    def path_stats(self, path: t.Any) -> dict[str, t.Any]:
        """Return what a compiled module is for: in the place of the time of change something that is different for each file
        that ever was there. Packages of distributions and images may give all files the same time."""
        found = Path(path).stat()
        stamp = zlib.crc32(b"%d %d %d" % (found.st_ino, found.st_mtime_ns, found.st_ctime_ns))
        return {"mtime": stamp, "size": found.st_size}


class _Finder:
    """Finds the modules of this collection's packages; the packages that ansible-core makes up are left to it."""

    def __init__(self, folder: Path) -> None:
        self._loader = type("_Loader", (_Loader,), {"folder": folder})
        self._finders: dict[str, FileFinder] = {}

    def find_spec(self, fullname: str, path: t.Iterable[str] | None = None, target: object = None) -> ModuleSpec | None:
        if not fullname.startswith(_OWN):
            return None
        for folder in path or ():
            if folder not in self._finders:
                self._finders[folder] = FileFinder(folder, (self._loader, SOURCE_SUFFIXES))
            found = self._finders[folder].find_spec(fullname)
            if found is not None and found.loader is not None:
                return found
        return None
