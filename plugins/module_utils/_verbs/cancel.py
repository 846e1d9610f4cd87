# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Cancels jobs, and answers as a wait does.

A supervisor ends its own jobs; core's jobs, and what lost ones have left behind, are ended here, for as long as a call
lasts: the request of the next call names what had not ended yet.
"""

from __future__ import annotations

import contextlib
import signal
import time

from ansible_collections.background.jobs.plugins.module_utils._system import inotify, processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import asked_jobs, core_async, job_views, wait

_CANCELS_A_LINE = 400  # a request to a supervisor has to fit into PIPE_BUF (4096 bytes), or two of them might mix


def answer(request, async_dir):
    """Answer a request to cancel."""
    with contextlib.closing(inotify.Watcher()) as watcher:
        asked = asked_jobs.AskedJobs(request, async_dir, watcher)
        asked.refresh(look_for_processes=True)
        if "select" in request:
            asked.keep(request["select"], time.time())
        ending = Cancellation(asked, request["grace"], time.monotonic())
        ending.begin(None if request.get("told") else request.get("signal", signal.SIGTERM))
        wait.until(lambda: asked.are_answered("all"), asked, watcher, request["block"], ending=ending)
    answers = job_views.with_results(asked, request["max_bytes"])
    for position, left in ending.left.items():
        answers[position]["ending"] = sorted(left.items())
    return {"jobs": answers, "troubles": asked.troubles}


class Cancellation:
    """The end of jobs that have not ended: by a signal, and after `grace` seconds by SIGKILL."""

    def __init__(self, asked, grace, now):
        self._asked = asked
        self._grace = grace
        self._now = now
        self._processes = None  # a processes.Ending of processes without a supervisor, by the position of the job

    def begin(self, number):
        """Send a signal; None: it was sent before."""
        self._refuse_elsewhere()
        if number is not None:
            self._ask_supervisors(number)
        families = {position: job.family for position, job in enumerate(self._asked.jobs) if job.family}
        if number is not None:
            families.update(self._find_families())
        self._processes = processes.Ending(families, self._grace, self._now)
        self.look_after(self._now, number)

    @property
    def left(self):
        """The processes that were told to end and have not yet, {position of the job: {pid: start}}."""
        return self._processes.left

    @property
    def look_at(self):
        """When `look_after` is due, None if nothing is left."""
        return self._processes.look_at if self._processes.left else None

    def look_after(self, now, number=None):
        """See which processes are left that were told to end, and kill them when the grace is over."""
        for position in self._processes.look(now, number):
            job = self._asked.jobs[position]
            job.family = {}
            if not job.batch and not job.error:
                core_async.note_cancelled(job.directory, job.jid)

    def _refuse_elsewhere(self):
        """Leave alone what runs on other machines, and say so: a request would not reach its supervisor."""
        for job in self._asked.jobs:
            if not self._asked.is_final(job) and job.elsewhere:
                name = job.batch.header["jobs"][job.index]["name"]
                where = job_views.lives_elsewhere(job.batch)
                told = "job %s (%s) can't be cancelled here: %s" % (name, job.jid, where)
                job.error = {"error": "elsewhere", "msg": told}

    def _ask_supervisors(self, number):
        by_batch = {}
        for job in self._asked.jobs:
            if self._asked.is_final(job):
                continue
            job.ask_to_end = True
            if job.batch:
                by_batch.setdefault(job.batch, []).append(job.index)
        for reader, indexes in by_batch.items():
            for first in range(0, len(indexes), _CANCELS_A_LINE):
                some = indexes[first : first + _CANCELS_A_LINE]
                if not reader.ask({"cancel": some, "grace": self._grace, "signal": number}):
                    break  # there is no supervisor: the jobs will be found lost

    def _find_families(self):
        """Return {position of the job: {pid: start}} of what core's jobs run, and of what lost jobs have left behind."""
        families = {}
        for position, tree in self._asked.left_processes().items():
            families[position] = {pid: process.start for pid, process in tree.items()}
            self._asked.jobs[position].processes_ended = len(tree)
        members = core_async.Members() if self._asked.has_core_jobs else None
        for position, job in enumerate(self._asked.jobs):
            if job.ask_to_end and not job.batch:
                # only if the command line of its wrapper names the job
                family = members.of(job.jid)
                if family:
                    families[position] = dict(family)
        return families
