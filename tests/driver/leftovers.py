# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The temporary folders of a run, and what it has left behind outside of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = re.compile(r"bgj-(?P<pid>\d+)-")
# Names of temporary files made by the tests, by what they test, and by their tools.
OURS = re.compile(r"bgj|background[_-]jobs|ansible|antsibull|molecule|pytest-of-|pymp-")
# It waits until the process that holds its input has ended, even if that is killed.
GUARD = "import shutil, sys; sys.stdin.read(); shutil.rmtree(sys.argv[1], ignore_errors=True)"


class Scratch:
    """A root for the temporary folders of parts, which is removed when the run ends, however it ends."""

    def __init__(self, place: Path | None = None) -> None:
        self.place = place or Path(tempfile.gettempdir())
        _remove_abandoned(self.place)
        self._before = _entries(self.place)
        # Short, because sockets are made there.
        self.root = Path(tempfile.mkdtemp(prefix=f"bgj-{os.getpid()}-", dir=self.place))
        self.root.chmod(0o1777)  # like the place itself: tests run programs as other users
        self._guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, self.root], stdin=subprocess.PIPE, start_new_session=True
        )
        self._folders = 0

    def folder(self) -> Path:
        """A temporary folder for a part."""
        self._folders += 1
        folder = self.root / f"{self._folders:02}"
        folder.mkdir()
        folder.chmod(0o1777)
        return folder

    def close(self) -> tuple[list[str], list[str]]:
        """Remove the root; return the names of other new files: those of this run, and those that may be others'."""
        self._guard.communicate()
        return left_behind(self._before, _entries(self.place))


def left_behind(before: set[str], after: set[str]) -> tuple[list[str], list[str]]:
    new = sorted(name for name in after - before if not _of_other_run(name))
    return [name for name in new if OURS.match(name)], [name for name in new if not OURS.match(name)]


def _of_other_run(name: str) -> bool:
    root = ROOT.match(name)
    return root is not None and int(root["pid"]) != os.getpid() and _runs(int(root["pid"]))


def _remove_abandoned(place: Path) -> None:
    """Remove roots of runs whose guard was killed as well."""
    for path in place.glob("bgj-*-*"):
        root = ROOT.match(path.name)
        if root and not _runs(int(root["pid"])) and path.stat().st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _entries(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}
