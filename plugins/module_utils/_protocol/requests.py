# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Requests of action plugins to a host about its jobs, and the answers: their form, and the check of requests.

A request is a dictionary: "op", and the keys that it takes.

op      takes                                       does
wait    jobs, mode, block, max_bytes                returns when the jobs have ended, or any of them (mode: all, any)
cancel  jobs or select, grace, block, max_bytes,    ends jobs by a signal, and after `grace` seconds by SIGKILL, and
        signal and told if need be                  returns like a wait for all of them; told: the signal was sent before
list    jobs or select, tail if wanted              lists jobs without their results; tail: with so many last lines
update  jobs or select, block, check,               lets the running batches of the jobs run so many at once (concurrency), and
        concurrency and pools if need be            gives pools so many places ({name: size}); check: only says what it would do
forget  jobs                                        removes the records of jobs that have ended
prune   jobs or select, remove, leftovers           remove: does what forget does, else what list does; leftovers: also
        if wanted                                   with what former launches and batches have left behind

jobs       [{"jid", "dir": async directory, or null for the task's, "ending" and, of a wait, "revision": from the answer before, if
           it had one}]
select     {"names": [patterns], "batch_ids": [ids], "states": [states], "older_than", "newer_than": seconds, each of them or
           null, "core": whether jobs of core's async count too}: the jobs in the async directory that fit all of it
leftovers  a selection, as in select: which of them
block      seconds after which the call returns in any case
max_bytes  of results in the answer; at least one is sent, and those beyond are `deferred`

An answer, {"now", "user", "async_dir", "jobs", "troubles", "leftovers"}: the time of the host, the user and the
directory, messages on what could not be looked at or done, and the paths of leftovers. Its jobs, in the order in which they
were named, or those that fit, by age:

{"jid", "dir"}                         always
{"error": not_found, invalid or        if nothing is known of it; elsewhere: it runs on another machine, and is not cancelled
 elsewhere, "msg"}
{"revision"}                           wait: those that have not ended; whoever sends it with the next request is told
                                       {"unchanged"} alone for as long as it is the same
{"source": background.jobs or core,    all others. msg: why it came to its state, if that is known. Times are seconds
 "state", "finished", "name",          since the epoch, null if there was none. For core's jobs, name, batch_id, module
 "batch_id", "module", "attempts",     and queued_at are null
 "queued_at", "started_at",
 "ended_at", "duration", "no_log",
 "ignore_errors", "msg"}
{"item", "failed_attempts",            those that have them. depends_on: the names of the first 50 jobs that it depends on
 "depends_on"}
{"pool", "in_line"}                    those that need a place in a pool; in_line: it waits for that, and for nothing else
{"supervisor": pid, "always_timeout"}  jobs of this collection that have not ended
{"elsewhere": machine}                 those on another machine that have not ended there
{"result", "tasks", "deferred"}        wait, cancel: what a finished job returned, and its tasks (texts of JSON), or that
                                       they have to be asked for again
{"asked", "ended_processes",           cancel: whether it had not ended and was told to; how many processes it had left, if
 "ending": [[pid, start]]}             it was lost; and which have yet to end, for the next call
{"pid", "processes", "cpu_seconds",    list: what it uses, and what it has printed, as far as it may be shown
 "memory", "output_size", "stdout",
 "stdout_lines", "stderr", "stderr_lines"}
{"forgotten"}                          forget, prune: whether its record was removed

The answer to an update has "batches", [{"batch_id", "before", "concurrency", "outcome", "supervisor", "machine"}], and
"pools", [{"name", "before", "size", "outcome"}]: the number before and after, and the outcome (_verbs/update.py).

The controller checks answers in _host/replies.py.
"""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._protocol import pools, states
from ansible_collections.background.jobs.plugins.module_utils._protocol.shapes import (
    are_texts,
    check_keys,
    expect,
    is_count,
    is_flag,
    is_integer,
    is_span,
    one_of,
    or_none,
)


def check(request, ops):
    """Raise shapes.Malformed, which says what is wrong, if this is no request, or for none of these `ops`."""
    expect(isinstance(request, dict), "a request is a dictionary")
    op = request.get("op")
    expect(isinstance(op, str) and op in ops, "%r is not answered here, but %s", op, ", ".join(sorted(ops)))
    needed, optional = _SHAPES[op]
    selects = _MAY_SELECT[op] and "select" in request
    asked = {"select": _is_selection} if selects else {"jobs": _are_jobs}
    check_keys({key: value for key, value in request.items() if key != "op"}, dict(needed, **asked), optional, repr(op))


def _is_signal(value):
    return is_integer(value) and 0 < value < 65


def _are_jobs(value):
    return isinstance(value, list) and all(map(_is_job, value))


def _is_job(value):
    return (
        isinstance(value, dict)
        and {"jid", "dir"} <= set(value) <= {"jid", "dir", "ending", "revision"}
        and isinstance(value["jid"], str)
        and (value["dir"] is None or isinstance(value["dir"], str))
        and (value.get("ending") is None or _are_processes(value["ending"]))
        and isinstance(value.get("revision", ""), str)
    )


def _are_processes(value):
    return isinstance(value, list) and all(
        isinstance(process, list) and len(process) == 2 and is_integer(process[0]) for process in value
    )


_SELECTION = {
    "names": or_none(are_texts),
    "batch_ids": or_none(are_texts),
    "states": or_none(lambda value: are_texts(value) and set(value) <= set(states.ALL)),
    "older_than": or_none(is_span),
    "newer_than": or_none(is_span),
    "core": is_flag,
}


def _is_selection(value):
    return (
        isinstance(value, dict)
        and set(value) == set(_SELECTION)
        and all(is_fit(value[key]) for key, is_fit in _SELECTION.items())
    )


# For each op: what a request needs besides jobs or a selection, and what else it may have, each with its check.
_SHAPES = {
    "wait": ({"mode": one_of("all", "any"), "block": is_span, "max_bytes": is_count}, {}),
    "cancel": (
        {"grace": is_span, "block": is_span, "max_bytes": is_count},
        {"signal": _is_signal, "told": is_flag},
    ),
    "list": ({}, {"tail": is_count}),
    "update": ({"block": is_span, "check": is_flag}, {"concurrency": is_count, "pools": pools.are_sizes}),
    "forget": ({}, {}),
    "prune": ({"remove": is_flag}, {"leftovers": _is_selection}),
}
_MAY_SELECT = {"wait": False, "cancel": True, "list": True, "update": True, "forget": False, "prune": True}
