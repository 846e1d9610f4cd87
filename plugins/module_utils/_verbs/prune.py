# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Removes records, and what killed launches and former batches have left behind; or reports what there is."""

from __future__ import annotations

import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import pools, store
from ansible_collections.background.jobs.plugins.module_utils._system import files
from ansible_collections.background.jobs.plugins.module_utils._verbs import catalog, forget, garbage, info, job_views


def answer(request, async_dir):
    """Answer a request to prune."""
    leftovers = request.get("leftovers")
    asked = info.found(request, async_dir, all_batches=leftovers is not None)
    answers = job_views.with_results(asked, 0) if request["remove"] else info.listed(asked)
    told = []
    if leftovers is not None:
        with _found(asked, leftovers) as found:
            if request["remove"]:
                forget.note_forgotten(asked, answers)
                if garbage.fits(leftovers) and leftovers["batch_ids"] is None:
                    store.forget(asked.directory, leftovers["older_than"])
            told = [leftover.path for leftover in found if not request["remove"] or _is_removed(asked, leftover)]
        told += _of_pools(asked, leftovers, request["remove"])
    elif request["remove"]:
        forget.note_forgotten(asked, answers)
    return {"jobs": answers, "leftovers": told, "troubles": asked.troubles}


def _found(asked, selection):
    """Return a context of the leftovers (garbage.py)."""
    return garbage.looking(selection, asked.directory, asked.reader, asked.troubles.append, time.time())


def _of_pools(asked, selection, remove):
    """Return the paths of what killed supervisors have left in pools; remove: whether to remove it."""
    if not garbage.fits(selection):
        return []
    try:
        batches = asked.batches.place(asked.directory).batches
        now, wanted = time.time(), selection["batch_ids"]
        return [
            one.path
            for one in pools.stale(batches)
            if (wanted is None or one.batch_id in wanted) and catalog.is_of_age(selection, one.at, now)
            if not remove or pools.clear(batches, one)
        ]
    except FileNotFoundError:
        return []
    except (files.UnsafePath, OSError) as exc:
        asked.troubles.append("could not look for leftovers of pools: %s" % exc)
        return []


def _is_removed(asked, leftover):
    """Remove a leftover; say whether all of it is gone."""
    return garbage.remove(leftover, asked.batches.place(asked.directory), asked.troubles.append)
