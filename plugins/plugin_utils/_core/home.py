# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The folder of this collection in Ansible's home, for what later runs of ansible-playbook can use."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
import typing as t
from pathlib import Path

from ansible import constants

_FOLDER = "background_jobs"
_MONTH = 30 * 86400.0  # seconds; older files may be about hosts, or modules, that do not exist any more


def lasting() -> Path | None:
    """Return the folder; None if somebody else could write there. It may have to be made."""
    home = Path(str(constants.config.get_config_value("ANSIBLE_HOME")))
    folder = home / _FOLDER
    is_ours = _is_ours(home) and (_is_ours(folder) or not os.path.lexists(folder))
    return folder if is_ours else None


def of_this_run() -> Path:
    """Return a folder that goes with this run of ansible-playbook."""
    return Path(constants.DEFAULT_LOCAL_TMP) / _FOLDER  # type: ignore[attr-defined]


def closed(name: str) -> Path | None:
    """Return a folder within, which nobody else can look into, and is made if it is missing; None if that can't be."""
    within = lasting()
    if within is None:
        return None
    folder = within / name
    try:
        within.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    return (
        folder if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077 else None
    )


def write(path: Path, data: bytes) -> None:
    """Put a file into the folder, and remove old ones. A disk that does not take it is no error: nothing here is needed."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            _forget_old(path.parent)
        replace(path, data)


def replace(path: Path, data: bytes) -> None:
    """Make or replace a file, atomically. Of several writers one wins."""
    written = path.with_name(f"{path.name}.{os.getpid()}")
    written.write_bytes(data)
    written.replace(path)


def _forget_old(folder: Path, now: t.Callable[[], float] = time.time) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another worker was faster
            if now() - path.lstat().st_mtime > _MONTH:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and found.st_mode & 0o222 == 0o200
