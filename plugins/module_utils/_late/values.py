# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Values of a script, decoded from JSON but not yet rendered.

Only what the controller wrote is decoded. What a module returned is data, whatever it looks like: it is never decoded.
"""

from __future__ import annotations

import datetime


class _Omit:
    """Core's `omit`: an argument with this value is left out."""

    __slots__ = ()
    shown_as = "_OmitType"

    def __repr__(self):
        return "<<Omit>>"

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


OMIT = _Omit()


class Trusted(str):
    """A text that the controller wrote: it may be used as an expression, as in `when: "{{ text }}"`."""

    __slots__ = ()
    shown_as = "str"


class Template:
    """A text that is still to be rendered."""

    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text


class Expression(Template):
    """An expression that is still to be evaluated."""

    __slots__ = ()


class Undefined:
    """What the controller found undefined. With `failed` it is an error that `default` does not replace."""

    __slots__ = ("failed", "message")

    def __init__(self, message, failed=False):
        self.message = message
        self.failed = failed


class Items:
    """A dict whose keys are still to be rendered."""

    __slots__ = ("pairs",)

    def __init__(self, pairs):
        self.pairs = pairs


def is_template(text):
    return "{{" in text or "{%" in text or "{#" in text or text.startswith("#jinja2:")


def _template(text):
    return Template(text) if is_template(text) else Trusted(text)


def _items(pairs):
    return Items([(decode(key), decode(value)) for key, value in pairs])


_DECODERS = {
    "$template": _template,
    "$expr": Expression,
    "$omit": lambda value: OMIT,
    "$undefined": Undefined,
    "$failed": lambda message: Undefined(message, failed=True),
    "$literal": lambda value: value,
    "$items": _items,
}
# A dict with one of these as its only key is not meant as a dict; a real one like that is sent as a $literal.
KEYS = tuple(_DECODERS)


def decode(value):
    """Return a Value decoded. What is decoded already stays as it is."""
    kind = type(value)
    if kind is list:
        return [decode(item) for item in value]
    if kind is not dict:
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        decoder = _DECODERS.get(key)
        if decoder is not None:
            return decoder(inner)
    return {key: decode(item) for key, item in value.items()}


def jsonable(value):
    """Return rendered data with dates as text, as core passes them to modules."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value
