# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Turns the entries of `tasks` into jobs."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ansible_collections.background.jobs.plugins.plugin_utils._entries import flow as flows
from ansible_collections.background.jobs.plugins.plugin_utils._entries import graph, includes, keywords
from ansible_collections.background.jobs.plugins.plugin_utils._entries import names as _names
from ansible_collections.background.jobs.plugins.plugin_utils._entries.blocks import StepBuilder
from ansible_collections.background.jobs.plugins.plugin_utils._entries.context import Around
from ansible_collections.background.jobs.plugins.plugin_utils._entries.loops import Turn
from ansible_collections.background.jobs.plugins.plugin_utils._entries.written import Written
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, kind, nearest, shorten, unfit_kind
from ansible_collections.background.jobs.plugins.plugin_utils._model import (
    ABSENT,
    Block,
    Body,
    Defaults,
    Job,
    Language,
    Scope,
)

_RUN_WHEN = ("success", "failure", "always")


class Scripts(t.Protocol):
    """Writes the script of a job that needs what only the host knows; see _late/scripted.py."""

    def started(self, around: Around) -> Around: ...

    def of_task(
        self, job: Job, source: Mapping[str, object], around: Around, loop: Mapping[str, object]
    ) -> dict[str, t.Any]: ...

    def of_body(self, job: Job, body: t.Any, around: Around) -> dict[str, t.Any]: ...

    def builder(self, job: Job) -> StepBuilder: ...


def expand(
    entries: object, language: Language, defaults: Defaults, option: str = "tasks", scripts: Scripts | None = None
) -> list[Job]:
    """Return the jobs that `entries`, a list in task syntax, ask for."""
    try:
        entries = language.resolve(entries)
    except Refused as exc:
        raise Refused(f"'{option}': {exc}") from exc
    if not isinstance(entries, (list, tuple)):
        raise Refused(f"'{option}' must be a list of tasks: got {kind(entries)}.")
    around = Around(language, defaults, tags=language.own_tags())
    jobs: list[Job] = []
    loops: list[graph.Loop] = []
    wanted: dict[int, list[str]] = {}
    for where, source in _flatten(entries, language, option):
        entry = _Entry(where, source, around, scripts)
        first = len(jobs)
        for job, names in entry.jobs():
            if names:
                wanted[len(jobs)] = names
            jobs.append(job)
        if entry.loop_key:
            loops.append(graph.Loop(entry.loop_name(jobs[first:]), where, list(range(first, len(jobs)))))
    _names.make_unique(jobs)
    graph.resolve(jobs, loops, wanted)
    return jobs


def _flatten(entries: Iterable[object], language: Language, option: str) -> Iterator[tuple[str, object]]:
    for index, entry in enumerate(entries):
        where = option if option == "task" else f"{option}[{index}]"
        if isinstance(entry, str):
            entry = language.resolve(entry)
            if isinstance(entry, (list, tuple)):
                yield from _flatten(entry, language, where)
                continue
        yield where, entry


def _not_one_of(words: Sequence[str], value: object) -> Refused:
    said = f"it must be one of {', '.join(words)}: got"
    return Refused(f"{said} {shorten(value, 40)!r}.{nearest(value, words)}", f"{said} {kind(value, show=False)}.")


