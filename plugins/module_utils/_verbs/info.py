# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Lists jobs: all about each except its result, what it uses, and what it has printed."""

from __future__ import annotations

import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import output, pools, results, states
from ansible_collections.background.jobs.plugins.module_utils._system import files, processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import asked_jobs, core_async, job_views

_MOST_PRINTED = 32 * 1024 * 1024  # characters of output in one answer


def answer(request, async_dir):
    """Answer a request to list jobs."""
    asked = found(request, async_dir)
    return {"jobs": listed(asked, request.get("tail")), "troubles": asked.troubles, "pools": _pools(asked)}


def _pools(asked):
    try:
        return pools.overview(asked.batches.place(asked.directory).batches)
    except (files.UnsafePath, OSError):
        return []  # nothing was launched here, or the jobs have reported the same


def found(request, async_dir, all_batches=False):
    """Return the AskedJobs of a request, settled, and only those that fit; all_batches: see AskedJobs."""
    asked = asked_jobs.AskedJobs(request, async_dir, all_batches=all_batches)
    asked.settle()
    if "select" in request:
        asked.keep(request["select"], time.time())
    return asked


def listed(asked, tail=None):
    """Return the entry of each job; tail: include so many of the last lines that it printed."""
    return _List(asked, tail).answers()


class _List:
    def __init__(self, asked, tail):
        self._asked = asked
        self._tail = tail
        self._snapshot = processes.Snapshot()
        self._outputs = {}  # reader of a batch: its Output
        self._room = _MOST_PRINTED
        self._members = None  # of core's jobs

    def answers(self):
        left = self._asked.left_processes(self._snapshot)
        answers = [self._answer(job, left.get(position)) for position, job in enumerate(self._asked.jobs)]
        if self._room <= 0:
            self._asked.troubles.append(
                "the jobs have printed too much to be returned at once: ask for fewer jobs, or a shorter tail"
            )
        return answers

    def _answer(self, job, left):
        """left: the processes that it has left behind, {pid: Process}, or None."""
        told, state = job_views.view_of(self._asked, job)
        if left:
            told.update(_usage(min(left), left))
        elif told.get("state") == states.RUNNING and not job.elsewhere:
            told.update(self._used_by(job, state))
        elif told.get("state") == states.FAILED and not told["msg"]:
            told["msg"] = results.brief(job_views.parsed(job_views.result_text(job, state)))
        if "state" in told and not told["no_log"]:
            printed = self._printed(job, state, self._tail if self._room > 0 else 0)
            self._room -= sum(len(printed.get(stream, "")) for stream in output.STREAMS)
            told.update(printed)
        return told

    def _used_by(self, job, state):
        if job.batch:
            members = {state["pid"]: state["start"]} if state.get("pid") and state.get("start") else {}
        else:
            self._members = self._members or core_async.Members()
            members = self._members.of(job.jid)
        tree = self._snapshot.tree(members)
        return _usage(min(members), tree) if tree else {}

    def _printed(self, job, state, tail):
        """Return the entries on the output of a job: its size, and the last lines."""
        kept = None
        if job.batch:
            kept = self._outputs[job.batch] = self._outputs.get(job.batch) or output.Output(job.batch)
        is_over = state["state"] in states.TERMINAL
        size = kept.size(job.index) if kept and (not is_over or kept.is_kept(job.index)) else None
        if size is None and (not is_over or tail is None):
            return output.told("", "", tail) if tail is not None else {}
        if size is not None:
            streams = output.STREAMS if tail is not None else ()
            texts = [output.text_of(kept.read(job.index, stream, lines=tail)) for stream in streams]
            size = max(size, kept.size(job.index) or 0)  # it may have grown
        else:
            result = job_views.parsed(job_views.result_text(job, state))
            texts = [result.get(stream) for stream in output.STREAMS]
            texts = [text if isinstance(text, str) else "" for text in texts]
            size = sum(len(text.encode("utf-8", "replace")) for text in texts)
        told = output.told(texts[0], texts[1], tail) if texts else {}
        return dict(told, output_size=size)


def _usage(pid, tree):
    cpu, memory = processes.usage(tree)
    return {"pid": pid, "cpu_seconds": cpu, "memory": memory, "processes": len(tree)}
