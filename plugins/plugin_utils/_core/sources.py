# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Tells whether a module would be built from the same files as before."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ansible.executor.module_common import _MODULE_UTILS_PATH
from ansible.plugins.loader import module_utils_loader
from ansible.release import __version__

# What else decides how modules are built.
INSTALLATION = f"{__version__} {sys.version_info[:2]}"
_PLUGINS = Path(__file__).resolve().parents[2]
_IN_COLLECTION = ("plugins", "modules")


@functools.lru_cache
def of_own(module: str) -> str:
    """Return the fingerprint of a module of this collection. Looked up once for a task, which has a process of its own."""
    return Sources().fingerprint(_PLUGINS / "modules" / f"{module}.py")


class Sources:
    """The files that modules may be built from. Each folder is looked through once, and what is in it taken for unchanged."""

    def __init__(self) -> None:
        self._folders: dict[str, bytes] = {}

    def fingerprint(self, module: Path) -> str:
        """Return a hash that changes with each file that a module may be built from: itself, the utilities of ansible-core,
        what is searched before those, and the utilities of the module's own collection.

        The files are not read: comparing their times of change takes only some milliseconds.
        """
        found = hashlib.sha256(INSTALLATION.encode())
        utilities = [*module_utils_loader._get_paths(subdirs=False), _MODULE_UTILS_PATH]
        if collection := collection_of(module):
            utilities.append(str(collection / "plugins" / "module_utils"))
        for folder in dict.fromkeys(utilities):
            if folder not in self._folders:
                self._folders[folder] = b"".join(_told(path, status) for path, status in _python_files(folder))
            found.update(self._folders[folder])
        for path in (module, collection / "meta" / "runtime.yml" if collection else module):
            found.update(_told(str(path), path.stat()) if path.exists() else b"")
        return found.hexdigest()


def collection_of(module: Path) -> Path | None:
    """Return the folder of the collection that a module is in, None if it is in none."""
    for folder in module.parents:
        if folder.parts[-2:] == _IN_COLLECTION:
            return folder.parents[1]
    return None


def _python_files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError:  # core does not take it from there either
        return
    for entry in ordered:
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _python_files(entry.path)
        elif entry.name.endswith(".py") and entry.is_file():
            yield entry.path, entry.stat()


def _told(path: str, status: os.stat_result) -> bytes:
    return f"{path} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode(
        errors="surrogateescape"
    )
