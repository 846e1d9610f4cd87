# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The template processes of a batch: started when they are needed, or just before, and ended with their last job."""

from __future__ import annotations

import json
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import scripts
from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_client, fork_zygotes

_PATIENCE = 5.0  # seconds that the last of them may take to end


class ForkServers:
    """The templates, by payload, by the environment that their interpreter starts with, and by user."""

    def __init__(self, plan, run_path, sources, environment, *, watch, unwatch, now=time.monotonic):
        """run_path: the folder for what jobs print; sources: see Supervisor; environment: the supervisor's own.

        watch(template), unwatch(template): called when there is one to listen to, and when it is gone.
        """
        self._batch_id = plan["batch_id"]
        self._payloads = plan["payloads"]
        self._become = plan.get("become", ())
        self._run_path = run_path
        self._capture = {"capture": sources["capture"]} if plan.get("keep_output", 0) else {}
        # What is compiled is not for other users, who cannot read it.
        self._compiled = {"compiled": sources["compiled"]} if sources.get("compiled") else {}
        self._program = fork_client.program(sources["template"], sources.get("compiled"))
        self._program_of_others = fork_client.program(sources["template"])
        self._environment = environment
        self._watch, self._unwatch = watch, unwatch
        self._now = now
        self._templates = {}  # key: Template
        self._leaving = []
        self._order = []  # an (environment, call) for each template to come, in the order of need
        self._positions = {}  # key: its index there
        self._furthest = -1
        self._prepared = set()
        self._demand = {}  # key: jobs that may still need it
        self._scripted = {}  # id of a job with a script: the keys that it may need
        for job in plan["jobs"]:
            keys = set()
            for environment_of_call, call in _calls_of(job):
                key = _key(environment_of_call, call)
                keys.add(key)
                if key not in self._positions:
                    self._positions[key] = len(self._order)
                    self._order.append((environment_of_call, call))
            for key in keys:
                self._demand[key] = self._demand.get(key, 0) + 1
            if "script" in job:
                self._scripted[id(job)] = keys
        self._zygotes = fork_zygotes.Zygotes(map(self._group, self._positions))

    def _group(self, key):
        name, start, become = key
        return fork_zygotes.group_of(self._payloads[name], start, become)

    def get(self, environment, call):
        """Return the template for a call of a job with this environment; start one if there is none.

        OSError, TemplateGone if it can't be started.
        """
        key = _key(environment, call)
        if key not in self._templates:
            template = self._start(key, environment, call)
            self._templates[key] = template
            self._watch(template)
        return self._templates[key]

    def _start(self, key, environment, call):
        at_start = fork_client.start_environment(environment)
        about = {"becoming": self._become[call["become"]] if "become" in call else None}

        def make(kind, label, **more):
            payload, sent = dict(self._payloads[call["payload"]], **self._capture), self._program_of_others
            if "become" not in call:
                payload.update(self._compiled)
                sent = self._program
            environments = self._environment, at_start
            return kind(payload, environments, self._run_path, label, sent, **about, **more)

        def make_zygote():
            zygote = make(fork_client.Zygote, self._batch_id)
            self._watch(zygote)
            return zygote

        label = "%s %s" % (self._batch_id, call["module"])
        zygote = self._zygotes.of(self._group(key), make_zygote)
        if zygote is not None:
            try:
                template = make(fork_client.Template, label, zygote=zygote)
                self._watch(zygote)  # it may have taken only a part of the order to fork
                return template
            except fork_client.TemplateGone:
                pass  # the listener will report that
        return make(fork_client.Template, label)

    def took(self, environment, call, job=None):
        """A template took a call: the template after it may be prepared (`prepare`). job: of the call, if it has a script."""
        key = _key(environment, call)
        self._furthest = max(self._furthest, self._positions.get(key, -1))
        known = self._scripted.get(id(job))
        if known is not None and key not in known:
            known.add(key)  # its environment is known only now
            self._demand[key] = self._demand.get(key, 0) + 1

    def prepare(self):
        """Have the module after those in use loaded while its first job waits for a slot; each is tried once."""
        following = self._furthest + 1
        if following in self._prepared or following >= len(self._order):
            return
        self._prepared.add(following)
        environment, call = self._order[following]
        if self._demand[_key(environment, call)]:
            try:
                self.get(environment, call)
            except (OSError, ValueError, fork_client.TemplateGone):
                pass  # its first job will report that

    def release(self, job):
        """A job has ended: let go of the templates that no other one may need."""
        keys = self._scripted.pop(id(job), None)
        if keys is None:
            keys = {_key(environment, call) for environment, call in calls(job["body"])}
        for key in keys:
            self._demand[key] -= 1
            if not self._demand[key]:
                if key in self._templates:
                    self._dismiss(key)
                if key in self._positions:
                    self._let_go_of_zygote(key)

    def _let_go_of_zygote(self, key):
        zygote = self._zygotes.done_with_one(self._group(key))
        if zygote is not None:
            self._let_go(zygote)

    def drop(self, template):
        """Forget a template or a zygote that is gone: the next job gets a new template, or one that starts without a zygote.

        Return [(template, TemplateGone)] of the templates that are lost with it; None: for the same reason as this one.
        """
        for key, value in self._templates.items():
            if value is template:
                self._dismiss(key)
                return []
        # a zygote; or it was let go just before its end was seen
        waiting = [one for one in self._templates.values() if one.is_awaited_from(template)]
        is_become = template.patience is None
        if self._zygotes.give_up(template):
            self._let_go(template)
        if not is_become:
            return [(one, None) for one in waiting]  # what made the zygote fail would make them fail
        return [(one, failure) for one, failure in zip(waiting, map(self.start_alone, waiting)) if failure]

    def start_alone(self, template):
        """Start a template by itself that no zygote has forked. Return a TemplateGone if that can't be done."""
        try:
            template.start_alone(lambda: self._unwatch(template))
        except (OSError, ValueError) as exc:
            return fork_client.TemplateGone(str(exc))
        self._watch(template)
        return None

    def _dismiss(self, key):
        self._let_go(self._templates.pop(key))

    def _let_go(self, process):
        self._unwatch(process)
        process.close()
        self._leaving.append(process)
        self.reap()

    def reap(self):
        """Reap and forget the processes that were let go and have ended."""
        self._leaving = [template for template in self._leaving if not template.has_ended()]

    def close(self):
        """End all of them, and wait until they are gone."""
        for key in list(self._templates):
            self._dismiss(key)
        for zygote in self._zygotes.all():
            self._let_go(zygote)
        deadline = self._now() + _PATIENCE
        for template in self._leaving:
            template.reap(max(0.0, deadline - self._now()))


def calls(nodes):
    """Yield (environment, call) for each call of a job's body, in the order written."""
    for node in nodes:
        if "block" in node:
            for section in ("block", "rescue", "always"):
                yield from calls(node.get(section) or ())
        else:
            for call in node["calls"]:
                yield node["environment"], call


def _calls_of(job):
    """Yield what `calls` does, but also for a job with a script, as far as its environments are known."""
    if "script" not in job:
        yield from calls(job["body"])
        return
    script = job["script"]
    token = script.get("token")
    for task, turn in scripts.turns_of(script):
        environment = turn.get("environment", {})
        if task.get("environment") or (token and token in json.dumps(environment)):
            continue
        for call in turn.get("calls", ()):
            yield environment, call


def _key(environment, call):
    start = json.dumps(fork_client.start_environment(environment), sort_keys=True)
    return call["payload"], start, call.get("become")
