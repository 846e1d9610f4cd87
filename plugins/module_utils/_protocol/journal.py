# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The journal of a batch, a line of JSON for each change of a state, and the resulting states of the jobs.

{"job": index, "state", "at": seconds since the epoch}, and more if the job
  runs: "attempt", and once they are known "pid", "start" of the process of its call, and "task" in a block
  waits to be tried again: "attempt", "was": the state in which that attempt ended, "msg"
  waits for a place of its pool, and for nothing else: "attempt", "pool"
  has ended: "attempt" and "msg" if there is something to say

{"concurrency", "at"}: how many jobs of the batch run at once from then on
"""

from __future__ import annotations

import json

from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.module_utils._system import json_text

_ATTEMPTS_TOLD = 100  # the most failed attempts that are reported of a job: the last ones
_MOST_PIDS = 100000


def line_of(entry):
    """Return a line of a journal, or of a request."""
    return json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"


class JobStates:
    """The states of the jobs of a batch, as far as its journal was read."""

    def __init__(self, count):
        queued = {"state": states.QUEUED, "attempts": 0, "started_at": None, "ended_at": None}
        self.jobs = [dict(queued) for dummy in range(count)]
        self.unfinished = count
        self.concurrency = None  # how many run at once, 0 for any number, None if that is not known
        self.pids = {}  # keys: the pids of calls, as far as the journal has them, the newest last

    def take_in(self, lines):
        """Apply these lines; return the indexes of the jobs that have ended by that."""
        ended = []
        for line in lines:
            try:
                entry = json_text.loads(line)
            except ValueError:  # half a line, by a writer that was killed
                continue
            if _is_concurrency(entry):
                self.concurrency = entry["concurrency"]
            elif _is_entry(entry, len(self.jobs)) and self.jobs[entry["job"]]["state"] not in states.TERMINAL:
                self._apply(entry)
                if entry["state"] in states.TERMINAL:
                    self.unfinished -= 1
                    ended.append(entry["job"])
        return ended

    def _apply(self, entry):
        job = self.jobs[entry["job"]]
        job["state"] = entry["state"]
        job["in_line"] = "pool" in entry
        if entry["state"] == states.RUNNING:
            job.update(attempts=entry["attempt"], pid=entry.get("pid"), start=entry.get("start"))
            job["started_at"] = job["started_at"] or entry["at"]
            if entry.get("start") is not None:
                self._remember(entry["pid"])
        elif entry["state"] in states.TERMINAL:
            job.update(ended_at=entry["at"], msg=entry.get("msg"), attempts=entry.get("attempt", job["attempts"]))
        elif "was" in entry:
            attempt = {
                "attempt": entry["attempt"],
                "state": entry["was"],
                "ended_at": entry["at"],
                "msg": entry["msg"],
            }
            told = job.setdefault("failed_attempts", [])
            told.append(attempt)
            del told[:-_ATTEMPTS_TOLD]

    def _remember(self, pid):
        self.pids.pop(pid, None)
        self.pids[pid] = None
        if len(self.pids) > _MOST_PIDS:
            del self.pids[next(iter(self.pids))]


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_concurrency(entry):
    return isinstance(entry, dict) and "job" not in entry and is_integer(entry.get("concurrency"))


def _is_entry(entry, size):
    """Say whether this can have been written as a line of the journal of a batch of `size` jobs."""
    if not isinstance(entry, dict) or not is_number(entry.get("at")):
        return False
    job, state = entry.get("job"), entry.get("state")
    if not is_integer(job) or not 0 <= job < size or state not in states.ALL:
        return False
    if state == states.RUNNING:
        process = (entry.get("pid"), entry.get("start"))
        return is_number(entry.get("attempt")) and all(value is None or is_integer(value) for value in process)
    is_in_line = isinstance(entry.get("pool"), str)
    return state != states.QUEUED or is_in_line or {"attempt", "was", "msg"}.issubset(entry)
