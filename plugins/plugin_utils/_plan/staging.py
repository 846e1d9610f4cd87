# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The files that a launch sends along, for the jobs that need them."""

from __future__ import annotations

import base64
import hashlib
import secrets
import tempfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.background.jobs.plugins.plugin_utils._errors import plainly
from ansible_collections.background.jobs.plugins.plugin_utils._plan.contents import Contents

Staged = list[t.Any]
"""[name below the job's staging folder, SHA-256 of the content, mode]"""

IN_PLAN: t.Final = 4 * 1024 * 1024
"""Bytes of files that are sent in the plan; more are sent as a separate file."""

FILE_MODE: t.Final = 0o600
SCRIPT_MODE: t.Final = 0o700
_BLOCK = 1024 * 1024

UNKNOWN_ACTION: t.Final = (
    "its action plugin is not that of ansible-core, and does something that cannot be left to a job. Use a plain task, "
    "or the full name (such as ansible.builtin.copy)."
)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A file that an action plugin sends to the host; `name` is its path below the job's staging folder."""

    name: str
    sha256: str
    sha1: str


class Store:
    """The files that one launch hands over, each content once; and their names on the host."""

    def __init__(self, directory: str) -> None:
        """directory: a private one on the controller, for contents until they are sent."""
        self._directory = directory
        self._places: dict[str, tuple[int, int]] = {}
        self._stream: t.IO[bytes] | None = None
        self.token = "/" + secrets.token_hex(16)
        """Stands for the staging folder of a job in paths below it."""
        self._has_late = False
        self.contents: Contents | None = None
        """For the current step: files whose content is late."""
        self.number = 0
        """The folder of the next file: no two files of a launch share one, whatever they are called."""

    @property
    def size(self) -> int:
        """The bytes of all contents."""
        return sum(size for dummy, size in self._places.values())

    @property
    def path(self) -> str:
        """A file that holds all contents one after the other."""
        if self._stream is None:
            raise ValueError("nothing was added")
        self._stream.flush()
        return self._stream.name

    def transfer(self, local: str, remote: str) -> Transfer:
        """Add a file whose path on the host will be `remote`, below the token."""
        folder, dummy, name = remote.partition(f"{self.token}/")
        if folder or not name:
            raise plainly(UNKNOWN_ACTION)
        start, sha256, sha1 = self._append(local)
        if self.contents is not None and self.contents.take(local, name):
            self._cut(start)
            self._has_late = True
            return Transfer(name, sha256, sha1)
        if sha256 in self._places:
            self._cut(start)
        elif self._stream is not None:
            self._places[sha256] = (start, self._stream.tell() - start)
        return Transfer(name, sha256, sha1)

    def _append(self, local: str) -> tuple[int, str, str]:
        if self._stream is None:
            self._stream = tempfile.NamedTemporaryFile(dir=self._directory)  # noqa: SIM115  # closed by `close`
        start = self._stream.tell()
        hashes = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
        with Path(local).open("rb") as source:
            while block := source.read(_BLOCK):
                self._stream.write(block)
                for one in hashes:
                    one.update(block)
        return start, hashes[0].hexdigest(), hashes[1].hexdigest()

    def _cut(self, start: int) -> None:
        if self._stream is not None:
            self._stream.seek(start)
            self._stream.truncate()

    def in_plan(self, bundle: str | None = None) -> dict[str, t.Any]:
        """Return the part of the plan for the files; bundle: where the host finds `path`, None: contents are in the plan."""
        if not self._places:
            return {"staging_token": self.token} if self._has_late else {}
        if bundle is not None:
            places = {key: list(place) for key, place in self._places.items()}
            return {"staging_token": self.token, "bundle": bundle, "files": places}
        with Path(self.path).open("rb") as stream:
            texts = {key: self._text(stream, *place) for key, place in self._places.items()}
        return {"staging_token": self.token, "files": texts}

    @staticmethod
    def _text(stream: t.IO[bytes], start: int, size: int) -> str:
        stream.seek(start)
        return base64.b64encode(stream.read(size)).decode("ascii")

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
