# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The ends of jobs: what is written of them."""

from __future__ import annotations

import collections

from ansible_collections.background.jobs.plugins.module_utils._protocol import output, records, results, states
from ansible_collections.background.jobs.plugins.module_utils._system import files

# The end of a job, in a terminal state. at: when, in seconds since the epoch; tasks: the JSON text of the report on
# its tasks, or None; why: what the result does not say; output_goes: whether its output is removed with that.
End = collections.namedtuple("End", "index state outcome at tasks why output_goes", defaults=(None, None, False))


class Outbox:
    """Writes the Ends of jobs, one of each job."""

    def __init__(self, writer, jobs, keep):
        """writer: the BatchWriter; jobs: the plan's; keep: bytes to keep of each output stream."""
        self._writer = writer
        self._jobs = jobs
        self._keep = keep

    def write(self, end):
        """Write the result of a job; return what is to be noted of its end. It may run in several threads at once."""
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
        if end.output_goes:
            output.remove(self._writer.folder, index, self._keep)
        entry = {"msg": message} if message else {}
        return dict(entry, durable=durable, job=index, state=end.state, at=end.at)
