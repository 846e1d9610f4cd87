# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Answers a wait when the jobs have ended, or after a while in any case."""

from __future__ import annotations

import contextlib
import time

from ansible_collections.background.jobs.plugins.module_utils._system import inotify
from ansible_collections.background.jobs.plugins.module_utils._verbs import asked_jobs, job_views

_CHECK_LIFE = 1.0  # seconds between checks that supervisors and core's wrappers are alive


def answer(request, async_dir):
    """Answer a request to wait."""
    with contextlib.closing(inotify.Watcher()) as watcher:
        asked = asked_jobs.AskedJobs(request, async_dir, watcher)
        asked.refresh(look_for_processes=True)
        results = job_views.Results(asked, request["max_bytes"])
        until(lambda: asked.are_answered(request["mode"]), asked, watcher, request["block"], meanwhile=results.read_on)
    return {"jobs": results.views(), "troubles": asked.troubles}


def until(is_done, asked, watcher, block, *, ending=None, meanwhile=None):
    """Read on until `is_done()`, for `block` seconds at the most.

    ending: a cancel.Cancellation to look after meanwhile. meanwhile: called about once a second, if not None.
    """
    now = time.monotonic()
    deadline, check_at = now + block, now + _CHECK_LIFE
    while now < deadline and (_look_at(ending) or not is_done()):
        watcher.wait(max(0.0, min(deadline, check_at, _look_at(ending) or deadline) - now))
        now = time.monotonic()
        if _look_at(ending) and now >= _look_at(ending):
            ending.look_after(now)
        check = now >= check_at
        if check:
            check_at = now + _CHECK_LIFE
        asked.refresh(look_for_processes=check)
        if check and meanwhile is not None:
            meanwhile()


def _look_at(ending):
    return ending.look_at if ending else None
