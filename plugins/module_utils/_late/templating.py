# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Evaluation of what a playbook wrote, on the host, as ansible-core 2.19 and later evaluate it on the controller.

Jinja2 has to be importable (see archive.py) before an Engine is made. Only what `values.decode` has made a Template or
an Expression is ever compiled.
"""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed
from ansible_collections.background.jobs.plugins.module_utils._late.values import OMIT, decode

__all__ = ("OMIT", "Engine", "Scope", "TemplateFailed")

_ABSENT = object()


class Engine:
    """Evaluates as the controller's ansible-core of this version, as "2.21", and remembers what it has compiled."""

    def __init__(self, core, extensions=()):
        # Here, and not above: these files need Jinja2, which is importable only now.
        from ansible_collections.background.jobs.plugins.module_utils._late import jinja
        from ansible_collections.background.jobs.plugins.module_utils._late.evaluation import Compiler, Run

        if not jinja.PRESENT:
            raise ImportError("Jinja2 was not there when the first Engine was made: see archive.py")
        self._compiler = Compiler(tuple(int(number) for number in core.split(".")[:2]), extensions)
        self._run = Run

    def scope(self, lookup):
        """Return a Scope that finds variables by `lookup(name)`: a decoded value (see values.py), or KeyError."""
        return Scope(lambda found: self._run(self._compiler, found), lookup)


class Scope:
    """Variables as one task, or one turn of its loop, sees them. Values that were looked up are remembered."""

    def __init__(self, run, lookup):
        self._run = run
        self._lookup = lookup
        self._found = {}

    def render(self, value):
        """Return a Value fully rendered, in plain types; OMIT if all of it is omitted."""
        return self._run(self._variable).ended(lambda run: run.whole(decode(value)))

    def holds(self, value):
        """Return whether a condition holds; its value has to be true or false."""
        return self._run(self._variable).ended(lambda run: run.condition(decode(value)))

    def fill(self, text, options=None):
        """Return the text of a template file rendered, as the module `template` does with these options."""
        return self._run(self._variable).ended(lambda run: run.file(text, options or {}))

    def _variable(self, name, default):
        value = self._found.get(name, _ABSENT)
        if value is _ABSENT:
            try:
                value = self._lookup(name)
            except KeyError:
                return default
            self._found[name] = value
        return value
