# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Filters for lists and dicts, and for values of any type."""

from __future__ import annotations

import collections
import collections.abc
import itertools
import random

from ansible_collections.background.jobs.plugins.module_utils._late.failures import Failure, type_name
from ansible_collections.background.jobs.plugins.module_utils._late.finalize import is_sequence
from ansible_collections.background.jobs.plugins.module_utils._late.jinja import jinja_filters, pass_environment
from ansible_collections.background.jobs.plugins.module_utils._late.markers import (
    MarkerError,
    UndefinedMarker,
    takes_marked,
    takes_markers,
)

# ---- any value


@takes_markers
def default(value, default_value="", boolean=False):
    if not isinstance(boolean, bool):
        raise Failure("The 'boolean' argument must be of type 'bool', not %r." % type_name(boolean))
    if isinstance(value, UndefinedMarker) or (boolean and not value):
        return default_value
    return value


@takes_markers
def mandatory(a, msg=None):
    if not isinstance(a, UndefinedMarker):
        return a
    if msg is not None:
        raise Failure(str(msg))
    name = "" if a._undefined_name is None else "%r " % str(a._undefined_name)
    raise Failure("Mandatory variable %snot defined." % name)


@takes_markers
def ternary(value, true_val, false_val, none_val=None):
    if value is None and none_val is not None:
        return none_val
    return true_val if value else false_val


@takes_markers
def type_debug(obj):
    return type_name(obj)


_TRUE = frozenset(("yes", "on", "true", "1"))
_FALSE = frozenset(("no", "off", "false", "0"))


def to_bool(value):
    known = str(value).lower() if isinstance(value, (str, int)) else value
    try:
        if known in _TRUE or known in _FALSE:
            return known in _TRUE
        found = known == 1
    except TypeError:
        found = False
    repr(value)  # core puts it into a warning, which fails if something undefined is in it
    return found


# ---- lists


def flatten(mylist, levels=None, skip_nulls=True):
    flat = []
    for element in mylist:
        if skip_nulls and element in (None, "None", "null"):
            continue
        if not is_sequence(element):
            flat.append(element)
        elif levels is None:
            flat.extend(flatten(element, skip_nulls=skip_nulls))
        elif levels >= 1:
            flat.extend(flatten(element, int(levels) - 1, skip_nulls))
        else:
            flat.append(element)
    return flat


@pass_environment
def unique(environment, a, case_sensitive=None, attribute=None):
    try:
        found = jinja_filters.do_unique(environment, a, bool(case_sensitive), attribute)
        return list(found)
    except Exception as exc:  # whatever Jinja2's filter can't compare
        if case_sensitive is False or attribute:
            raise Failure(
                "Jinja2's unique filter failed, and no other implementation supports these parameters."
            ) from exc
    return _unique(a)


def _unique(values):
    found = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


@pass_environment
def intersect(environment, a, b):
    try:
        return list(set(a) & set(b))
    except TypeError:
        return unique(environment, [value for value in a if value in b], True)


@pass_environment
def difference(environment, a, b):
    try:
        return list(set(a) - set(b))
    except TypeError:
        return unique(environment, [value for value in a if value not in b], True)


@pass_environment
def union(environment, a, b):
    try:
        return list(set(a) | set(b))
    except TypeError:
        return unique(environment, a + b, True)


@pass_environment
def symmetric_difference(environment, a, b):
    try:
        return list(set(a) ^ set(b))
    except TypeError:
        common = intersect(environment, a, b)
        return [value for value in union(environment, a, b) if value not in common]


def _chance(seed):
    return random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311 - to be repeatable, not secret


def shuffle(mylist, seed=None):
    try:
        mylist = list(mylist)
        _chance(seed or None).shuffle(mylist)
    except (TypeError, ValueError):  # what can't be shuffled stays as it is
        pass
    return mylist


def choose(end, start=None, step=None, seed=None):
    chance = _chance(seed)
    if isinstance(end, int):
        return chance.randrange(start or 0, end, step or 1)
    if not hasattr(end, "__iter__"):
        raise Failure("random can only be used on sequences and integers")
    if start or step:
        raise Failure("start and step can only be used with integer values")
    return chance.choice(end)


# ---- dicts


def dict2items(mydict, key_name="key", value_name="value"):
    if not isinstance(mydict, collections.abc.Mapping):
        raise TypeError("dict2items requires a dictionary, got %s instead." % type(mydict))
    return [{key_name: key, value_name: mydict[key]} for key in mydict]


def items2dict(mylist, key_name="key", value_name="value"):
    if not is_sequence(mylist):
        raise TypeError("items2dict requires a list, got %s instead." % type(mylist))
    try:
        return {item[key_name]: item[value_name] for item in mylist}
    except KeyError:
        raise TypeError(
            "items2dict requires each dictionary in the list to contain the keys '%s' and '%s', got %s instead."
            % (key_name, value_name, mylist)
        ) from None
    except TypeError:
        raise TypeError("items2dict requires a list of dictionaries, got %s instead." % mylist) from None


_LIST_MERGES = {
    "replace": lambda old, new: new,
    "keep": lambda old, new: old,
    "append": lambda old, new: old + new,
    "prepend": lambda old, new: new + old,
    "append_rp": lambda old, new: [value for value in old if value not in new] + new,
    "prepend_rp": lambda old, new: new + [value for value in old if value not in new],
}


