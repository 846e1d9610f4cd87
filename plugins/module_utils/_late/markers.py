# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Markers, which stand for an undefined value, or for a failure, until it is used.

Each attribute and item of a marker is that marker again; anything else done with it raises MarkerError, which ends the
innermost template or call; the result of that is then the marker.
"""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._late.failures import UndefinedFailure, type_name
from ansible_collections.background.jobs.plugins.module_utils._late.jinja import (
    StrictUndefined,
    UndefinedError,
    missing,
)


class MarkerError(UndefinedError):
    """A marker was used. Never leaves the evaluation."""

    def __init__(self, message, marker):
        super().__init__(message)
        self.marker = marker


class Marker(StrictUndefined):
    __slots__ = ()

    def __init__(self, hint=None, obj=missing, name=None, exc=UndefinedError):
        if not hint and obj is not missing and name is not None:
            hint = "object of type %r has no attribute %r" % (type_name(obj), name)
        super().__init__(hint, obj, name, exc)

    def failure(self):
        """Return the exception to raise if this is the value of a template."""
        return UndefinedFailure(self._undefined_message)

    def trip(self, *dummy, **unused):
        raise MarkerError(self._undefined_message, self)

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key):
        return self


_USES = (
    "add bool call complex contains div eq float floordiv ge gt hash int iter le len lt mod mul ne neg pos pow radd rdiv "
    "rfloordiv rmod rmul rpow rsub rtruediv str sub truediv aiter delattr format repr setitem"
)
for _name in _USES.split():
    setattr(Marker, "__%s__" % _name, Marker.trip)


class UndefinedMarker(Marker):
    """An undefined value, which `default` replaces."""

    __slots__ = ()


class TruncationMarker(Marker):
    """Stands for the rest of a template after one of its expressions has failed."""

    __slots__ = ()

    def __init__(self):
        super().__init__("template potentially truncated")


class CapturedExceptionMarker(Marker):
    """A failure that counts only if its result is used."""

    __slots__ = ("_marker_failure",)

    def __init__(self, failure):
        super().__init__("A captured exception marker was tripped: %s" % failure)
        object.__setattr__(self, "_marker_failure", failure)

    def failure(self):
        return self._marker_failure


def first_marker(args, kwargs):
    """Return the first marker among the arguments of a call, or None."""
    for values in (args, kwargs.values()):
        for value in values:
            if isinstance(value, Marker):
                return value
    return None


class _Access:
    """Whether the code that runs now must not get markers from containers."""

    strict = False


class calling:  # noqa: N801 - reads as the statement that it is
    """A call of code that accepts markers from containers, or does not."""

    __slots__ = ("_before", "_strict")

    def __init__(self, accepts):
        self._strict = not accepts

    def __enter__(self):
        self._before = _Access.strict
        _Access.strict = self._strict

    def __exit__(self, *dummy):
        _Access.strict = self._before


def seen(value):
    """Return a value from a container; trip it if it is a marker that the code that runs now does not accept."""
    if _Access.strict and isinstance(value, Marker):
        value.trip()
    return value


def takes_markers(function):
    """Mark a filter or test that accepts markers as arguments."""
    function.takes_markers = True
    return function


def takes_marked(function):
    """Mark a filter that accepts markers inside containers among its arguments."""
    function.takes_marked = True
    return function
