# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Lists and dicts whose templates are rendered when they are accessed, as in core.

Each is a copy: what a template changes in it is lost with that template.
"""

from __future__ import annotations

import copy

from ansible_collections.background.jobs.plugins.module_utils._late.markers import seen

_ABSENT = object()


# The active Runs (evaluation.py), the innermost last.
_runs: list = []


class LazyDict(dict):
    __slots__ = ("_run",)
    shown_as = "dict"
    __hash__ = None

    def __init__(self, content, run):
        super().__init__(content)
        self._run = run

    def _take(self, key, value, keep=True):
        result = self._run.template(value)
        if keep and result is not value:
            dict.__setitem__(self, key, result)
        return seen(result)

    def __getitem__(self, key):
        return self._take(key, dict.__getitem__(self, key))

    def get(self, key, default=None):
        value = dict.get(self, key, _ABSENT)
        return default if value is _ABSENT else self._take(key, value)

    def setdefault(self, key, default=None):
        if key in self:
            return self[key]
        dict.__setitem__(self, key, default)
        return default

    def pop(self, key, default=_ABSENT):
        value = dict.get(self, key, _ABSENT)
        if value is _ABSENT:
            if default is _ABSENT:
                raise KeyError(key)
            return default
        value = self._take(key, value, keep=False)
        del self[key]
        return value

    def popitem(self):
        if not self:
            raise KeyError("popitem(): dictionary is empty")
        key = list(self)[-1]
        return key, self.pop(key)

    def __iter__(self):  # its presence keeps dict() and update() from copying values that are not rendered yet
        return dict.__iter__(self)

    def items(self):
        for key, value in dict.items(self):
            yield key, self._take(key, value)

    def values(self):
        for item in self.items():
            yield item[1]

    def rendered(self):
        for dummy in self.items():
            pass
        return self

    def copy(self):
        return LazyDict(dict.items(self), self._run)

    __copy__ = copy

    def __deepcopy__(self, memo):
        pairs = [(copy.deepcopy(key, memo), copy.deepcopy(value, memo)) for key, value in dict.items(self)]
        return LazyDict(pairs, self._run)

    def __or__(self, other):
        return _merged(self, other) if isinstance(other, dict) else NotImplemented

    def __ror__(self, other):
        return _merged(other, self) if isinstance(other, dict) else NotImplemented

    def __str__(self):
        return str(dict(self.copy().items()))

    __repr__ = __str__

    def __eq__(self, other):
        return dict.__eq__(self.rendered(), _rendered(other))

    def __ne__(self, other):
        return dict.__ne__(self.rendered(), _rendered(other))


class LazyList(list):
    __slots__ = ("_run",)
    shown_as = "list"
    __hash__ = None

    def __init__(self, content, run):
        super().__init__(content)
        self._run = run

    def _take(self, index, value):
        result = self._run.template(value)
        if result is not value:
            list.__setitem__(self, index, result)
        return seen(result)

    def _of(self, content):
        return content if content is NotImplemented else LazyList(content, self._run)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return self._of(list.__getitem__(self, key))
        return self._take(key, list.__getitem__(self, key))

    def __iter__(self):
        for index, value in enumerate(list.__iter__(self)):
            yield self._take(index, value)

    def __reversed__(self):
        for index in range(len(self) - 1, -1, -1):
            yield self[index]

    def pop(self, index=-1):
        value = seen(self[index])
        del self[index]
        return value

    def rendered(self):
        for dummy in self:
            pass
        return self

    def copy(self):
        return self._of(list.__iter__(self))

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self._of([copy.deepcopy(value, memo) for value in list.__iter__(self)])

    def __str__(self):
        return str(list(self.copy()))

    __repr__ = __str__

    def __eq__(self, other):
        return list.__eq__(self.rendered(), _rendered(other))

    def __ne__(self, other):
        return list.__ne__(self.rendered(), _rendered(other))

    def __lt__(self, other):
        return list.__lt__(self.rendered(), _rendered(other))

    def __le__(self, other):
        return list.__le__(self.rendered(), _rendered(other))

    def __gt__(self, other):
        return list.__gt__(self.rendered(), _rendered(other))

    def __ge__(self, other):
        return list.__ge__(self.rendered(), _rendered(other))

    def __contains__(self, item):
        return list.__contains__(self.rendered(), item)

    def __add__(self, other):
        return self._of(list.__add__(self, other))

    def __radd__(self, other):
        return self._of(list.__add__(other, self)) if isinstance(other, list) else NotImplemented

    def __mul__(self, other):
        return self._of(list.__mul__(self, other))

    __rmul__ = __mul__

    def index(self, *args):
        return list.index(self.rendered(), *args)

    def count(self, item):
        return list.count(self.rendered(), item)

    def remove(self, item):
        list.remove(self.rendered(), item)

    def sort(self, **kwargs):
        self[:] = sorted(self, **kwargs)


class LazyTuple(tuple):
    """A tuple can't change: its items are rendered when it is made, and checked for markers when accessed by index."""

    shown_as = "tuple"

    def __new__(cls, content, run):
        return super().__new__(cls, [run.template(value) for value in content])

    def __getitem__(self, key):
        value = tuple.__getitem__(self, key)
        return value if isinstance(key, slice) else seen(value)


_LAZY = {dict: LazyDict, list: LazyList, tuple: LazyTuple}


def _merged(left, right):
    result = dict(left.items())
    result.update(right.items())
    return result


def _rendered(other):
    return other.rendered() if type(other) in (LazyDict, LazyList) else other


def lazy(value, run=None):
    """Return a container as a lazy one of this run, or of the active one; anything else as it is."""
    kind = _LAZY.get(type(value))
    return value if kind is None else kind(value, run or _runs[-1])


def lazy_arguments(args, kwargs):
    return [lazy(value) for value in args], {key: lazy(value) for key, value in kwargs.items()}


def current_run():
    return _runs[-1]


class going_on:  # noqa: N801 - reads as the statement that it is
    """Makes a run the active one, to which containers made meanwhile belong."""

    __slots__ = ("_run",)

    def __init__(self, run):
        self._run = run

    def __enter__(self):
        _runs.append(self._run)

    def __exit__(self, *dummy):
        _runs.pop()
