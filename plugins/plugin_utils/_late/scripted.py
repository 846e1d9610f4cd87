# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Turns the tasks inside of a job into its script; _entries/blocks.py does the same if everything is known at launch."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ansible_collections.background.jobs.plugins.module_utils._late.names import YAML_FILTERS
from ansible_collections.background.jobs.plugins.plugin_utils._entries import blocks, includes, keywords
from ansible_collections.background.jobs.plugins.plugin_utils._entries.context import Around
from ansible_collections.background.jobs.plugins.plugin_utils._entries.flow import Flow
from ansible_collections.background.jobs.plugins.plugin_utils._entries.written import Written
from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused, nearest
from ansible_collections.background.jobs.plugins.plugin_utils._late.script import Handler, Script
from ansible_collections.background.jobs.plugins.plugin_utils._late.tasks import LateTask
from ansible_collections.background.jobs.plugins.plugin_utils._model import Block, Included, Job, Language, Node, Scope

Nodes = list[Node]

_ITS_PLACES = "A job can notify the handlers of the play, and those of its own roles."
# Keys of a job of one task that belong to the job, and have been evaluated.
_OF_JOB = ("name", "when", "timeout", "always_timeout", "depends_on", "run_when", "ignore_errors", *keywords.LIMITS)


def started(around: Around) -> Around:
    """Return what the tasks of a job with a script inherit from it."""
    return replace(around, flow=Flow(), script=Script())


def of_task(job: Job, source: Mapping[str, object], around: Around, loop: Mapping[str, object]) -> Node:
    """Return the script of a job that is one task; `loop` are the variables of the job's own loop."""
    left = {key: value for key, value in source.items() if key not in _OF_JOB and not keywords.is_loop(key)}
    around = replace(around, conditions=(), loop={**around.loop, **loop})
    builder = NodeBuilder(job.where, job.refused)
    task = LateTask(job.where, left, around)
    task.title = job.name
    task.begin()
    body = [task.node(job.name)]
    task.end()
    return written_down(around.script, around.language, body, builder)


def needs_yaml(*parts: object) -> bool:
    """Whether a filter is used that needs PyYAML."""
    text = repr(parts)
    return any(name in text for name in YAML_FILTERS)


def builder(job: Job) -> NodeBuilder:
    return NodeBuilder(job.where, job.refused)


def of_body(job: Job, body: t.Any, around: Around) -> Node:
    """Return the script of a job of many tasks."""
    body = body[0].block if isinstance(body[0], Block) else body
    return written_down(around.script, around.language, body, NodeBuilder(job.where, job.refused))


def written_down(script: Script, language: Language, body: Nodes, builder: NodeBuilder) -> Node:
    """Return the script in the form for the plan, except that the calls have to be added."""
    handlers = builder.handlers(script)
    told = language.of_play(script.roles)
    if told["missing_handlers_fail"]:
        builder.refuse_missing(script, handlers, told["play_handlers"])
    return {
        "token": script.token,
        "values": script.table.values,
        "body": body,
        "handlers": handlers,
        "yaml": needs_yaml(body, handlers, script.table.values),
        **told,
    }


