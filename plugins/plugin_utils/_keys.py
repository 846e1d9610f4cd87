# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The keys of an entry of `tasks`: which work in the background, and what to say about those that do not."""

from __future__ import annotations

# What an entry may hold beside its module.
ALLOWED = frozenset(
    (
        "args",
        "become",
        "become_exe",
        "become_flags",
        "become_method",
        "become_user",
        "check_mode",
        "diff",
        "environment",
        "ignore_errors",
        "loop",
        "loop_control",
        "name",
        "no_log",
        "tags",
        "timeout",
        "vars",
        "when",
    )
)

# Allowed only where they say what the task says anyway.
BECOME = ("become", "become_user", "become_method", "become_flags", "become_exe")
BECOME_DIFFERS = (
    "all jobs of a launch run as one user, and this is not the user of the task. "
    "Put the key on the task that launches, and launch the jobs of another user with a task of their own."
)

_LATER = "not available in this version."
_ON_TASK = "it is decided once for all jobs. Put it on the task that launches, on its block or on the play."
_AFTER = (
    "it would have to be looked at on the controller while the job runs on the host. "
    "Register the result of async_wait, and look at the result of the job there (assert, failed_when)."
)
_OPTION = "it is an option of the launching task, not a key of one job. Move it up beside 'tasks'."

REFUSED = {
    "action": "name the module itself: 'ansible.builtin.command: ...', not 'action: command ...'.",
    "always": "blocks are " + _LATER + " Launch each task as a job of its own.",
    "any_errors_fatal": _LATER + " Let the task that waits fail, and put any_errors_fatal on that one.",
    "async": "every entry is a background job already. Use 'timeout' for its limit in seconds.",
    "block": "blocks are " + _LATER + " Launch each task as a job of its own.",
    "changed_when": _AFTER,
    "cleanup": _OPTION,
    "collections": "write the full name of the module (namespace.collection.module).",
    "concurrency": _OPTION,
    "connection": _ON_TASK,
    "debugger": _ON_TASK,
    "delay": "retries are " + _LATER,
    "delegate_facts": _ON_TASK,
    "delegate_to": "all jobs of a launch run on one host. Put delegate_to on the task that launches.",
    "depends_on": _LATER + " Wait for the first jobs with async_wait, then launch the others.",
    "failed_when": _AFTER + " With 'ignore_errors: true' the failure of a job does not fail the wait.",
    "ignore_unreachable": _ON_TASK,
    "listen": "only handlers listen, and a job is not a handler.",
    "local_action": "all jobs of a launch run on one host. Launch from a task with 'delegate_to: localhost'.",
    "max_fail_percentage": _LATER,
    "mode": _OPTION,
    "module_defaults": _ON_TASK,
    "notify": "handlers run on the controller's word. Put notify on the task that waits for the job.",
    "on_timeout": _OPTION,
    "poll": "an entry is never polled by itself. Use async_wait, or 'wait: true' on the task that launches.",
    "port": _ON_TASK,
    "register": "the result comes when the job ends. Register the result of async_wait, it holds that of every job.",
    "remote_user": _ON_TASK,
    "rescue": "blocks are " + _LATER + " Launch each task as a job of its own.",
    "retries": "retries are " + _LATER,
    "run_once": _ON_TASK,
    "run_when": _LATER,
    "singleton": _LATER,
    "static": "it belongs to includes, which cannot be background jobs.",
    "task": _OPTION,
    "tasks": _OPTION,
    "throttle": "use 'concurrency' on the task that launches.",
    "until": "retries are " + _LATER + " Let the command of the job loop by itself.",
    "wait": _OPTION,
    "wait_timeout": _OPTION,
}

WITH_LOOKUP = "use 'loop' (for example loop: \"{{ query('fileglob', '*.txt') }}\")."

LOOP_CONTROL = frozenset(("loop_var", "index_var", "label", "extended", "extended_allitems"))
LOOP_CONTROL_REFUSED = {
    "pause": "jobs are launched all at once. Use 'concurrency' to have fewer of them at a time.",
    "break_when": "jobs are launched all at once, before the first result is known.",
}


def is_keyword(key: str) -> bool:
    """Whether `key` can't be the name of a module."""
    return key in ALLOWED or key in REFUSED or key.startswith("with_")


def why_refused(key: str) -> str | None:
    """Return what to say about a key that a job cannot have; None where it can."""
    if key in REFUSED:
        return REFUSED[key]
    return WITH_LOOKUP if key.startswith("with_") else None
