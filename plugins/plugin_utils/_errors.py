# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The errors of launches and waits, in words for the person who wrote the playbook."""

from __future__ import annotations

import difflib
import functools
import re
import typing as t
from collections.abc import Callable, Iterable, Mapping, Sequence

from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleValueOmittedError

_MOST_LISTED = 50
_MOST_NEAR = 3
_HIDDEN = (
    "the reason is not shown because 'no_log' is set and it might reveal a value. "
    "To see it, try once without 'no_log' and without secrets."
)
# Characters that are not text to a terminal or to XML: control characters (except tabs and newlines), those that change
# the direction of writing, line separators, lone surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_P = t.ParamSpec("_P")
_R = t.TypeVar("_R")


class Refused(Exception):
    """Something that cannot be done as it was written; the text says why, and what to do instead.

    hidden: the text for tasks with `no_log`, which must hold no value; by default, that the reason is not shown.
    """

    def __init__(self, text: str, hidden: str = _HIDDEN) -> None:
        super().__init__(text)
        self.hidden = hidden


def plainly(text: str) -> Refused:
    """Return a `Refused` whose text holds no values, but only keys and names of modules."""
    return Refused(text, text)


def unfit(text: str, value: object) -> Refused:
    """Return a `Refused` that says what a value must be, and what it is."""
    return Refused(f"{text}: got {shorten(value, 40)!r}.", f"{text}: got {kind(value, show=False)}.")


def unfit_kind(text: str, value: object) -> Refused:
    """Return a `Refused` that says what kind of value is needed, and what kind there is."""
    return Refused(f"{text}: got {kind(value)}.", f"{text}: got {kind(value, show=False)}.")


class JobRefused(Refused):
    """`Refused`, with the job and the key that it is about; source: the entry, which knows its place in the playbook.

    With `no_log`, neither `text` nor `name` holds values, and there is no source, because it would be shown.
    """

    def __init__(self, where: str, name: str | None, key: str | None, text: str, source: object = None) -> None:
        job = f"{where} ({shorten(name, 80)!r})" if name else where
        self.reason = f"{job}, key {key!r}: {text}" if key else f"{job}: {text}"
        super().__init__(f"{self.reason} Nothing was started.")
        self.source = source


def combined(refused: Sequence[JobRefused]) -> Refused:
    """Return one error with the texts of all `refused`, of which there is at least one."""
    if len(refused) == 1:
        return refused[0]
    lines = [f"- {one.reason}" for one in refused[:_MOST_LISTED]]
    if len(refused) > _MOST_LISTED:
        lines.append(f"- and {len(refused) - _MOST_LISTED} more")
    return Refused("\n".join([f"{len(refused)} tasks cannot run in the background. Nothing was started.", *lines]))


def telling_refusals(run: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make `run` of an action fail its task with the text of a `Refused`."""

    @functools.wraps(run)
    def told(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return run(*args, **kwargs)
        except Refused as exc:
            # Without the cause: core would repeat its text, which the message has already.
            raise AnsibleActionFail(str(exc), obj=getattr(exc, "source", None)) from None

    return told


def refusing(function: Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.Any:
    """Return what `function` returns; errors of ansible-core become `Refused`."""
    try:
        return function(*args, **kwargs)
    except AnsibleValueOmittedError:
        raise
    except AnsibleError as exc:
        text = " ".join(str(exc).split())
        raise Refused(text if text.endswith((".", "!", "?")) else f"{text}.") from exc


def shorten(value: object, width: int) -> str:
    """Return `value` as one line of at most `width` printable characters."""
    line = printable(" ".join(str(value).split()))
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def amount(number: int, noun: str) -> str:
    """Return a number of things in words: 1 job, 2 jobs."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Return `text` with each character that would act on a terminal replaced by a mark."""
    return _UNPRINTABLE.sub("\ufffd", text)


def closest(name: object, known: Iterable[str]) -> list[str]:
    """Return those of `known` that `name` may be a mistyped form of, the nearest first."""
    return difflib.get_close_matches(str(name), list(known), n=_MOST_NEAR)


def nearest(name: object, known: Iterable[str], *, also: Iterable[str] = ()) -> str:
    """Return the end of an error about an unknown name: " Did you mean ...?", "" if there is no suggestion.

    also: further suggestions, found before.
    """
    near = list(dict.fromkeys([*closest(name, known), *also]))[:_MOST_NEAR]
    return f" Did you mean {' or '.join(repr(shorten(one, 80)) for one in near)}?" if near else ""


_KINDS = (
    (str, "a string"),
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a number"),
    (Mapping, "a dictionary"),
    ((list, tuple), "a list"),
)


def kind(value: object, show: bool = True) -> str:
    """Return what `value` is, in words for an error message; show: with the value, unless that may be a secret."""
    if value is None:
        return "nothing"
    name = next((text for base, text in _KINDS if isinstance(value, base)), type(value).__name__)
    return f"{name} ({shorten(value, 40)!r})" if show and isinstance(value, (str, int, float)) else name
