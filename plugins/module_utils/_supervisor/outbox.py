# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The ends of jobs: collected as they come, and written once the slots that they freed are refilled."""

from __future__ import annotations

import collections

from ansible_collections.background.jobs.plugins.module_utils._protocol import output, records, results, states
from ansible_collections.background.jobs.plugins.module_utils._system import files

# The end of a job, in a terminal state. at: when, in seconds since the epoch; tasks: the JSON text of the report on
# its tasks, or None; why: what the result does not say.
End = collections.namedtuple("End", "index state outcome at tasks why", defaults=(None, None))


class Endings:
    """The Ends that `write` has to write, at most one of each job."""

    def __init__(self, writer, jobs, keep):
        """writer: the BatchWriter; jobs: the plan's; keep: bytes to keep of each output stream."""
        self._writer = writer
        self._jobs = jobs
        self._keep = keep
        self._ends = []
        self._unneeded = set()  # indexes of jobs whose output goes when their result is written

    def add(self, end):
        """Add the End of a job."""
        self._ends.append(end)

    def without_output(self, index):
        """Have the output of a job removed when its result is written."""
        self._unneeded.add(index)

    def write(self):
        """Write the results of all that was added, and note their states for the journal's next `flush`."""
        ends, self._ends = self._ends, []
        for end in ends:
            self._write(end)

    def _write(self, end):
        index, outcome = end.index, end.outcome
        message = end.why if end.state in (states.SUCCEEDED, states.FAILED) else outcome.result["msg"]
        if self._jobs[index]["no_log"]:
            outcome = results.censor(outcome)
        outcome = results.fitting(outcome)
        durable = end.state != states.SKIPPED  # nothing ran: nothing to lose
        try:
            if end.tasks is not None:
                self._writer.write_tasks(index, end.tasks, durable)
            kept = self._writer.write_result(index, outcome, durable, end.state)
            if not kept or outcome.result.get("msg") == records.NO_ROOM:
                message = "the disk is full: the result could not be kept"
        except (OSError, files.UnsafePath) as exc:
            # somebody may have replaced a folder: that is no reason to lose the other jobs
            message = "the result could not be kept: %s" % exc
        if index in self._unneeded:
            self._unneeded.discard(index)
            output.remove(self._writer.folder, index, self._keep)
        entry = {"msg": message} if message else {}
        self._writer.note(durable, job=index, state=end.state, at=end.at, **entry)
