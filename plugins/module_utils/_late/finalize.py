# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The last step of rendering: leaves nothing to render, and only types that variables may have."""

from __future__ import annotations

import collections.abc
import datetime

from ansible_collections.background.jobs.plugins.module_utils._late.containers import LazyDict, LazyList, LazyTuple
from ansible_collections.background.jobs.plugins.module_utils._late.failures import UnsupportedType
from ansible_collections.background.jobs.plugins.module_utils._late.markers import Marker
from ansible_collections.background.jobs.plugins.module_utils._late.values import OMIT

WHOLE = "whole"
CONCATENATED = "concatenated"  # for parts of a text, which may have types that variables can't have

_PLAIN = (str, int, float, bool, type(None), bytes, datetime.datetime, datetime.date, datetime.time, type(OMIT))
_DICTS = (dict, LazyDict)
_LISTS = (list, tuple, LazyList, LazyTuple)
_LISTED = (tuple, set, frozenset, collections.abc.Sequence)


def finalized(value, mode=WHOLE):
    """Return `value` in plain types; MarkerError if it contains a marker. Omitted items of lists and dicts are left out."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in _DICTS:
        return _dict(value, mode)
    if kind in _LISTS:
        return _list(value, mode)
    if isinstance(value, Marker):
        return value.trip()
    return value if mode == CONCATENATED else _converted(value)


def _dict(value, mode):
    return {finalized(key, mode): finalized(item, mode) for key, item in value.items() if item is not OMIT}


def _list(value, mode):
    return [finalized(item, mode) for item in value if item is not OMIT]


def _converted(value):
    """Convert a value to the nearest plain type."""
    if isinstance(value, range):
        raise UnsupportedType(value)
    if is_mapping(value):
        return _dict(value, WHOLE)
    if is_listed(value):
        return _list(value, WHOLE)
    for kind in (str, float, int):
        if isinstance(value, kind):
            return kind(value)
    raise UnsupportedType(value)


def is_mapping(value):
    return isinstance(value, collections.abc.Mapping)


def is_listed(value):
    """Say whether templates treat this value as a list."""
    return isinstance(value, _LISTED) and not isinstance(value, (str, bytes))


def is_sequence(value):
    return isinstance(value, collections.abc.Sequence) and not isinstance(value, (str, bytes))
