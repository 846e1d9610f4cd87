# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Checks of values from the controller, of which the checks of requests and plans are made."""

from __future__ import annotations


class Malformed(Exception):
    """A value that no action plugin of this collection sends."""


def expect(holds, otherwise, *values):
    """Raise Malformed unless something holds, with a text and the values for it. A value may be a whole plan, whose text
    takes a while to make: it is made only then."""
    if not holds:
        raise Malformed(otherwise % values)


def check_keys(value, needed, optional, what):
    """Raise Malformed unless `value` is a dictionary of all the `needed` keys and some `optional` ones ({key: check})."""
    expect(isinstance(value, dict), "%s is a dictionary", what)
    for key in sorted(value, key=str):
        expect(key in needed or key in optional, "%s takes no %r", what, key)
    for key in sorted(needed):
        expect(key in value, "%s needs %r", what, key)
    for key, one in value.items():
        expect((needed.get(key) or optional[key])(one), "%r of %s can't be %.80r", key, what, one)


def is_anything(dummy):
    return True


def is_flag(value):
    return isinstance(value, bool)


def is_text(value):
    return isinstance(value, str)


def is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_count(value):
    return is_integer(value) and value >= 0


def is_span(value):
    """Say whether this is a number, mostly of seconds, that is not negative."""
    return (is_integer(value) or isinstance(value, float)) and value >= 0


def is_list(value):
    return isinstance(value, list)


def is_table(value):
    return isinstance(value, dict)


def are_texts(value):
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def or_none(check):
    return lambda value: value is None or check(value)


def one_of(*values):
    return lambda value: isinstance(value, str) and value in values