def combine(*terms, **kwargs):
    recursive = kwargs.pop("recursive", False)
    list_merge = kwargs.pop("list_merge", "replace")
    if kwargs:
        raise Failure("'recursive' and 'list_merge' are the only valid keyword arguments")
    dicts = flatten(terms, levels=1)
    if not dicts:
        return {}
    merged = dicts.pop()
    while dicts:
        merged = _merged(dicts.pop(), merged, recursive, list_merge)
    return merged


def _merged(low, high, recursive, list_merge):
    """Return a new dict of both; if both have a key, the value of `high` counts, or is merged with the one of `low`."""
    if list_merge not in _LIST_MERGES:
        raise Failure(
            "merge_hash: 'list_merge' argument can only be equal to 'replace', 'keep', 'append', 'prepend', "
            "'append_rp' or 'prepend_rp'"
        )
    for value in (low, high):
        if not isinstance(value, collections.abc.MutableMapping):
            raise Failure(
                "failed to combine variables, expected dicts but got a '%s' and a '%s'."
                % (type_name(low), type_name(high))
            )
    if low in ({}, high):
        return high.copy()
    if high == {}:
        return low
    result = low.copy()
    for key, value in high.items():
        result[key] = _merged_value(result[key], value, recursive, list_merge) if key in result else value
    return result


def _merged_value(old, new, recursive, list_merge):
    if recursive and _both(old, new, collections.abc.MutableMapping):
        return _merged(old, new, recursive, list_merge)
    if _both(old, new, collections.abc.MutableSequence):
        return _LIST_MERGES[list_merge](old, new)
    return new


def _both(old, new, kind):
    return isinstance(old, kind) and isinstance(new, kind)


@pass_environment
def extract(environment, item, container, morekeys=None):
    keys = [item]
    if isinstance(morekeys, list):
        keys += morekeys
    elif morekeys is not None:
        keys.append(morekeys)
    for key in keys:
        try:
            container = environment.getitem(container, key)
        except MarkerError as exc:
            container = exc.marker
    return container


def subelements(obj, subelements, skip_missing=False):
    if isinstance(obj, dict):
        elements = list(obj.values())
    elif isinstance(obj, list):
        elements = obj[:]
    else:
        raise Failure("obj must be a list of dicts or a nested dict")
    path = _path(subelements)
    return [(element, value) for element in elements for value in _below(element, path, skip_missing)]


def _path(subelements):
    if isinstance(subelements, list):
        return subelements[:]
    if isinstance(subelements, str):
        return subelements.split(".")
    raise TypeError("subelements must be a list or a string")


def _below(element, path, skip_missing):
    """Return the list at the end of a path of keys into one element."""
    for key in path:
        try:
            element = element[key]
        except KeyError:
            if skip_missing:
                return []
            raise Failure("could not find %r key in iterated item %r" % (key, element)) from None
        except TypeError as exc:
            raise TypeError("the key %s should point to a dictionary, got '%s'" % (key, element)) from exc
    if not isinstance(element, list):
        raise TypeError("the key %r should point to a list, got %r" % (path[-1] if path else "", element))
    return element


def rekey_on_member(data, key, duplicates="error"):
    if duplicates not in ("error", "overwrite"):
        raise Failure("duplicates parameter to rekey_on_member has unknown value %r" % (duplicates,))
    found = {}
    for item in _members(data):
        if not isinstance(item, collections.abc.Mapping):
            raise Failure("List item is not a valid dict")
        try:
            value = item[key]
        except KeyError:
            raise Failure("Key %r was not found." % (key,)) from None
        if found.get(value) and duplicates == "error":
            raise Failure("Key %r is not unique, cannot convert to dict." % (value,))
        found[value] = item
    return found


def _members(data):
    if isinstance(data, collections.abc.Mapping):
        return data.values()
    if isinstance(data, collections.abc.Iterable) and not isinstance(data, (str, bytes)):
        return data
    raise Failure("Type is not a valid list, set, or dict")


# ---- Jinja2's own filters, with support for markers


class Group(collections.namedtuple("Group", ("grouper", "list"))):
    __slots__ = ()

    def __repr__(self):
        return tuple.__repr__(self)


@pass_environment
def groupby(*args, **kwargs):
    return [Group(*group) for group in jinja_filters.sync_do_groupby(*args, **kwargs)]


def _of_jinja(name):
    """Return one of Jinja2's filters that call other filters and tests: it must pass markers on to them."""
    inner = getattr(jinja_filters, name, None)

    def call(*args, **kwargs):
        return inner(*args, **kwargs)

    if hasattr(inner, "jinja_pass_arg"):
        call.jinja_pass_arg = inner.jinja_pass_arg
    return takes_marked(call)


FILTERS = {
    "bool": to_bool,
    "combinations": itertools.combinations,
    "combine": combine,
    "d": default,
    "default": default,
    "dict2items": dict2items,
    "difference": difference,
    "extract": extract,
    "flatten": flatten,
    "groupby": groupby,
    "intersect": intersect,
    "items2dict": items2dict,
    "mandatory": mandatory,
    "map": _of_jinja("do_map"),
    "permutations": itertools.permutations,
    "product": itertools.product,
    "random": choose,
    "reject": _of_jinja("do_reject"),
    "rejectattr": _of_jinja("do_rejectattr"),
    "rekey_on_member": rekey_on_member,
    "select": _of_jinja("do_select"),
    "selectattr": _of_jinja("do_selectattr"),
    "shuffle": shuffle,
    "subelements": subelements,
    "symmetric_difference": symmetric_difference,
    "ternary": ternary,
    "type_debug": type_debug,
    "union": union,
    "unique": unique,
    "zip": zip,
    "zip_longest": itertools.zip_longest,
}
