# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Replaces an Engine if nothing of a script has to be rendered, so that no Jinja2 was sent."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed
from ansible_collections.background.jobs.plugins.module_utils._late.values import (
    OMIT,
    Expression,
    Items,
    Template,
    Undefined,
    decode,
)


class ConstantsOnly:
    """An Engine for values without templates."""

    def scope(self, lookup):
        return _Scope(lookup)


class _Scope:
    def __init__(self, lookup):
        self._lookup = lookup

    def render(self, value):
        decoded = decode(value)
        if isinstance(decoded, Expression) and decoded.text.isidentifier():
            return _plain(self._lookup(decoded.text))
        return _plain(decoded)

    def holds(self, value):
        if not isinstance(value, bool):
            raise TemplateFailed("a condition cannot be evaluated without Jinja2")
        return value


def _plain(value):
    if isinstance(value, Template):
        raise TemplateFailed("a template cannot be rendered without Jinja2")
    if isinstance(value, Undefined):
        raise TemplateFailed(value.message)
    if isinstance(value, Items):
        value = {_plain(key): item for key, item in value.pairs}
    if isinstance(value, dict):
        filled = ((key, _plain(item)) for key, item in value.items())
        return {key: item for key, item in filled if item is not OMIT}
    if isinstance(value, list):
        return [item for item in map(_plain, value) if item is not OMIT]
    return str(value) if isinstance(value, str) else value
