# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What follows from the end of a job: jobs that must not start now, what nobody needs any more, and the records."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    results,
    staged,
    states,
)
from ansible_collections.background.jobs.plugins.module_utils._supervisor import outbox


class Finishing:
    """Ends jobs, and those that end because of them."""

    def __init__(self, plan, writer, recorder, *, clock, scheduler, fork_servers):
        self._jobs = plan["jobs"]
        self._has_staged_files = "staging_token" in plan
        self._writer = writer  # for its folder
        self._recorder = recorder
        self._clock = clock
        self._scheduler = scheduler
        self._fork_servers = fork_servers
        self._failed = {}  # index: (Outcome, tasks) of the last attempt, of the jobs that wait to be tried again

    def hold(self, index, state, outcome, tasks, why):
        """Keep what an attempt came to, as the job is tried again; it is the job's end if the batch halts before."""
        brief = why or results.brief(results.censor(outcome).result if self._jobs[index]["no_log"] else outcome.result)
        note = {"attempt": self._scheduler.attempts[index], "was": state, "msg": brief}
        self._recorder.note(job=index, state=states.QUEUED, at=self._clock.wall(self._clock.now()), **note)
        self._failed[index] = outcome, tasks

    def end(self, index, state, outcome, tasks=None, why=None, *, output_goes=False):
        """End a job in a terminal state: release what it needed, skip what must not start now, and have that written.

        output_goes: whether its output is not kept. Say whether the batch has halted, because too many jobs failed.
        """
        self._ended(index, state, outcome, tasks, why, output_goes=output_goes)
        stopped = self._scheduler.halt()
        halted = bool(stopped) or self._scheduler.halted
        for other, reason in stopped:
            if reason is None:
                self._ended(other, states.FAILED, *self._failed.pop(other), output_goes=True)
            else:
                self._ended(other, states.SKIPPED, results.skipped(reason))
        for other in (index, *(other for other, dummy in stopped)):
            for dependant, reason in self._scheduler.settle(other):
                self._ended(dependant, states.SKIPPED, results.skipped(reason))
        self._failed.pop(index, None)
        return bool(halted)

    def _ended(self, index, state, outcome, tasks=None, why=None, *, output_goes=False):
        """Release what a job needed, its files and templates that no other job will need, and have its end written."""
        at = self._clock.wall(self._clock.now())
        self._recorder.end(outbox.End(index, state, outcome, at, tasks, why or None, output_goes))
        if self._has_staged_files:
            staged.remove(self._writer.folder, index)
        self._fork_servers.release(self._jobs[index])
