# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Which jobs of an earlier batch are to be started again."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from ansible_collections.background.jobs.plugins.module_utils._protocol import states as _states
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._model import Job

Result = dict[str, t.Any]

_AGAIN = (_states.FAILED, _states.TIMED_OUT, _states.CANCELLED, _states.LOST, _states.SKIPPED)
_MOST_NAMED = 3


def request(batch_id: str) -> Result:
    """Return the request of what is known of a batch."""
    select = {"names": None, "batch_ids": [batch_id], "states": None, "older_than": None, "newer_than": None}
    return {"op": "list", "select": {**select, "core": False}}


def left(jobs: Sequence[Job], views: Sequence[Result], batch_id: str) -> list[Job]:
    """Return those of `jobs` that have failed, were lost or never ran in a batch; views: what its host tells of it.

    They depend on each other as before, and on those that succeeded no more. Raise Refused where it is not known, or runs.
    """
    states = {str(view.get("name")): view.get("state") for view in views}
    if not states:
        raise Refused(
            f"Option 'resume': the host has no record of batch {batch_id}: it was removed, or launched by another user "
            "(become) or with another ansible_async_dir. Leave 'resume' out to start all jobs."
        )
    unfinished = [name for name, state in states.items() if state not in _states.TERMINAL]
    if unfinished:
        raise Refused(
            f"Option 'resume': {len(unfinished)} of the jobs of batch {batch_id} have not ended: "
            f"{_brief(unfinished)}. Wait for them, or end them with async_cancel."
        )
    chosen = [index for index, job in enumerate(jobs) if states.get(job.name) in _AGAIN]
    numbers = {index: number for number, index in enumerate(chosen)}
    return [_again(jobs[index], numbers) for index in chosen]


def _again(job: Job, numbers: dict[int, int]) -> Job:
    before = job.depends_on
    job.depends_on = [numbers[index] for index in before if index in numbers]
    if job.run_when == "failure" and before and not job.depends_on:
        job.skip = job.skip or "what it depends on has succeeded before"
    return job


def _brief(names: Sequence[str]) -> str:
    shown = ", ".join(shorten(name, 40) for name in names[:_MOST_NAMED])
    return f"{shown}, ..." if len(names) > _MOST_NAMED else shown
