# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

# What is another at each run.
_TIMES = frozenset(
    (
        "atime",
        "ctime",
        "mtime",
        "birthtime",
        "start",
        "end",
        "delta",
        "inode",
        "uptime",
        "exception",
        "version",
        "dev",
        "deprecations",
    )
)


def _comparable(value, folder, name=None):
    if isinstance(value, dict):
        return {key: _comparable(inner, folder, key) for key, inner in value.items() if key not in _TIMES}
    if isinstance(value, (list, tuple)):
        return [_comparable(inner, folder) for inner in value]
    if isinstance(value, str):
        text = re.sub(re.escape(folder) + "/(?:job|plain)", "FOLDER", value)
        return re.sub(r"\S*/(?:\.?ansible|async)\S*", "TEMPORARY", text)
    return value


def late_differences(job, plain, folder):
    """Return what is another in what a job has registered, as lines."""
    return list(_differences("", _comparable(job, folder), _comparable(plain, folder)))


def _differences(path, one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}, key=str):
            yield from _differences(f"{path}.{key}", one.get(key, "(none)"), other.get(key, "(none)"))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other)):  # noqa: B905  # of the same length
            yield from _differences(f"{path}[{index}]", left, right)
    elif (
        one != other
        or isinstance(one, bool) != isinstance(other, bool)
        or isinstance(one, str) != isinstance(other, str)
    ):
        yield f"{path}: job {one!r}, plain {other!r}"


class FilterModule:
    def filters(self):
        return {"late_differences": late_differences}
