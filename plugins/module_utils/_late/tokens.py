# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Replaces tokens by values in what the controller has prepared: arguments of modules, and recipes."""

from __future__ import annotations

import json
import re

from ansible_collections.background.jobs.plugins.module_utils._late.values import OMIT, jsonable


class Tokens:
    """The tokens of a turn: "<token>_<n>_" stands for value n of its table. value(n) returns it rendered."""

    def __init__(self, token, value):
        self._token = token
        self._pattern = re.compile(re.escape(token) + r"_([0-9]+)_")
        self._value = value
        self._known = {}

    def of(self, number):
        """Return the value n."""
        if number not in self._known:
            self._known[number] = jsonable(self._value(number))
        return self._known[number]

    def put(self, number, value):
        """Let n stand for a value that is not in the table."""
        self._known[number] = value

    def arguments(self, params):
        """Return the text of a call's params with the values in place."""
        if self._token not in params:
            return params
        try:
            found = json.loads(params)
        except ValueError:  # for a module that reads k=v
            return self._text(params)
        if isinstance(found, dict) and isinstance(found.get("command"), list) and len(found) == 1:
            words = [self.fill(word) for word in found["command"]]
            return json.dumps({"command": [str(word) for word in words if word is not OMIT]})
        return json.dumps(self.fill(found))

    def fill(self, data):
        """Return data with values in place of tokens; omitted ones are left out."""
        if isinstance(data, str):
            return self._filled(data)
        if isinstance(data, list):
            return [item for item in map(self.fill, data) if item is not OMIT]
        if isinstance(data, dict):
            filled = ((self.fill(key), self.fill(value)) for key, value in data.items())
            return {key: value for key, value in filled if key is not OMIT and value is not OMIT}
        return data

    def _filled(self, text):
        if self._token not in text:
            return text
        whole = self._pattern.fullmatch(text)
        return self.of(int(whole.group(1))) if whole else self._text(text)

    def _text(self, text):
        def shown(match):
            value = self.of(int(match.group(1)))
            return "" if value is OMIT else str(value)

        return self._pattern.sub(shown, text)


def argument_with(token, params):
    """Return the name of the argument of a call that holds a token, None if that is unknown."""
    if token not in params:
        return None
    try:
        arguments = json.loads(params)
    except ValueError:
        return None
    arguments = arguments.get("ANSIBLE_MODULE_ARGS", arguments)
    return next((name for name, value in arguments.items() if token in json.dumps(value) or token in name), None)
