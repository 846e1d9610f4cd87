# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that select jobs."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  jobs:
    description:
      - The jobs, as M(background.jobs.async_wait) takes them. A job id, a job, a registered result of a task that launched jobs,
        a registered loop of such tasks, or any (nested) list of these. Jobs that ansible-core launched may be among them.
      - It cannot be combined with the other options that select jobs.
    type: raw
  name:
    description:
      - The names of the jobs. V(*), V(?) and V([...]) stand for any characters, as in a shell.
      - This finds jobs of other plays, other runs and other controllers, if the task has the same user (including C(become)) and the same
        C(ansible_async_dir) as the task that launched them.
    type: list
    elements: str
  batch_id:
    description:
      - The ids of the batches that the jobs belong to.
    type: list
    elements: str
  state:
    description:
      - The states that the jobs are in. V(queued), V(running), V(succeeded), V(failed), V(timed_out), V(cancelled), V(skipped) or V(lost).
    type: list
    elements: str
  older_than:
    description:
      - Jobs that ended at least this long ago, and jobs that have not ended and were launched at least this long ago.
      - Seconds, or an age such as V(30m), V(12h) or V(7d).
    type: str
  newer_than:
    description:
      - Jobs that ended at most this long ago, and jobs that have not ended and were launched at most this long ago.
      - Seconds, or an age such as V(30m), V(12h) or V(7d).
    type: str
"""
