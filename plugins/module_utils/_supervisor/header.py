# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What readers of the records, and the scheduler, get to know about the jobs of a plan."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._protocol import defaults, records
from ansible_collections.background.jobs.plugins.module_utils._supervisor import scheduler

_TOLD = ("name", "module", "item", "timeout", "no_log", "ignore_errors", "pool")


def header_of(plan, launched_at, supervisor):
    """Return the header of a batch (see guide_job_records). supervisor: the identity of its process."""
    return {
        "protocol": records.PROTOCOL,
        "batch_id": plan["batch_id"],
        "launched_at": launched_at,
        "supervisor": supervisor,
        "concurrency": plan["concurrency"],
        "jobs": [_described(job) for job in plan["jobs"]],
    }


def _described(job):
    about = {key: job[key] for key in _TOLD if key in job}
    if job["depends_on"]:
        about["depends_on"] = job["depends_on"][: records.MOST_DEPENDENCIES]
    if _has_always(job.get("script", job)["body"]):
        about["always_timeout"] = job.get("always_timeout", defaults.ALWAYS_TIMEOUT)
    return about


def _has_always(nodes):
    """Say whether a job has an `always` section."""
    blocks = [node for node in nodes if "block" in node]
    return any(
        node.get("always") or _has_always(node["block"]) or _has_always(node.get("rescue") or ()) for node in blocks
    )


def scheduled(job):
    """Return a job of a plan as the scheduler knows it."""
    return scheduler.Job(
        job["name"],
        job["timeout"],
        job["depends_on"],
        job["skip"] is not None,
        job.get("run_when", scheduler.SUCCESS),
        job.get("retries", 0),
        job.get("delay", defaults.DELAY),
        job.get("backoff", defaults.BACKOFF),
        job["ignore_errors"],
        job.get("pool"),
    )
