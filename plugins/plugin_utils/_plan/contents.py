# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Files whose contents are known only on the host: the plan has descriptions in place of the files themselves."""

from __future__ import annotations

import hashlib
import re
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

Record = dict[str, t.Any]

_LARGEST = 4 * 1024 * 1024


@dataclass(slots=True)
class Contents:
    """The late files of one step.

    token: the beginning of stand-ins for values, see _protocol/plans.py; values: those so far;
    template: the text of a template file, with its options, instead of the file.
    """

    token: str
    values: list[t.Any]
    template: Record | None = None
    render: list[Record] = field(default_factory=list)
    _sums: dict[str, str] = field(default_factory=dict)
    _more: int = 0

    @property
    def stand_in(self) -> str:
        """The stand-in for the whole content of the template."""
        return f"{self.token}_{len(self.values)}_"

    def take(self, local: str, name: str) -> bool:
        """Take over a file that has to be sent if its content is late; return whether it is."""
        path = Path(local)
        if path.stat().st_size > _LARGEST:
            return False
        data = path.read_bytes()
        if self.token.encode() not in data:
            return False
        if all(one["file"] != name for one in self.render):
            self._more += 1
            number = len(self.values) + self._more
            self._sums[hashlib.sha1(data, usedforsecurity=False).hexdigest()] = f"{self.token}_{number}_"
            self.render.append({"file": name, "mode": 0o600, "sha1": number, **self._content(data.decode())})
        return True

    def _content(self, text: str) -> Record:
        whole = re.fullmatch(rf"{self.token}_([0-9]+)_\n?", text)
        if whole is None:
            return {"fill": text}
        number = int(whole[1])
        if number < len(self.values):
            return {"content": self.values[number], "number": number}
        return {"template": self.template}

    def left(self, staged: list[list[t.Any]]) -> list[list[t.Any]]:
        """Return those files of a step that still have to be sent."""
        modes = {one[0]: one[2] for one in staged}
        for one in self.render:
            one["mode"] = modes.get(one["file"], one["mode"])
        late = {one["file"] for one in self.render}
        return [one for one in staged if one[0] not in late]

    def swapped(self, value: t.Any) -> t.Any:
        """Return arguments, or a recipe, with the checksums of stand-in files replaced by tokens for those of the late files."""
        if isinstance(value, str):
            return self._sums.get(value, value)
        if isinstance(value, dict):
            return {key: self.swapped(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.swapped(inner) for inner in value]
        return value
