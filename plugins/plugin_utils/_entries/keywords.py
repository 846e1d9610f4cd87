# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The keys of jobs and of the tasks inside them: which work in the background, and the errors for the others."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

SECTIONS = ("block", "rescue", "always")
BECOME = ("become", "become_user", "become_method", "become_flags", "become_exe")
# Keys that the tasks of a block inherit, unless they have their own.
INHERITED = ("check_mode", "diff", "ignore_errors", "no_log", "run_once", "timeout", *BECOME)

_ALL = frozenset((*INHERITED, "environment", "name", "tags", "vars", "when"))
_LOOP = frozenset(("loop", "loop_control"))
# Keys that the host evaluates, or acts on, after a task: a job with one of these gets a script.
_JUDGING = ("changed_when", "failed_when", "until")
SCRIPTED = frozenset((*_JUDGING, "notify", "register"))
LOCAL = frozenset(("assert", "debug", "fail", "include_vars", "meta", "pause", "set_fact"))
_RETRIES = frozenset(("retries", "delay", "backoff"))
# Limits that the host enforces on a job.
LIMITS = ("nice", "memory_max", "cpu_quota", "pool")
_JOB = _ALL | _LOOP | _RETRIES | {"notify", "run_once", *_JUDGING, "depends_on", "run_when", *LIMITS}

_ON_TASK = "it is decided once for all jobs. Put it on the task that launches, on its block or on the play."
_OPTION = "it is an option of the launching task, not a key of one job. Move it up beside 'tasks'."
_NO_BLOCK = "there is no 'block' beside it. Add 'block' with a list of tasks."

REFUSED = {
    "action": "name the module itself: 'ansible.builtin.command: ...', not 'action: command ...'.",
    "always": _NO_BLOCK,
    "always_timeout": "it limits the 'always' section of a block, and this is not a block. Use 'timeout'.",
    "any_errors_fatal": _OPTION,
    "async": "every entry is a background job already. Use 'timeout' for its limit in seconds.",
    "block": "a job is one module or one block. Move the module into the block.",
    "cleanup": _OPTION,
    "collections": "write the full name of the module (namespace.collection.module).",
    "concurrency": _OPTION,
    "connection": _ON_TASK,
    "debugger": _ON_TASK,
    "delegate_facts": _ON_TASK,
    "delegate_to": "all jobs of a launch run on one host. Put delegate_to on the task that launches.",
    "ignore_unreachable": _ON_TASK,
    "listen": "only handlers listen, and a job is not a handler.",
    "local_action": "all jobs of a launch run on one host. Launch from a task with 'delegate_to: localhost'.",
    "max_fail_percentage": _OPTION,
    "max_load": _OPTION,
    "min_free_memory": _OPTION,
    "mode": _OPTION,
    "module_defaults": _ON_TASK,
    "on_failure": _OPTION,
    "on_timeout": _OPTION,
    "poll": "an entry is never polled by itself. Use async_wait, or 'wait: true' on the task that launches.",
    "pool_size": _OPTION,
    "port": _ON_TASK,
    "register": "there is no result until the job ends. Register the result of async_wait, which has that of every job.",
    "remote_user": _ON_TASK,
    "rescue": _NO_BLOCK,
    "singleton": "it is an option of async_run, not a key of its task.",
    "start_delay": _OPTION,
    "static": "write import_tasks or include_tasks instead.",
    "strategy": _ON_TASK,
    "task": _OPTION,
    "tasks": _OPTION,
    "throttle": "use 'concurrency' on the task that launches.",
    "wait": _OPTION,
    "wait_timeout": _OPTION,
}

_OF_JOB = "it is a key of the job, not of a task inside it. Put it beside the outer 'block'."
_INSIDE = {
    **REFUSED,
    "always_timeout": _OF_JOB,
    "async": "the tasks of a job run one after the other. Make it a job of its own.",
    **dict.fromkeys(LIMITS, _OF_JOB),
    "block": "a task is one module or one block. Move the module into the block.",
    "depends_on": "it is for whole jobs. The tasks inside a job run in the order written.",
    "poll": "the tasks of a job run one after the other. Make it a job of its own.",
    "run_when": "it is for whole jobs. Use 'rescue' or 'always' here.",
}
_NO_LOOP = "a block has no loop, as in Ansible. Put 'loop' on its tasks, or on an include_tasks of them."
_NO_RETRIES = "only a task, or a whole job, is tried again. Put it there."
_APPLY = "an include does not pass it on, as in Ansible. Put it under 'apply', or use an import."
_IMPORT_LOOP = "imports have no loop, as in Ansible. Use include_tasks or include_role."


