# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The items of `with_<lookup>` if its terms are known only on the host, as from ansible-core's lookups of these names."""

from __future__ import annotations

import copy
import itertools
import re
import shlex

from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed

_NUMBER = "(0?x?[0-9a-f]+)"
_SHORT = re.compile("^(%s-)?%s(/%s)?(:(.+))?$" % ((_NUMBER,) * 3), re.IGNORECASE)
_NUMBERS = ("start", "end", "stride", "count")


class _Failed(Exception):
    """The lookup failed; the message is core's."""


def items(kind, value, render):
    """Return the items of with_<kind> for a Value; render: renders it."""
    terms = render(value)
    try:
        return _KINDS[kind](terms if isinstance(terms, list) else [terms])
    except _Failed as exc:
        raise TemplateFailed("The lookup plugin %r failed: %s" % (_LOOKUPS.get(kind, kind), exc)) from None


def _flat(terms):
    """Return `terms` as one list, flattened by one level."""
    return [item for term in terms for item in (term if isinstance(term, (list, tuple)) else [term])]


def _flattened(terms):
    found = []
    for term in terms:
        if isinstance(term, (list, tuple)):
            found += _flattened(term)
        elif term not in (None, "None", "null"):
            found.append(term)
    return found


def _dict(terms):
    found = []
    for term in terms:
        if not isinstance(term, dict):
            raise _Failed("the 'dict' lookup plugin expects a dictionary, got '%s' of type %s)" % (term, type(term)))
        found += [{"key": key, "value": value} for key, value in term.items()]
    return found


def _together(terms):
    if not terms:
        raise _Failed("with_together requires at least one element in each list")
    return [_flat(each) for each in itertools.zip_longest(*terms, fillvalue=None)]


def _nested(terms):
    if not terms:
        raise _Failed("with_nested requires at least one element in the nested list")
    found = terms[0]
    for more in terms[1:]:
        found = [_flat([one, other]) for one in found for other in more]
    return [_flat(each) for each in found]


def _cartesian(terms):
    if not terms:
        raise _Failed("with_cartesian requires at least one element in each list")
    return [_flat(each) for each in itertools.product(*terms)]


def _indexed(terms):
    return [[index, item] for index, item in enumerate(_flat(terms))]


def _subelements(terms):
    expected = "subelements lookup expects a list of two or three items, "
    if not 2 <= len(terms) <= 3:
        raise _Failed(expected)
    if not isinstance(terms[0], (list, dict)) or not isinstance(terms[1], str):
        raise _Failed(expected + "first a dict or a list, second a string pointing to the subkey")
    flags = terms[2] if len(terms) == 3 else {}
    if not isinstance(flags, dict):
        raise _Failed(expected + "the optional third item must be a dict with flags ('skip_missing',)")
    elements = terms[0]
    if isinstance(elements, dict):
        if elements.get("skipped", False) is not False:
            return []
        elements = list(elements.values())
    lenient = str(flags.get("skip_missing", False)).lower() in ("true", "yes", "on", "1", "y", "t")
    return [[one, other] for element in elements for one, other in _of_element(element, terms[1].split("."), lenient)]


def _of_element(element, keys, lenient):
    if not isinstance(element, dict):
        raise _Failed("subelements lookup expects a dictionary, got '%s'" % (element,))
    if element.get("skipped", False) is not False:
        return []
    element = copy.deepcopy(element)  # a copy, because the key is removed from it
    found = _take_out(element, keys, lenient)
    return [(element, other) for other in found]


def _take_out(inner, keys, lenient):
    """Remove the list at a path of keys from a dictionary, and return it."""
    key, expected = keys[0], dict if keys[1:] else list
    if key not in inner:
        if lenient:
            return []
        raise _Failed("could not find '%s' key in iterated item '%s'" % (key, inner))
    if not isinstance(inner[key], expected):
        if lenient and expected is dict:
            return []
        kind = "dictionary" if expected is dict else "list"
        raise _Failed("the key %s should point to a %s, got '%s'" % (key, kind, inner[key]))
    return _take_out(inner[key], keys[1:], lenient) if keys[1:] else inner.pop(key)


def _sequence(terms):
    found = []
    for term in terms:
        options = _of_sequence(str(term))
        shown = options.pop("format", "%d")
        found += _numbers(shown, **{key: _number(key, value) for key, value in options.items()})
    return found


def _of_sequence(term):
    """Return the options in a term of a sequence."""
    short = _SHORT.match(term)
    if short:
        dummy, start, end, dummy, stride, dummy, shown = short.groups()
        given = {"start": start, "end": end, "stride": stride, "format": shown}
        return {key: value for key, value in given.items() if value is not None}
    try:
        words = shlex.split(term)
    except ValueError as exc:
        raise _Failed("unknown error parsing with_sequence arguments: %r. Error was: %s" % (term, exc)) from None
    options = dict(word.partition("=")[::2] for word in words if "=" in word)
    left = [key for key in options if key not in (*_NUMBERS, "format")]
    if len(options) < len(words):
        left.append("_raw_params")
    if left:
        raise _Failed("unrecognized arguments to with_sequence: %s" % left)
    return options


def _number(key, value):
    try:
        return int(value)
    except ValueError:
        raise _Failed(
            "Config %r for 'sequence' lookup plugin from 'Direct' has an invalid value: "
            "Invalid value provided for 'integer': %r" % (key, value)
        ) from None


def _numbers(shown="%d", *, start=1, end=None, stride=1, count=None):
    if count is None and end is None:
        raise _Failed("must specify count or end in with_sequence")
    if count is not None and end is not None:
        raise _Failed("can't specify both count and end in with_sequence")
    if count == 0:
        return []
    if count is not None:
        end = start + count * stride - 1
    if stride > 0 and end < start:
        raise _Failed("to count backwards make stride negative")
    if stride < 0 and end > start:
        raise _Failed("to count forward don't make stride negative")
    if stride == 0:
        return []
    if shown.count("%") != 1:
        raise _Failed("bad formatting string: %s" % shown)
    return [_formatted(shown, number) for number in range(start, end + (1 if stride > 0 else -1), stride)]


def _formatted(shown, number):
    try:
        return shown % number
    except (ValueError, TypeError):
        raise _Failed("problem formatting %r with %r" % (number, shown)) from None


_KINDS = {
    "items": _flat,
    "list": list,
    "dict": _dict,
    "together": _together,
    "nested": _nested,
    "cartesian": _cartesian,
    "subelements": _subelements,
    "sequence": _sequence,
    "flattened": _flattened,
    "indexed_items": _indexed,
}
_LOOKUPS = {"cartesian": "community.general.cartesian", "flattened": "community.general.flattened"}
