# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What a launch hands to the supervisor of its batch: its form, and the check on arrival.

A plan, made by plugin_utils/_plan/planner.py and _verbs/launching.py:

protocol, batch_id      the version of this form; "b" and 15 digits
concurrency             how many jobs run at once, 0: all
payloads                {key: payload}; calls name the key
jobs                    [job], in the order in which they start
become                  [{"user", "command": [word], to be followed by what that user is to run}]; calls name the index
keep_output             bytes of each stream of a job that are kept, 0: nothing
max_failures,           percent of the jobs that may fail before no more are started, and what happens then:
on_failure              finish, cancel
start_delay,            what further starts wait for: seconds between two of them, free bytes, a load below this
min_free_memory,
max_load
pools                   {name: how many places}, for the pools that jobs need
staging_token, files,   the files that the plan brings: staged.py
bundle
evaluator, archive      for a launch with scripts: the sources of the evaluator, and Jinja2, both in base64
shared                  parts replaced above by their SHA-256; shared.py puts them back

A payload, {"style", "interpreter": [word], "name"}, and more by its style: ansiballz: head, tail: the program before
and after the params of a call; text: nothing, params are the program; args_file: data in base64, params are a file;
command: nothing, params are {"command": [word]}. fork: false if each call has to execute it.

A job, {"name", "module", "timeout": seconds, 0: none, "no_log", "ignore_errors", "depends_on": [index],
"skip": the reason if it never runs, "body": [step or block]}, with run_when, retries, delay and backoff (seconds
and a factor), always_timeout (seconds), nice, memory_max (bytes), cpu_quota (percent of one), pool, item,
and script if they are not the default.

A block, {"block": [step or block]}, with rescue and always if it has them.

A step, {"name", "module", "calls": [call]}, with environment {name: text}, recipe (_supervisor/recipes.py) and staged
(staged.py), item, timeout, retries, delay, backoff, ignore_errors, no_log if they are not the default; or with skip instead.

A call, {"module", "payload": key, "params": text}, with become if it runs as another user.