class Keys(t.NamedTuple):
    """The keys that one kind of task may have; `refused` has the reasons for keys that it may not."""

    noun: str
    allowed: frozenset[str]
    refused: Mapping[str, str]

    def is_keyword(self, key: str) -> bool:
        """Whether `key` can't be the name of a module."""
        return key in self.allowed or key in self.refused or is_loop(key)

    def allows(self, key: str) -> bool:
        return key in self.allowed or (is_loop(key) and "loop" in self.allowed)

    def why_refused(self, key: str) -> str | None:
        """Return why a key cannot be used here; None if it can."""
        if self.allows(key):
            return None
        return self.refused.get("loop" if is_loop(key) else key)


def is_loop(key: object) -> bool:
    """Whether a key defines a loop."""
    return isinstance(key, str) and (key == "loop" or key.startswith("with_"))


def is_local(action: str) -> bool:
    """Whether a task of this action needs no module: the host carries it out itself."""
    collection, dummy, leaf = action.rpartition(".")
    return collection in ("", "ansible.builtin", "ansible.legacy") and leaf in LOCAL


JOB = Keys("job", _JOB | {"args"}, REFUSED)
_ONE_TASK = dict.fromkeys(_JUDGING, "it is for one task, as in Ansible. Put it on the tasks inside.")
_OF_MANY = _JOB - set(_JUDGING)
JOB_OF_BLOCK = Keys("job", _OF_MANY | {"always_timeout", *SECTIONS}, {**REFUSED, **_ONE_TASK})
JOB_OF_INCLUDE = Keys("job", _OF_MANY | {"always_timeout", "args"}, {**REFUSED, **_ONE_TASK})
TASK = Keys("task", _ALL | _LOOP | _RETRIES | SCRIPTED | {"args", "run_once"}, _INSIDE)
HANDLER = Keys("handler", TASK.allowed | {"listen"}, _INSIDE)
BLOCK = Keys(
    "block",
    _ALL | set(SECTIONS) | {"notify", "run_once"},
    {**_INSIDE, **_ONE_TASK, **dict.fromkeys(_LOOP, _NO_LOOP), **dict.fromkeys(_RETRIES, _NO_RETRIES)},
)
INCLUDE = Keys(
    "include",
    _LOOP | {"run_once", "args", "ignore_errors", "name", "no_log", "register", "tags", "timeout", "vars", "when"},
    {**_INSIDE, **_ONE_TASK, "notify": _APPLY, **dict.fromkeys(_ALL, _APPLY), **dict.fromkeys(_RETRIES, _NO_RETRIES)},
)
IMPORT = Keys(
    "import",
    _ALL | {"args", "run_once"},
    {
        **_INSIDE,
        **_ONE_TASK,
        "notify": "put it on the tasks that are imported.",
        **dict.fromkeys(_LOOP, _IMPORT_LOOP),
        **dict.fromkeys(_RETRIES, _NO_RETRIES),
    },
)
APPLY = Keys("block", _ALL, BLOCK.refused)

_INCLUDES = ("include_tasks", "include_role")
_IMPORTS = ("import_tasks", "import_role")


def include_in(source: Mapping[t.Any, object]) -> str | None:
    """Return the key of a task that includes or imports others; None if there is none."""
    for key in source:
        if isinstance(key, str):
            collection, dummy, leaf = key.rpartition(".")
            if leaf in _INCLUDES + _IMPORTS and collection in ("", "ansible.builtin", "ansible.legacy"):
                return key
    return None


def is_import(include: str) -> bool:
    return include.rpartition(".")[2] in _IMPORTS


def of_job(source: Mapping[t.Any, object]) -> Keys:
    """Return the keys that an entry of `tasks` may have."""
    if "block" in source:
        return JOB_OF_BLOCK
    return JOB_OF_INCLUDE if include_in(source) else JOB


def of_task(source: Mapping[t.Any, object]) -> Keys:
    """Return the keys that a task inside of a job may have."""
    if "block" in source:
        return BLOCK
    include = include_in(source)
    if include is None:
        return TASK
    return IMPORT if is_import(include) else INCLUDE


LOOP_CONTROL = frozenset(("loop_var", "index_var", "label", "extended", "extended_allitems"))
# Keys that work only between the items of a task inside of a job.
LOOP_CONTROL_INSIDE = ("break_when", "pause")
LOOP_CONTROL_REFUSED = {
    "pause": "jobs are launched all at once. Use 'concurrency' to run fewer of them at a time.",
    "break_when": "jobs are launched all at once, before the first result is known.",
}
