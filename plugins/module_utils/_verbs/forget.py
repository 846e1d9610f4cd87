# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Removes the records of jobs that have ended."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_lock, records, states
from ansible_collections.background.jobs.plugins.module_utils._system import files
from ansible_collections.background.jobs.plugins.module_utils._verbs import asked_jobs, job_views

_TROUBLES = 5  # how many of a kind are listed one by one


def answer(request, async_dir):
    """Answer a request to forget jobs."""
    asked = asked_jobs.AskedJobs(request, async_dir)
    asked.settle()
    answers = job_views.with_results(asked, 0)
    note_forgotten(asked, answers)
    return {"jobs": answers, "troubles": asked.troubles}


def note_forgotten(asked, answers):
    """Remove the records of finished jobs without processes; say in the answer of each job whether that was done."""
    forgetting = _Forgetting(asked)
    for position, job in enumerate(asked.jobs):
        answers[position]["forgotten"] = forgetting.forget(position, job)
    forgetting.finish()


class _Forgetting:
    def __init__(self, asked):
        self._asked = asked
        self._left = asked.left_processes()
        self._touched = set()  # readers of batches
        self._failed = []

    def forget(self, position, job):
        """Remove the record of a job; say whether that was done."""
        if job.error or not self._asked.is_final(job):
            return False
        kept = self._why_kept(position, job)
        if kept:
            self._asked.troubles.append("the record of job %s is kept: %s" % (job.jid, kept))
            return False
        try:
            if job.batch:
                self._touched.add(job.batch)
                return job.batch.forget(job.index)
            return files.remove(job.jid, self._asked.batches.place(job.directory).jobs)
        except OSError as exc:  # for example a directory, or a read-only disk
            self._failed.append("the record of job %s can't be removed: %s" % (job.jid, exc))
            return False

    def _why_kept(self, position, job):
        """Return why the record of a finished job must stay, None if it need not."""
        if position in self._left:
            return "some of its processes still run"
        if job.elsewhere and self._asked.state(job)["state"] == states.LOST:
            return "some of its processes may still run on %s" % job.elsewhere
        return None

    def finish(self):
        self._asked.troubles += self._failed[:_TROUBLES]
        if len(self._failed) > _TROUBLES:
            self._asked.troubles.append("%d more records can't be removed either" % (len(self._failed) - _TROUBLES))
        self._remove_empty()

    def _remove_empty(self):
        """Remove the folders of batches without a record; during a launch they are left to async_prune."""
        for directory in {reader.async_dir for reader in self._touched}:
            try:
                where = self._asked.batches.place(directory)
                with batch_lock.lock(where, alone=True, patience=records.LOCK_PATIENCE):
                    for reader in self._touched:
                        if reader.async_dir == directory:
                            reader.remove_if_empty()
            except (files.UnsafePath, OSError):
                continue