A script, {"token", "values": [value], "body": [node], "handlers": [{"names", "listen", "task": node}]}, and what the play
has to do with it: core (the version of ansible-core), play_handlers, missing_handlers_fail, force_handlers, inject_facts,
verbosity, archive, yaml. A value is a constant or a template (_late/values.py). A node is a block, with role if it is one;
an include, {"kind": "include", "body": [node]}; or a task, {"kind": "task", "module", "turns": [turn]}, with its keywords.
A turn is what is done for one item: a step without its name and its keywords, or {"local": an action of _late/local_actions.py,
"args"}, or {"skip"}; late: the values that `<token>_<number>_` in its params stands for.
"""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._protocol import ids, pools, shapes
from ansible_collections.background.jobs.plugins.module_utils._protocol.shapes import (
    are_texts,
    expect,
    is_anything,
    is_count,
    is_flag,
    is_integer,
    is_list,
    is_span,
    is_table,
    is_text,
    one_of,
    or_none,
)

PROTOCOL = 1
_SECTIONS = ("block", "rescue", "always")


def check(plan):
    """Raise shapes.Malformed, which says what is wrong, and in which job, if this is no plan."""
    shapes.check_keys(plan, _PLAN, _PLAN_OPTIONS, "a plan")
    for key, payload in plan["payloads"].items():
        _check_payload(payload, "payload %r" % key)
    checker = _Checker(plan["payloads"], len(plan.get("become", ())))
    for index, job in enumerate(plan["jobs"]):
        checker.check_job(job, "job %d" % index, len(plan["jobs"]))
        is_sized = job["skip"] is not None or job.get("pool") in (None, *plan.get("pools", ()))
        expect(is_sized, "job %d: there is no size of its pool %.80r", index, job.get("pool"))


def _is_protocol(value):
    return is_integer(value) and value == PROTOCOL


def _is_batch_id(value):
    return is_text(value) and ids.is_batch_id(value)


def _is_environment(value):
    return isinstance(value, dict) and all(map(is_text, value)) and all(map(is_text, value.values()))


def _are_staged(value):
    """Say whether this is a list of [path, SHA-256, mode]."""
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 3 and is_text(one[0]) and is_text(one[1]) and is_count(one[2])
        for one in value
    )


def _are_users(value):
    return isinstance(value, list) and all(
        isinstance(one, dict) and set(one) == {"user", "command"} and is_text(one["user"]) and are_texts(one["command"])
        for one in value
    )


_PLAN = {
    "protocol": _is_protocol,
    "batch_id": _is_batch_id,
    "concurrency": is_count,
    "payloads": is_table,
    "jobs": is_list,
}
_PLAN_OPTIONS = {
    "become": _are_users,
    "keep_output": is_count,
    "max_failures": is_span,
    "on_failure": one_of("finish", "cancel"),
    "start_delay": is_span,
    "min_free_memory": is_count,
    "max_load": is_span,
    "pools": pools.are_sizes,
    "staging_token": is_text,
    "files": is_table,
    "bundle": is_text,
    "evaluator": is_anything,
    "archive": is_anything,
}
_PAYLOAD = {"interpreter": are_texts, "name": is_text, "style": is_text}
_STYLES = {
    "ansiballz": {"head": is_text, "tail": is_text},
    "text": {},
    "args_file": {"data": is_text},
    "command": {},
}
_RETRIES = {"retries": is_count, "delay": is_span, "backoff": is_span}
_JOB = {
    "name": is_text,
    "module": is_text,
    "timeout": is_span,
    "no_log": is_flag,
    "ignore_errors": is_flag,
    "depends_on": is_list,
    "skip": or_none(is_text),
    "body": is_list,
}
_JOB_OPTIONS = dict(
    _RETRIES,
    run_when=one_of("success", "failure", "always"),
    always_timeout=is_span,
    nice=is_integer,
    memory_max=is_count,
    cpu_quota=is_span,
    pool=pools.is_name,
    item=is_anything,
    script=is_table,
)
_STEP = {"name": is_text, "module": is_text, "calls": is_list}
_RUNS = {"environment": _is_environment, "recipe": is_table, "staged": _are_staged, "render": is_list}
_STEP_OPTIONS = dict(
    _RUNS,
    item=is_anything,
    skip=is_text,
    timeout=is_span,
    ignore_errors=is_flag,
    no_log=is_flag,
    **_RETRIES,
)
_CALL = {"module": is_text, "payload": is_text, "params": is_text}
_CALL_OPTIONS = {"become": is_count}


def _check_payload(payload, what):
    expect(isinstance(payload, dict), "%s is a dictionary", what)
    style = payload.get("style")
    expect(style in _STYLES, "'style' of %s can't be %.80r", what, style)
    shapes.check_keys(payload, dict(_PAYLOAD, **_STYLES[style]), {"fork": is_flag}, what)


class _Checker:
    """Checks jobs whose calls may name these payloads, and so many other users."""

    def __init__(self, payloads, users):
        self._payloads, self._users = payloads, users

    def check_job(self, job, what, count):
        shapes.check_keys(job, _JOB, _JOB_OPTIONS, what)
        for other in job["depends_on"]:
            expect(is_count(other) and other < count, "%s can't depend on %.80r", what, other)
        for node in job["body"]:
            self._check_body(node, what)
        if "script" in job:
            self._check_script(job["script"], what)

    def _check_body(self, node, what):
        """Check a step, or a block; blocks may be nested deeply."""
        waiting = [node]
        while waiting:
            node = waiting.pop()
            expect(isinstance(node, dict), "%s: a step or block is a dictionary", what)
            if "block" not in node:
                self._check_step(node, what)
                continue
            shapes.check_keys(node, {"block": is_list}, {"rescue": is_list, "always": is_list}, "%s: a block" % what)
            for section in node.values():
                waiting += section

    def _check_step(self, step, what):
        shapes.check_keys(step, _STEP, _STEP_OPTIONS, "%s: a step" % what)
        expect("skip" in step or "environment" in step, "%s: a step that runs needs 'environment'", what)
        expect("skip" in step or step["calls"] or "recipe" in step, "%s: a step that runs needs 'calls'", what)
        self._check_calls(step["calls"], what)

    def _check_calls(self, calls, what):
        expect(isinstance(calls, list), "%s: 'calls' are a list", what)
        for call in calls:
            shapes.check_keys(call, _CALL, _CALL_OPTIONS, "%s: a call" % what)
            expect(call["payload"] in self._payloads, "%s: there is no payload %.80r", what, call["payload"])
            expect(call.get("become", -1) < self._users, "%s: there is no such user to become", what)

    def _check_script(self, script, what):
        for key, is_fit in (("token", is_text), ("values", is_list), ("body", is_list), ("handlers", is_list)):
            expect(is_fit(script.get(key)), "%s: %r of a script can't be %.80r", what, key, script.get(key))
        waiting = list(script["body"])
        for handler in script["handlers"]:
            expect(isinstance(handler, dict) and "task" in handler, "%s: a handler needs 'task'", what)
            waiting.append(handler["task"])
        while waiting:
            waiting += self._check_node(waiting.pop(), what)

    def _check_node(self, node, what):
        """Check one node of a script, and return those in it."""
        expect(isinstance(node, dict), "%s: a node of a script is a dictionary", what)
        kind = node.get("kind")
        if kind == "task":
            expect(is_text(node.get("module")) and is_list(node.get("turns")), "%s: a task needs 'turns'", what)
            for turn in node["turns"]:
                self._check_turn(turn, what)
            return []
        sections = {"block": _SECTIONS, "include": ("body",)}.get(kind)
        expect(sections, "%s: 'kind' of a node can't be %.80r", what, kind)
        inner = [node[name] for name in sections if name in node]
        expect(inner and all(map(is_list, inner)), "%s: sections of a node are lists", what)
        return [one for section in inner for one in section]

    def _check_turn(self, turn, what):
        expect(isinstance(turn, dict), "%s: a turn is a dictionary", what)
        if "calls" in turn:
            self._check_calls(turn["calls"], what)
            for key, is_fit in _RUNS.items():
                expect(key not in turn or is_fit(turn[key]), "%s: %r of a turn can't be that", what, key)
