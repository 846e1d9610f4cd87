# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The module calls of jobs: prepared for a template process, and turned into an Outcome when they have ended."""

from __future__ import annotations

import itertools
import os

from ansible_collections.background.jobs.plugins.module_utils._protocol import output, records, results, staged
from ansible_collections.background.jobs.plugins.module_utils._supervisor import module_call, other_user, recipes
from ansible_collections.background.jobs.plugins.module_utils._system import cgroups, files


class Calls:
    """The calls of the jobs of a plan."""

    def __init__(self, plan, writer, groups):
        """groups: the control groups of jobs, or None."""
        self._token = plan.get("staging_token")
        self._keep = plan.get("keep_output", 0)  # bytes of a stream
        self._jobs = plan["jobs"]
        self._payloads = plan["payloads"]
        self._writer = writer
        self._groups = groups
        self._numbers = itertools.count()

    def new(self, index, step, call, now):
        """Return (ModuleCall, frame) for a call of a job. frame: the order to its template, still without limits."""
        run = self._new_run(index, step, now)
        frame = {"job": index, "call": run.call, "stdout": run.stdout, "stderr": run.stderr}
        frame.update(params=self._params(index, call), environment=step["environment"])
        is_foreign = "become" in call
        if self._payloads[call["payload"]]["style"] == "command":
            run.most = frame["most"] = max(self._keep, results.PRINTED_LIMIT)
        if run.output_begins is not None:
            frame.update(keep_output=self._keep)
            if not is_foreign:
                frame.update(output=output.base_of(self._writer.path, index))
            elif run.most is None:
                run.copies = frame["copies"] = output.copies_of(self._writer.run_path, index)
        return run, frame

    def _new_run(self, index, step, now):
        if not self._keep or self._jobs[index]["no_log"] or step.get("no_log"):
            base = output.run_base(self._writer.run_path, index, hidden=True)
            return module_call.ModuleCall(base, now, self._writer.run, next(self._numbers))
        base = output.run_base(self._writer.run_path, index)
        run = module_call.ModuleCall(base, now, self._writer.run, next(self._numbers))
        run.output_begins = output.begins(self._writer.folder, index)
        return run

    def _params(self, index, call):
        if self._token is None or "become" in call:
            return call["params"]
        return staged.fill_in(call["params"], self._token, staged.folder_of(self._writer.path, index))

    def hand_over(self, frame, call):
        """Return the file descriptors that a call of another user needs."""
        if "become" not in call:
            return ()
        return other_user.hand_over(frame, self._writer.run, self._writer.folder, self._token)

    def limits(self, index, run):
        """Return the part of a call's frame that sets the limits of its job."""
        job, said = self._jobs[index], {}
        if "nice" in job:
            said["nice"] = job["nice"]
        groups = self.groups_of(index)
        if groups:
            said["groups"] = groups
            run.kills = self._groups.kills(index)
        return said

    def groups_of(self, index):
        """Return the files through which processes enter the control groups of a job; missing groups are made."""
        job = self._jobs[index]
        if self._groups is None or not any(key in job for key in cgroups.CONTROLLERS):
            return []
        return self._groups.enter(index, job)

    def too_much(self, index):
        """Return why the kernel killed a process of a job with a memory limit."""
        limit = results.shown_size(self._jobs[index]["memory_max"])
        return "it needed more memory than its memory_max of %s" % limit

    def outcome(self, index, running, run):
        """Return the Outcome of a call that has ended, or was given up; running: the RunningJob."""
        if run.most is not None and run.output_begins is not None and running.attempt.is_block:
            output.add_printed(self._writer.folder, index, (run.stdout, run.stderr), self._keep, self._writer.run)
        stdout, stderr = self.read(index, run)
        if run.error:
            return results.failure(run.error)
        if run.status is None:
            return self.with_output(index, running, run, results.failure("it was abandoned"), stdout, stderr)
        why = None
        if run.kills is not None and self._groups.kills(index) > run.kills:
            why = running.short_of_memory = self.too_much(index)
        if run.most is not None:
            if run.was_ended:
                running.output_is_kept = True
            return results.of(recipes.command_result(stdout, stderr, run.status))
        if run.brief is not None:
            return results.of(dict({"changed": False}, msg=records.NO_ROOM, **run.brief))
        outcome = results.understand(stdout, stderr, run.status, why)
        if run.was_ended and results.has_no_result(outcome):
            return self.with_output(index, running, run, outcome)
        return outcome

    def read(self, index, run):
        """Return what a call printed, and remove it; add what a template of another user captured to the output of the job."""
        if run.copies:
            output.add_printed(self._writer.folder, index, run.copies, self._keep, self._writer.run)
            for path in run.copies:
                files.remove(os.path.basename(path), self._writer.run)
        return run.read()

    def with_output(self, index, running, run, outcome, *own):
        """Return `outcome`, of a call that was ended before its module returned a result, with the kept output added.

        own: what its process itself printed, if the outcome does not say.
        """
        if run.output_begins is None:
            return outcome
        running.output_is_kept = True
        kept = output.Output(self._writer.folder)
        printed = [kept.read(index, stream, run.output_begins[stream]) for stream in output.STREAMS]
        printed = [b"".join(both) for both in zip(printed, own)] if own else printed
        if not any(printed):
            return outcome
        return results.of(dict(outcome.result, **output.told(*map(output.shown, printed))))