class NodeBuilder(blocks.StepBuilder):
    """Makes the nodes of a script; errors of tasks are collected."""

    _is_look_ahead = False  # whether its result is discarded

    def block(self, written: Written, around: Around) -> t.Any:
        return {"kind": "block", **self.sections(written, around)}

    def sections(self, written: Written, around: Around) -> dict[str, t.Any]:
        """Return the tasks of each section; if a block may not come to its end, what it sets is not known."""
        with around.flow.watching() as touched:
            found = super().sections(written, around)
        if len(found) > 1:
            around.flow.forget(touched)
        return found

    def tasks(self, sources: Sequence[object], where: str, around: Around) -> t.Any:
        if not around.failed:
            return super().tasks(sources, where, around)
        before, around.flow.known = around.flow.known, {}
        with around.flow.watching() as touched:
            nodes = super().tasks(sources, where, around)
        around.flow.known = before
        around.flow.forget(touched)
        return nodes

    def included(self, included: Included, where: str, around: Around) -> t.Any:
        """Return the tasks of a file, or of a role, whose handlers are known from here on."""
        script: Script = around.script
        role = included.home.roles[0] if included.handlers and included.home.roles else None
        if role is not None and role.path not in script.roles:
            script.roles.add(role.path)
            script.handlers += [Handler(source, around, role.name) for source in included.handlers]
        with around.flow.watching() as touched:
            nodes = self.tasks(included.tasks, where, around)
        if included.role is not None and _ends_role(nodes):
            around.flow.forget(touched)
            return [{"kind": "block", "role": included.role, "block": nodes}]
        return nodes

    def checked(self, included: Included, around: Around) -> Included:
        """Return the tasks of a role with its argument specification reduced to what is known at launch."""
        spec = included.spec or {}
        options = t.cast("Mapping[str, object]", spec.get("argument_spec") or {})
        task = LateTask(self._where, {"debug": None}, around)
        known = {name: rules for name, rules in options.items() if not task.general.is_late(name)}
        return replace(included, spec={**spec, "argument_spec": known})

    def _task(self, where: str, source: object, around: Around) -> t.Any:
        task = LateTask(where, source, around)
        if task.is_left_out or task.is_for_another_host(task.scope({})):
            return []
        if task.keys is keywords.BLOCK:
            return [self.block(task, task.inside())]
        if task.keys is keywords.IMPORT:
            return includes.tasks(task, task.scope({}), self, task.inside())
        task.begin()
        nodes = self._include(task) if task.keys is keywords.INCLUDE else [task.node()]
        task.end()
        if any(_is_meta(node, "flush_handlers") for node in nodes):
            self._take_for_late_what_handlers_set(task.script)
        return nodes

    def _include(self, task: LateTask) -> Nodes:
        if task.late_loop:
            return [self._until_settled(task)]
        running = [one for one in task.rounds if one.false is None]
        if not running:
            return [task.node()]  # it has the reason
        nodes: Nodes = []
        for one in running:
            task.at = one.turn.where
            around = self._around(task, task.scope(one.turn.variables))
            around = replace(around, uncertain=around.uncertain or one.uncertain)
            body = t.cast("Nodes", includes.tasks(task, one.scope, self, around))
            nodes += [task.include(one, body)] if task.when or "register" in task.source else body
        return nodes

    @staticmethod
    def _around(task: LateTask, scope: Scope) -> Around:
        """Return what tasks inherit from an include: its variables and those of its loop, but no other key."""
        around = task.around
        turning = (*around.turning, *(task.turning if task.late_loop else ()))
        params, loop = {**around.params, **task.variables}, {**around.loop, **task.loop}
        return replace(around, params=params, loop=loop, turning=turning)

    def _until_settled(self, task: LateTask) -> Node:
        """Return the include of a late loop. From its second turn on, what its tasks set is late even for tasks before them."""
        (one,) = task.rounds
        around = replace(self._around(task, one.scope), uncertain=True)
        while True:
            size, refused = around.flow.size, len(self._refused)
            body = t.cast("Nodes", includes.tasks(task, one.scope, self, around))
            if around.flow.size == size or len(self._refused) > refused:
                return task.include(one, body)

    def handlers(self, script: Script) -> Nodes:
        """Return the handlers of the roles in a job, in order of definition."""
        self._take_for_late_what_handlers_set(script)
        found: Nodes = []
        for handler in script.handlers:
            handler.around.flow.known.clear()  # it is unknown when it runs
            around = replace(handler.around, conditions=(), uncertain=True, notify=())
            try:
                found += self._handler(handler, around)
            except JobRefused as exc:
                self._refused.append(exc)
        return found

    def _take_for_late_what_handlers_set(self, script: Script) -> None:
        """Note what the handlers known so far set; their errors are reported when they are made."""
        if self._is_look_ahead:
            return
        looking = NodeBuilder(self._where, [])
        looking._is_look_ahead = True
        notified = list(script.notified)
        looking.handlers(script)
        script.notified = notified

    def refuse_missing(self, script: Script, handlers: Nodes, of_play: Sequence[str]) -> None:
        """Refuse tasks that notify a handler that does not exist: in a play, core would fail when the task changes something."""
        known = [*of_play, *(name for one in handlers for name in (*one["names"], *one["listen"]))]
        for topic, refuse in script.notified:
            if topic not in known:
                self._refused.append(refuse(f"there is no handler {topic!r}.{nearest(topic, known)} {_ITS_PLACES}"))

    def _handler(self, handler: Handler, around: Around) -> Nodes:
        where = around.language.sources.position(handler.source) or f"{self._where}, handler of role {handler.role}"
        source = handler.source
        if isinstance(source, Mapping) and "block" not in source and keywords.include_in(source) is None:
            task = LateTask(where, source, around, keywords.HANDLER)
            task.begin()
            node = task.node()
            task.end()
        else:
            task = LateTask(where, source, around)
            nodes = self._task(where, {key: value for key, value in task.source.items() if key != "listen"}, around)
            node = {"kind": "block", "block": nodes}
        listen = task.source.get("listen") or []
        topics: Sequence[object] = listen if isinstance(listen, list) else [listen]
        return [
            {
                "names": []
                if task.title is None
                else names_of(self._rendered(task, task.source.get("name")), handler.role),
                "listen": [self._rendered(task, topic) for topic in topics],
                "task": node,
            }
        ]

    @staticmethod
    def _rendered(task: LateTask, text: object) -> str:
        try:
            return str(task.language.template(text, task.scope({})))
        except Refused:
            return str(text)


def _ends_role(nodes: Nodes) -> bool:
    """Whether one of the tasks of a role, not counting those of roles inside it, ends the role."""
    for node in nodes:
        if _is_meta(node, "end_role"):
            return True
        if "role" not in node and any(
            _ends_role(node.get(name) or []) for name in ("block", "rescue", "always", "body")
        ):
            return True
    return False


def _is_meta(node: Node, what: str) -> bool:
    return any(turn.get("local") == "meta" and turn.get("args") == what for turn in node.get("turns", ()))


def names_of(name: str, role: str) -> list[str]:
    """Return the names by which a handler of a role can be notified."""
    leaf = role.rpartition(".")[2]
    return list(dict.fromkeys([name, f"{role} : {name}", f"{leaf} : {name}"]))
