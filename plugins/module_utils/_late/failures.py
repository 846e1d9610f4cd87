# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Failures of templates, and their messages as ansible-core words them."""

from __future__ import annotations


class Failure(Exception):
    """Something in a template failed; the message includes the exception that it was raised from."""


class TemplateFailed(Failure):
    """A value could not be rendered; the text says why, in core's words, but without places in files."""


class SyntaxFailure(Failure):
    """A template or an expression that does not parse."""


class UndefinedFailure(Failure):
    """An undefined variable was used."""


class PluginFailure(Failure):
    """A filter or a test failed."""


class ConditionFailure(Failure):
    """A condition that is not valid, or not true or false."""


class UnsupportedType(TypeError):
    """A value of a type that variables can't have."""

    def __init__(self, value):
        name = value.__name__ if isinstance(value, type) else type_name(value)
        super().__init__("Type %r is unsupported for variable storage." % name)


def type_name(value):
    """Return the name of a value's type, as templates know it."""
    kind = type(value)
    return getattr(kind, "shown_as", kind.__name__)


def message_of(failure):
    """Return one line with the messages of an exception and of those it was raised from, in core's format."""
    parts = []
    while failure is not None:
        parts.append(str(failure).strip())
        failure = failure.__cause__
    message = parts.pop()
    for part in reversed(parts):
        message = part if part.endswith(message) else "%s: %s" % (part.rstrip(". "), message)
    return message
