# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The arguments of a module call: unchanged if they are known, with tokens for the parts that the host evaluates."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._late import local
from ansible_collections.background.jobs.plugins.plugin_utils._late.script_values import Value
from ansible_collections.background.jobs.plugins.plugin_utils._late.view import PINNED, VARS
from ansible_collections.background.jobs.plugins.plugin_utils._model import Scope
from ansible_collections.background.jobs.plugins.plugin_utils._plan import actions

if t.TYPE_CHECKING:
    from ansible_collections.background.jobs.plugins.plugin_utils._late.rounds import Round, TaskInRounds

# Words of a command line, with templates kept whole, and the blanks between them.
_WORDS = re.compile(r"(?:\{\{.*?\}\}|\{%.*?%\}|[^\s])+|\s+", re.DOTALL)


class Arguments:
    """The arguments of a task for one turn of its loop."""

    def __init__(self, task: TaskInRounds, one: Round, call: t.Any) -> None:
        self._task, self._one, self._call = task, one, call
        self._language, self._script, self._view = task.language, task.script, one.view

    def ready(self, key: str, value: object) -> object:
        """Return an argument with tokens in place of what is late. Refused if it must be known at launch."""
        if self._view.trail(value) is None:
            return self._known(value)
        if actions.decides(self._call.fqcn, key, self._call.arguments):
            raise Refused(
                f"its option {key!r} must be known at launch, because its action plugin uses it on the controller, "
                f"and this {self._view.account(value)}. Use tasks with 'when' for each case, or launch the rest after an async_wait."
            )
        if key == local.ARGS:
            raise local.late_as_a_whole(self._one, value)
        if key == "_raw_params" and actions.is_script(self._call.fqcn):
            return self._words(t.cast("str", value))
        if key in actions.LATE_AS_A_WHOLE:
            return self._stand_in(value)
        return self._stood_in(value)

    def template(self, scope: Scope) -> Value | None:
        """Return the record for the file of a call of `template`, if that uses late values; else None."""
        known = {key: value for key, value in self._call.arguments.items() if self._view.trail(value) is None}
        try:
            found = self._language.template_file(self._call, known, scope)
        except Refused:
            return None  # it is reported when the arguments are rendered
        if found is None:
            return None
        text, options, own = found
        view = self._task.view({**scope, **own}, self._task.turning if self._task.late_loop else ())
        template = self._task.guarded(self._task.action, view.file, text, options)
        if template is not None:
            for name in view.tables[VARS].keys() & own.keys():
                view.tables[PINNED][name] = view.tables[VARS].pop(name)
            self._view.take(view)
        return template

    def _known(self, value: object) -> object:
        if not (self._one.uncertain or self._task.around.uncertain):
            return value
        try:
            self._language.template(value, self._one.scope)
        except Refused as exc:
            return self._script.stand_in(self._one.late, {"$undefined": str(exc)})
        return value

    def _words(self, text: str) -> str:
        """Return a command line with tokens for its late words; the first word names a file on the controller."""
        words = _WORDS.findall(str.__str__(text))
        if self._view.trail(self._language.trusted(words[0])) is not None:
            raise Refused(
                f"the name of the script {self._view.account(text)}, and it is read at launch. Use tasks with 'when' for each."
            )
        return self._language.trusted("".join(str(self._stood_in(self._language.trusted(word))) for word in words))

    def _stood_in(self, value: object) -> object:
        if self._view.trail(value) is None:
            return value
        if isinstance(value, str):
            return self._stand_in(value)
        if isinstance(value, Mapping):
            return {self._stood_in(key): self._stood_in(inner) for key, inner in value.items()}
        return [self._stood_in(inner) for inner in t.cast("list[object]", value)]

    def _stand_in(self, value: object) -> object:
        return self._script.stand_in(self._one.late, self._view.value(value, lenient=True))
