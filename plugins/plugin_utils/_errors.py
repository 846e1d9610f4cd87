# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What goes wrong with a launch or a wait, in words for the person who wrote the playbook."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping

from ansible.errors import AnsibleError, AnsibleValueOmittedError


class Refused(Exception):
    """Something that cannot be done as it was written; the text says why, and what to do instead."""


class JobRefused(Refused):
    """`Refused`, with the job and the key that it is about; `source` is the entry, which knows its place in the playbook."""

    def __init__(self, where: str, name: str | None, key: str | None, text: str, source: object = None) -> None:
        job = f"{where} ({shorten(name, 80)!r})" if name else where
        subject = f"{job}, key {key!r}" if key else job
        super().__init__(f"{subject}: {text} Nothing was started.")
        self.source = source


def refusing(function: Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.Any:
    """Return what `function` returns; what ansible-core has to say against it becomes `Refused`."""
    try:
        return function(*args, **kwargs)
    except AnsibleValueOmittedError:
        raise
    except AnsibleError as exc:
        text = " ".join(str(exc).split())
        raise Refused(text if text.endswith((".", "!", "?")) else f"{text}.") from exc


def shorten(value: object, width: int) -> str:
    """Return `value` as one line of at most `width` characters."""
    line = " ".join(str(value).split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


_KINDS = (
    (str, "a string"),
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a number"),
    (Mapping, "a dictionary"),
    ((list, tuple), "a list"),
)


def kind(value: object, show: bool = True) -> str:
    """Return what `value` is, in words for an error message; without the value itself where that may be a secret."""
    if value is None:
        return "nothing"
    name = next((text for base, text in _KINDS if isinstance(value, base)), type(value).__name__)
    return f"{name} ({shorten(value, 40)!r})" if show and isinstance(value, (str, int, float)) else name
