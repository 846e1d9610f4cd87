# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Items of a loop with_<lookup> that only the host knows, as the lookup plugins of ansible-core make them."""

from __future__ import annotations

import itertools
import re
import shlex

from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed

_SHORTCUT = re.compile(r"^((?:0x)?[0-9a-f]+-)?((?:0x)?[0-9a-f]+)(/(?:0x)?[0-9a-f]+)?(:.+)?$", re.IGNORECASE)


def items(lookup, value, render):
    """Return the items of with_<lookup>. value: what stands there, a Value; render: returns what one comes to."""
    terms = render(value)
    return _LOOKUPS[lookup](terms if isinstance(terms, list) else [terms])


def _flat(terms):
    """Return the terms with those that are lists in them taken apart, one level."""
    found = []
    for term in terms:
        if isinstance(term, (list, tuple)):
            found.extend(term)
        else:
            found.append(term)
    return found


def _flat_for_good(terms):
    found = []
    for term in terms:
        if isinstance(term, (list, tuple)):
            found.extend(_flat_for_good(term))
        elif term not in ("None", "null"):
            found.append(term)
    return found


def _dict(terms):
    found = []
    for term in terms:
        if not isinstance(term, dict):
            raise TemplateFailed(
                "the 'dict' lookup plugin expects a dictionary, got '%s' of type %s)" % (term, type(term))
            )
        found.extend({"key": key, "value": term[key]} for key in term)
    return found


def _together(terms):
    if not terms:
        raise TemplateFailed("with_together requires at least one element in each list")
    return [_flat(row) for row in itertools.zip_longest(*terms, fillvalue=None)]


def _nested(terms):
    if not terms:
        raise TemplateFailed("with_nested requires at least one element in the nested list")
    rows = terms[0]
    for others in terms[1:]:
        rows = [_flat([row, other]) for row in rows for other in others]
    if any(not isinstance(row, (list, tuple)) for row in rows):
        raise TemplateFailed("with_nested requires lists in the nested list")
    return [_flat(row) for row in rows]


def _indexed(terms):
    return [[index, item] for index, item in enumerate(_flat(terms))]


def _subelements(terms):
    if not 2 <= len(terms) <= 3 or not isinstance(terms[0], (list, dict)) or not isinstance(terms[1], str):
        raise TemplateFailed(
            "subelements lookup expects a list of two or three items, "
            "first a dict or a list, second a string pointing to the subkey"
        )
    elements = terms[0]
    if isinstance(elements, dict):
        if elements.get("skipped", False) is not False:
            return []
        elements = list(elements.values())
    flags = terms[2] if len(terms) == 3 and isinstance(terms[2], dict) else {}
    return [
        found for element in elements for found in _below(element, terms[1].split("."), bool(flags.get("skip_missing")))
    ]


def _below(element, path, skip_missing):
    """Return [element, one of the list at the end of a path of keys into it] for each, the list itself taken out."""
    if not isinstance(element, dict):
        raise TemplateFailed("subelements lookup expects a dictionary, got '%s'" % element)
    if element.get("skipped", False) is not False:
        return []
    element = _copied(element, path)
    parent = element
    for key in path[:-1]:
        if key not in parent or not isinstance(parent[key], dict):
            return _missing(key, parent, skip_missing, "should point to a dictionary")
        parent = parent[key]
    if path[-1] not in parent:
        return _missing(path[-1], parent, skip_missing, "")
    if not isinstance(parent[path[-1]], list):
        raise TemplateFailed("the key %s should point to a list, got '%s'" % (path[-1], parent[path[-1]]))
    return [[element, one] for one in parent.pop(path[-1])]


def _copied(element, path):
    """Return a dict whose dicts along a path are its own."""
    element = dict(element)
    if path and isinstance(element.get(path[0]), dict):
        element[path[0]] = _copied(element[path[0]], path[1:])
    return element


def _missing(key, parent, skip_missing, what):
    if skip_missing:
        return []
    if key in parent:
        raise TemplateFailed("the key %s %s, got '%s'" % (key, what, parent[key]))
    raise TemplateFailed("could not find '%s' key in iterated item '%s'" % (key, parent))


def _sequence(terms):
    return [item for term in terms for item in _sequence_of(_fields(str(term)))]


def _fields(term):
    found = _SHORTCUT.match(term)
    if found:
        start, end, stride, form = found.groups()
        given = {"end": end}
        given.update(start=start and start[:-1], stride=stride and stride[1:], format=form and form[1:])
    else:
        given = dict(word.partition("=")[::2] for word in shlex.split(term))
    unknown = [name for name in given if name not in ("start", "end", "stride", "count", "format")]
    if unknown:
        raise TemplateFailed("unrecognized arguments to with_sequence: %s" % unknown)
    return {name: text for name, text in given.items() if text is not None}


def _number(fields, name, default=None):
    text = fields.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise TemplateFailed("can't parse %s=%s as integer" % (name, text)) from None


def _sequence_of(fields):
    start, stride, form = _number(fields, "start", 1), _number(fields, "stride", 1), fields.get("format", "%d")
    count, end = _number(fields, "count"), _number(fields, "end")
    if (count is None) == (end is None):
        what = (
            "must specify count or end in with_sequence"
            if count is None
            else "can't specify both count and end in with_sequence"
        )
        raise TemplateFailed(what)
    if count == 0 or stride == 0:
        return []
    if end is None:
        end = start + count * stride - 1
    if stride > 0 and end < start:
        raise TemplateFailed("to count backwards make stride negative")
    if stride < 0 and end > start:
        raise TemplateFailed("to count forward don't make stride negative")
    if form.count("%") != 1:
        raise TemplateFailed("bad formatting string: %s" % form)
    try:
        return [form % number for number in range(start, end + (1 if stride > 0 else -1), stride)]
    except (ValueError, TypeError):
        raise TemplateFailed("problem formatting %r with %r" % (start, form)) from None


_LOOKUPS = {
    "cartesian": lambda terms: [_flat(row) for row in itertools.product(*terms)],
    "dict": _dict,
    "flattened": _flat_for_good,
    "indexed_items": _indexed,
    "items": _flat,
    "list": lambda terms: terms,
    "nested": _nested,
    "sequence": _sequence,
    "subelements": _subelements,
    "together": _together,
}