class _Entry(Written):
    """One entry of `tasks`, which becomes one job, or with a loop one job for each item."""

    def __init__(self, where: str, source: object, around: Around, scripts: Scripts | None) -> None:
        super().__init__(
            where, source, around, keywords.of_job(source) if isinstance(source, Mapping) else keywords.JOB
        )
        if "run_when" in self.source and "depends_on" not in self.source:
            raise self.refuse(
                "run_when", "it says which outcome of other jobs to wait for, but there is no 'depends_on'."
            )
        self._scripts = scripts
        self._is_local = keywords.is_local(self.action or "")
        self._call = self.call() if self.keys is keywords.JOB and not self._is_local else None
        if self._call is not None:
            self._fqcn = self._call.fqcn
        else:
            self._fqcn = f"ansible.builtin.{self.action.rpartition('.')[2]}" if self.action else "block"

    def jobs(self) -> Iterator[tuple[Job, list[str]]]:
        """Return the jobs, each with the names of those that it depends on."""
        for turn in self.turns():
            self.at = turn.where
            scope = self.scope(turn.variables)
            job = self._job(turn, scope)
            yield job, self._depends_on(scope, lenient=job.skip is not None)

    def loop_name(self, jobs: list[Job]) -> str:
        """Return the name that stands for all items of the loop in `depends_on`: the one without the items."""
        name = self.source.get("name")
        if name is None:
            return self._fqcn.rpartition(".")[2]
        made_up = next((job.name.rpartition(" (")[0] for job in jobs if job.generated), None)
        return made_up or _names.without_templates(str(name))

    def _job(self, turn: Turn, scope: Scope) -> Job:
        false = turn.skip or self.false_condition(scope)
        hidden = self.is_hidden(scope)
        name, generated = self.name(scope, turn, self._fqcn, hidden, lenient=false is not None)
        job = Job(
            name=name,
            where=turn.where,
            fqcn=self._fqcn,
            timeout=self.around.defaults.timeout,
            ignore_errors=False,
            no_log=hidden,
            item=ABSENT if hidden else turn.item,
            skip=false,
            source=self.source,
            generated=generated,
        )
        if false is not None:
            return job
        job.timeout = self.seconds("timeout", scope, job.timeout)
        job.ignore_errors = self.flag("ignore_errors", scope)
        job.always_timeout = self.seconds("always_timeout", scope, job.always_timeout)
        for key, value in {**self.retrying(scope), **self.limits(scope)}.items():
            setattr(job, key, value)
        job.run_when = self._run_when(scope)
        self._fill(job, scope)
        return job

    def _fill(self, job: Job, scope: Scope) -> None:
        """Set what a job runs: its evaluated tasks, or if these need values of the host, a script."""
        if self._call is None and not self._is_local:
            try:
                job.body = self._body(job, scope, StepBuilder(job.where, job.refused), self._around())
            except flows.NeedsScript:
                self._script(job, scope)
        elif self._is_local or any(key in self.source for key in keywords.SCRIPTED):
            job.script = self._writer().of_task(job, self.source, self._writer().started(self.around), self.loop)
            job.retries = 0  # they are in its script
        else:
            job.body = [self.step(self._call, scope, job.item, job.name, job.no_log)]

    def _writer(self) -> Scripts:
        if self._scripts is None:
            raise self.refuse(None, "it has what only the host knows, and this launch takes no scripts.")
        return self._scripts

    def _script(self, job: Job, scope: Scope) -> None:
        job.refused.clear()
        around = self._writer().started(self._around())
        body = self._body(job, scope, self._writer().builder(job), around)
        job.script = self._writer().of_body(job, body, around)

    def _around(self) -> Around:
        # The time limit belongs to the job, and its condition has been evaluated.
        is_include = self.action is not None and not keywords.is_import(self.action)
        own = {"timeout", "run_once", *(("ignore_errors",) if is_include else ())}
        around = self.inside([key for key in keywords.INHERITED if key not in own])
        around = replace(around, conditions=(), flow=flows.Flow())
        if not is_include:
            return around
        return replace(around, variables=self.around.variables, params={**around.params, **self.variables})

    def _body(self, job: Job, scope: Scope, builder: StepBuilder, around: Around) -> Body:
        if self.action is None:
            return [builder.block(self, around)]
        return [Block(block=includes.tasks(self, scope, builder, around))]

    def _run_when(self, scope: Scope) -> str:
        value = self.value("run_when", scope)
        if value is not None and value not in _RUN_WHEN:
            raise self.refuse("run_when", _not_one_of(_RUN_WHEN, value))
        return value or "success"

    def _depends_on(self, scope: Scope, lenient: bool) -> list[str]:
        try:
            value = self.value("depends_on", scope)
        except Refused:
            if lenient:
                return []
            raise
        names = [] if value is None else value if isinstance(value, (list, tuple)) else [value]
        for name in names:
            if not isinstance(name, (str, int)) or isinstance(name, bool):
                raise self.refuse("depends_on", unfit_kind("it must be the name of a job, or a list of names", name))
        return [str(name).strip() for name in names]
