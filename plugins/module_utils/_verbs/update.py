# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Changes how many jobs run at once, in running batches and in pools.

A supervisor gets a request, and confirms it in its journal.
"""

from __future__ import annotations

import contextlib
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import place, pools
from ansible_collections.background.jobs.plugins.module_utils._system import files, inotify
from ansible_collections.background.jobs.plugins.module_utils._verbs import asked_jobs, job_views, wait

UPDATED, UNCHANGED, ENDED, ELSEWHERE, UNHEARD = "updated", "unchanged", "ended", "elsewhere", "unheard"
_PATIENCE = 2.0  # seconds to wait for the lock of a pool


def answer(request, async_dir):
    """Answer a request to update."""
    with contextlib.closing(inotify.Watcher()) as watcher:
        asked = asked_jobs.AskedJobs(request, async_dir, watcher)
        asked.refresh(look_for_processes=True)
        if "select" in request:
            asked.keep(request["select"], time.time())
        batches = []
        if "concurrency" in request:
            batches = _Batches(asked, request["concurrency"], request["check"])
            batches.tell()
            wait.until(batches.are_settled, asked, watcher, request["block"])
            batches = batches.told()
    resized = _resize(asked, request["pools"], request["check"]) if "pools" in request else []
    jobs = [job_views.view_of(asked, job)[0] for job in asked.jobs]
    return {"jobs": jobs, "troubles": asked.troubles, "batches": batches, "pools": resized}


class _Batches:
    """The batches that jobs belong to, each once."""

    def __init__(self, asked, concurrency, check):
        self._concurrency = concurrency
        self._check = check
        readers = dict.fromkeys(job.batch for job in asked.jobs if job.batch and not job.error)
        self._before = {reader: reader.concurrency for reader in readers}
        self._running = {reader for reader in readers if reader.unfinished}

    def tell(self):
        """Tell the supervisors whose number is another one."""
        if self._check:
            return
        for reader in self._running:
            if not reader.elsewhere and self._before[reader] != self._concurrency:
                reader.ask({"concurrency": self._concurrency})

    def are_settled(self):
        return self._check or all(
            reader.elsewhere or not reader.unfinished or reader.concurrency == self._concurrency
            for reader in self._running
        )

    def told(self):
        return [self._told(reader) for reader in self._before]

    def _told(self, reader):
        told = {"batch_id": reader.batch_id, "before": self._before[reader], "outcome": self._outcome(reader)}
        if reader.elsewhere and reader in self._running:
            told["machine"] = reader.elsewhere
        return dict(told, concurrency=reader.concurrency, supervisor=reader.header["supervisor"]["pid"])

    def _outcome(self, reader):
        if reader not in self._running:
            return ENDED
        if reader.elsewhere:
            return ELSEWHERE
        if self._before[reader] == self._concurrency:
            return UNCHANGED
        if self._check or reader.concurrency == self._concurrency:
            return UPDATED
        return UNHEARD if reader.unfinished else ENDED


def _resize(asked, sizes, check):
    """Change the sizes of pools that are in use; return the entry of each."""
    told = []
    for name, size in sorted(sizes.items()):
        before = outcome = None
        try:
            before, outcome = _resize_one(asked.directory, name, size, check)
        except (FileNotFoundError, pools.NoPool):
            outcome = ENDED
        except (pools.Busy, files.UnsafePath, OSError) as exc:
            asked.troubles.append("the size of pool %s can't be changed: %s" % (name, exc))
            outcome = UNHEARD
        told.append({"name": name, "before": before, "size": size, "outcome": outcome})
    return told


def _resize_one(directory, name, size, check):
    pool = pools.Pool(place.Place(directory).batches, name)
    seen = None
    try:
        with pool.alone(_PATIENCE):
            before = pool.size
            if not pool.members():
                return before, ENDED
            if before != size and not check:
                seen = pool.resize(size)
        if seen:
            seen()
    finally:
        pool.close()
    return before, UNCHANGED if before == size else UPDATED
