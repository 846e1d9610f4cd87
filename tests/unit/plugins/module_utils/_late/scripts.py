# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripts written by hand, and what goes through them without processes."""

from __future__ import annotations

import json

from ansible_collections.background.jobs.plugins.module_utils._late import executor, templating
from ansible_collections.background.jobs.plugins.module_utils._protocol import results
from ansible_collections.background.jobs.plugins.module_utils._supervisor.attempts import END, Wait

EPOCH = 1000000000.0
TOKEN = "bgjlate0"


def condition(text):
    """Return a condition as the controller writes it."""
    return [text, text if isinstance(text, bool) else {"$expr": text}]


def conditions(texts):
    return [condition(text) for text in (texts if isinstance(texts, list) else [texts])]


class Script:
    """Writes nodes; the values that they point to are collected."""

    def __init__(self, core="2.21", **more):
        self.values = []
        self.more = dict(more, core=core, token=TOKEN, archive=True)

    def value(self, value):
        self.values.append(value)
        return len(self.values) - 1

    def pins(self, **values):
        return {name: self.value(value) for name, value in values.items()}

    def node(self, name, module, turn, **keywords):
        for key in ("when", "until", "changed_when", "failed_when"):
            if key in keywords:
                keywords[key] = conditions(keywords[key])
        for key in ("vars", "pinned", "facts"):
            if key in keywords:
                keywords[key] = self.pins(**keywords[key])
        keywords.setdefault("turns", [turn])
        if "loop" in keywords:
            keywords["looped"] = True
        return dict({"kind": "task", "name": name, "module": module, "where": "tasks.yml:1"}, **keywords)

    def local(self, action, args=None, name=None, **keywords):
        turn = {"local": action, "args": args}
        return self.node(name or action, "ansible.builtin." + action, turn, **keywords)

    def turn(self, late=(), **arguments):
        """Return a turn with one call of the module; the values of arguments that are late are tokens of `late`."""
        params = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        return {"late": list(late), "environment": {}, "calls": [{"payload": "p", "module": "probe", "params": params}]}

    def call(self, name="probe", late=(), **keywords):
        arguments = keywords.pop("arguments", {})
        arguments.setdefault("name", name)
        return self.node(name, "ansible.builtin.probe", self.turn(late, **arguments), **keywords)

    def of(self, body):
        return dict(dict({"handlers": []}, **self.more), values=self.values, body=body)


def token(number):
    return "%s_%d_" % (TOKEN, number)


class Run:
    """Goes through a script at once. answers: {name of a task: what its calls return, one after the other}."""

    def __init__(self, script, answers=None, job=None, interfere=None):
        self.calls = []  # (name of the step, its arguments) in order
        self.steps = []
        self.waits = []
        self.files = {}
        self.now = 0.0
        answers = {name: list(given) for name, given in (answers or {}).items()}
        core = script["core"]
        self.executor = executor.Executor(
            dict({"no_log": False}, **(job or {})), script, templating.Engine(core), self.wall, stage=self._stage
        )
        action = self.executor.begin(self.now)
        while action is not END:
            self.now += 1.0
            if isinstance(action, Wait):
                self.waits.append(action.until - self.now + 1.0)
                self.now = action.until
                if interfere:
                    interfere(self.executor, None)
                action = self.executor.resume(self.now)
                continue
            name, params = action.step["name"], json.loads(action.call["params"])
            self.calls.append((name, params.get("ANSIBLE_MODULE_ARGS", params)))
            self.steps.append(action.step)
            self.executor.began(self.now)
            if interfere and interfere(self.executor, name):
                stopped = results.of({"failed": True, "changed": False, "msg": "stopped"})
                action = self.executor.stopped(self.executor.fate or "timed_out", stopped, self.now)
                continue
            given = answers.get(name, [{"changed": False}])
            printed = given.pop(0) if len(given) > 1 else given[0]
            action = self.executor.took(results.of(printed), self.now)

    def wall(self, now):
        return EPOCH + now

    def _stage(self, name, data, mode):
        self.files[name] = (data, mode)

    @property
    def state(self):
        return self.executor.state

    @property
    def names(self):
        return [name for name, dummy in self.calls]

    @property
    def result(self):
        return self.executor.outcome().result

    @property
    def report(self):
        return json.loads("".join(self.executor.report()))

    @property
    def variables(self):
        """What tasks have registered and set, as later tasks see it."""
        return self.executor.variables.set

    def entries(self):
        return [(entry["name"], entry["state"]) for entry in self.report["results"]]
