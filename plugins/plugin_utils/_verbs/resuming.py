# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Selects the jobs of an earlier batch that have to be started again."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from ansible_collections.background.jobs.plugins.module_utils._protocol import results
from ansible_collections.background.jobs.plugins.module_utils._protocol import states as _states
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import Job
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import operating

Result = dict[str, t.Any]

_AGAIN = (_states.FAILED, _states.TIMED_OUT, _states.CANCELLED, _states.LOST, _states.SKIPPED)
_MOST_NAMED = 3


def request(batch_id: str) -> Result:
    """Return the request for the jobs of a batch."""
    return operating.Selection.of({"batch_id": [batch_id]}, everything=False, core=False).request("list")


def left(jobs: Sequence[Job], reply: Result, batch_id: str) -> list[Job]:
    """Return those of `jobs` that failed, were lost or never ran in a batch; reply: the host's list of its jobs.

    They still depend on each other, but not on jobs that succeeded. Raise Refused if the batch is unknown or runs.
    """
    views = [view for view in reply["jobs"] if "error" not in view]
    _check_that_it_is_told(reply, batch_id)
    _check_that_it_has_ended(views, batch_id)
    states = {str(view.get("name")): view.get("state") for view in views}
    chosen = [index for index, job in enumerate(jobs) if states.get(job.name) in _AGAIN]
    numbers = {index: number for number, index in enumerate(chosen)}
    return [_again(jobs[index], numbers) for index in chosen]


def _check_that_it_is_told(reply: Result, batch_id: str) -> None:
    """Raise Refused if the host has no record of a batch, or can't read all of it."""
    unread = [str(view.get("msg") or f"{view['jid']} cannot be read") for view in reply["jobs"] if "error" in view]
    unread += [] if reply["jobs"] else [str(trouble) for trouble in reply.get("troubles") or ()]
    if unread:
        raise Refused(
            f"Option 'resume': the state of the jobs of batch {batch_id} is not fully known: {'; '.join(unread[:_MOST_NAMED])}. "
            "Leave 'resume' out to start all jobs."
        )
    if not reply["jobs"]:
        raise Refused(
            f"Option 'resume': the host has no record of batch {batch_id}: it was removed, or launched by another user "
            "(become) or with another ansible_async_dir. Leave 'resume' out to start all jobs."
        )


def _check_that_it_has_ended(views: Sequence[Result], batch_id: str) -> None:
    """Raise Refused if jobs of a batch, or processes of lost ones, still run."""
    unfinished = [str(view.get("name")) for view in views if view.get("state") not in _states.TERMINAL]
    if unfinished:
        raise Refused(
            f"Option 'resume': {len(unfinished)} of the jobs of batch {batch_id} have not ended: "
            f"{results.brief_names(unfinished)}. Wait for them, or end them with async_cancel."
        )
    orphaned = [str(view.get("name")) for view in views if view.get("state") == _states.LOST and view.get("processes")]
    if orphaned:
        raise Refused(
            f"Option 'resume': {len(orphaned)} of the jobs of batch {batch_id} were lost, but some of their processes still run: "
            f"{results.brief_names(orphaned)}. End them with async_cancel, or try again when they have ended."
        )


def _again(job: Job, numbers: dict[int, int]) -> Job:
    before = job.depends_on
    job.depends_on = [numbers[index] for index in before if index in numbers]
    if job.run_when == "failure" and before and not job.depends_on:
        job.skip = job.skip or "what it depends on had already succeeded"
    return job
