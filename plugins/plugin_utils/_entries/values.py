# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The values of a task's keys, rendered and checked."""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.background.jobs.plugins.module_utils._protocol import defaults
from ansible_collections.background.jobs.plugins.plugin_utils import _model, _options
from ansible_collections.background.jobs.plugins.plugin_utils._entries import flow as flows
from ansible_collections.background.jobs.plugins.plugin_utils._entries import keywords, references
from ansible_collections.background.jobs.plugins.plugin_utils._entries.context import Around
from ansible_collections.background.jobs.plugins.plugin_utils._errors import (
    JobRefused,
    Refused,
    kind,
    unfit,
    unfit_kind,
)
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Become, Scope, Variables

_MOST_RETRIES = 1_000_000
_MOST_BACKOFF = 1000.0
_OUTSIDE = "Put it into the play, before the launch."
_AT_LAUNCH = (
    "The value of this key must be known at launch. Let the host decide with a key that it evaluates itself (such as 'when'), "
    "or launch the rest after an async_wait."
)


class Values:
    """Reads the keys of a task, a block or an include; errors are about `at`, its place, with the current item of its loop."""

    def __init__(self, where: str, source: object, around: Around) -> None:
        self.where = self.at = where
        self.around = around
        self.language = around.language
        self.title: str | None = None
        self.variables: Variables = {}
        self.loop: Variables = {}
        self.source: Mapping[t.Any, object] = source if isinstance(source, Mapping) else {}
        if not isinstance(source, Mapping):
            raise self.refuse(None, unfit_kind("it must be a task (a dictionary)", source))

    def refuse(self, key: str | None, text: str | Refused) -> JobRefused:
        """Return an error about `key`; a text holds no values, a `Refused` has a text without them."""
        if not self.hides():
            return JobRefused(self.at, self.title, key, str(text), self.source)
        return JobRefused(self.at, self.title, key, text.hidden if isinstance(text, Refused) else text)

    def hides(self) -> bool:
        """Whether values must not be shown: `no_log` is set, or cannot be evaluated."""
        if self.around.defaults.no_log:
            return True
        written = self.source.get("no_log", self.around.flags.get("no_log", False))
        try:
            value = self.language.template(written, self.scope(self.loop))
            return value is not ABSENT and bool(boolean(value))
        except (Refused, TypeError):
            return True

    def guarded(self, key: str | None, function: t.Callable[..., t.Any], *args: object) -> t.Any:
        try:
            return function(*args)
        except JobRefused:
            raise
        except Refused as exc:
            raise self.refuse(key, exc) from exc

    def scope(self, loop: Variables) -> Scope:
        """Return the variables that the task sees, for one item of its loop."""
        around = self.around
        self.loop = loop
        scope = self.language.scope(
            around.role_defaults,
            {**around.role_variables, **around.variables, **self.variables},
            around.params,
            {**around.loop, **loop},
        )
        known = around.flow.known if around.flow else {}
        stronger = {*around.params, *around.loop, *loop, *self.language.strong()} if known else ()
        return {**scope, **{name: value for name, value in known.items() if name not in stronger}}

    def check_references(self, key: str, value: object, scope: Scope, expression: bool = False) -> None:
        """Refuse a value that uses what only the host knows, while the job runs; raise NeedsScript if there is no script yet."""
        flow = self.around.flow
        if flow is None or not (flow.size or self.around.failed or self.around.turning):
            return
        late = flows.Late(
            flow,
            self.language,
            scope,
            pinned={*self.around.loop, *self.loop, *self.around.params, *self.language.strong()},
            turning=self.around.turning,
            failed=self.around.failed,
        )
        trail = references.find(
            value,
            late,
            lambda name: self.language.variable(name, scope),
            self.language.is_template,
            expression,
        )
        if trail is None:
            return
        if self.around.script is None:
            raise flows.NeedsScript
        through = "".join(f"{step!r}, which uses " for step in trail[:-1])
        raise self.refuse(key, f"it uses {through}{trail[-1]!r}, which {flow.said_of(trail[-1])}. {_AT_LAUNCH}")

    def rendered(self, key: str, value: object, scope: Scope) -> t.Any:
        """Return `value` rendered, None if that is `omit`; errors are about `key`."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        self.check_references(key, value, scope)
        rendered = self.guarded(key, self.language.template, value, scope)
        return None if rendered is ABSENT else rendered

    def value(self, key: str, scope: Scope) -> t.Any:
        """Return the rendered value of a key, the task's own or inherited; None if it is missing, or `omit`."""
        return self.rendered(key, self.source.get(key, self.around.flags.get(key)), scope)

    def flag(self, key: str, scope: Scope, default: bool = False) -> bool:
        value = self.value(key, scope)
        if value is None:
            return default
        try:
            return bool(boolean(value))
        except TypeError as exc:
            raise self.refuse(key, unfit("it must be true or false", value)) from exc

    def seconds(self, key: str, scope: Scope, default: float) -> float:
        value = self.value(key, scope)
        return default if value is None else float(self.guarded(key, _model.seconds, value))

    def number(self, key: str, scope: Scope, default: float, least: float, most: float) -> float:
        value = self.value(key, scope)
        if value is None:
            return default
        try:
            number = math.nan if isinstance(value, bool) else float(str(value))
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise self.refuse(key, unfit(f"it must be a number from {least:g} to {most:g}", value))
        return number

    def limits(self, scope: Scope) -> dict[str, t.Any]:
        """Return nice, memory_max, cpu_quota and pool, as far as the job or the task that launches has them."""
        given = {key: self.value(key, scope) for key in keywords.LIMITS}
        own = {
            key: self.guarded(key, _options.OF_JOBS[key], value) for key, value in given.items() if value is not None
        }
        return {**self.around.defaults.limits, **own}

    def retrying(self, scope: Scope) -> dict[str, t.Any]:
        """Return retries, delay and backoff, in the form for a job or a step."""
        if "retries" not in self.source:
            for key in ("delay", "backoff"):
                if key in self.source:
                    raise self.refuse(key, "it is the time between retries, but there is no 'retries'. Add it.")
            return {}
        retries = self.number("retries", scope, 0, 0, _MOST_RETRIES)
        if retries != int(retries):
            raise self.refuse("retries", unfit("it must be a whole number", retries))
        return {
            "retries": int(retries),
            "delay": self.seconds("delay", scope, defaults.DELAY),
            "backoff": self.number("backoff", scope, defaults.BACKOFF, 1.0, _MOST_BACKOFF),
        }

    def environment(self, scope: Scope) -> dict[str, str]:
        merged: dict[str, str] = {}
        for layer in (*self.around.environment, *layers(self.source.get("environment"))):
            rendered = self.rendered("environment", layer, scope)
            if rendered is None:
                continue
            if not isinstance(rendered, Mapping):
                said = f"it must be a dictionary, or a list of them: got {kind(rendered, show=False)}."
                raise self.refuse("environment", said)
            merged.update((str(key), str(text)) for key, text in rendered.items())
        return merged

    def become(self, scope: Scope) -> Become | None:
        """Return how to become the user of the task; None if that is the user of the launch."""
        given = {key: self.value(key, scope) for key in keywords.BECOME}
        if given["become"] is not None:
            given["become"] = self.flag("become", scope)
        key = next((key for key in keywords.BECOME if given[key] is not None), "become")
        become: Become | None = self.guarded(key, self.language.become, given, scope)
        return become

    def is_for_another_host(self, scope: Scope) -> bool:
        """Whether `run_once` makes another host run the task."""
        first = self.language.runs_once_on()
        if first is None or not self.flag("run_once", scope):
            return False
        if "register" in self.source:
            raise self.refuse(
                "run_once", f"the task runs on {first}, and the other hosts would need what it registers. {_OUTSIDE}"
            )
        if "set_fact" in self.source or "ansible.builtin.set_fact" in self.source:
            raise self.refuse(
                "run_once", f"the task runs on {first}, and the other hosts would need what it sets. {_OUTSIDE}"
            )
        return self.language.host() != first

    def is_hidden(self, scope: Scope) -> bool:
        """Whether `no_log` is set."""
        return self.around.defaults.no_log or self.flag("no_log", scope)


def layers(environment: object) -> list[object]:
    return environment if isinstance(environment, list) else [environment]
