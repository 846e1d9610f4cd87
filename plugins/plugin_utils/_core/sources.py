# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Tells whether a module of this collection would be built from the same files as when a host kept it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ansible.executor.module_common import _MODULE_UTILS_PATH
from ansible.plugins.loader import module_utils_loader
from ansible.release import __version__

_PLUGINS = Path(__file__).resolve().parents[2]


def fingerprint(module: str, plugins: Path = _PLUGINS) -> str:
    """Return a hash that changes with each file that a module of this collection may be built from.

    The files are not read: comparing their times of change takes only some milliseconds.
    """
    found = hashlib.sha256(f"{__version__} {sys.version_info[:2]}".encode())
    utilities = dict.fromkeys([*module_utils_loader._get_paths(subdirs=False), _MODULE_UTILS_PATH])
    for folder in (plugins / "module_utils", *utilities):
        for path, status in _python_files(str(folder)):
            found.update(_told(path, status))
    own = plugins / "modules" / f"{module}.py"
    found.update(_told(str(own), own.stat()))
    return found.hexdigest()


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
