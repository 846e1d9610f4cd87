#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: async_update
short_description: Change how many background jobs run at once
description:
  - Changes the O(concurrency) of running batches, and the number of places in a pool that is in use.
    If there is room for more jobs, they start at once. If there is less room, running jobs go on, and nothing starts until there is room again.
  - A batch is selected by any of its jobs. Batches that have ended are left as they are, so that the task can be run again.
  - In check mode, it reports what it would change.
version_added: 0.1.0
author:
  - The background.jobs authors (@background-jobs)
extends_documentation_fragment:
  - background.jobs.attributes
  - background.jobs.select
options:
  all:
    description:
      - Whether to change all running batches.
    type: bool
    default: false
  concurrency:
    description:
      - How many jobs of each selected batch run at the same time from now on. V(0) means no limit.
    type: int
  pool:
    description:
      - The pool to resize. This needs no selection of jobs. A pool that no batch uses is left as it is, because the next launch sets its size.
    type: str
  pool_size:
    description:
      - How many places O(pool) has from now on. A later launch that gives another size changes it again.
    type: int
seealso:
  - module: background.jobs.async_batch
  - module: background.jobs.async_info
"""

EXAMPLES = r"""
- name: Run more jobs at a time
  background.jobs.async_update:
    batch_id: "{{ build.batch_id }}"
    concurrency: 8

- name: Slow down the jobs that this play has launched
  background.jobs.async_update:
    jobs: "{{ [build, deployment] }}"
    concurrency: 1

- name: Slow down the unfinished thumbnails of the last day
  background.jobs.async_update:
    name: "thumbnails of *"
    state: [queued, running]
    newer_than: 1d
    concurrency: 2

- name: Limit batches with jobs older than an hour to two jobs at a time
  background.jobs.async_update:
    older_than: 1h
    concurrency: 2

- name: Limit all batches of this user to two jobs at a time
  background.jobs.async_update:
    all: true
    concurrency: 2

- name: Allow more downloads at once, across all launches
  background.jobs.async_update:
    pool: downloads
    pool_size: 6
"""

RETURN = r"""
batches:
  description: The batches that the selected jobs belong to.
  type: list
  elements: dict
  returned: always
  contains:
    batch_id:
      description: The id of the batch.
      type: str
      returned: always
      sample: b482910475620183
    outcome:
      description: V(updated); V(unchanged) if it was so before; V(ended); V(elsewhere) if it runs on another machine;
        V(unheard) if its supervisor has not answered.
      type: str
      returned: always
      sample: updated
    before:
      description: How many of its jobs could run at once before.
      type: int
      returned: when it is known
      sample: 3
    concurrency:
      description: How many of its jobs can run at once now, or would in check mode.
      type: int
      returned: when it is known
      sample: 8
pools:
  description: The pool, as it is now.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The name of the pool.
      type: str
      returned: always
      sample: downloads
    outcome:
      description: V(updated); V(unchanged) if it was so before; V(ended) if no batch uses it; V(unheard) if it could not be changed.
      type: str
      returned: always
      sample: updated
    before:
      description: How many places it had.
      type: int
      returned: when it was in use
      sample: 3
    size:
      description: How many places it has now, or would have in check mode.
      type: int
      returned: when it is in use
      sample: 6
jobs:
  description: The jobs that were selected, as M(background.jobs.async_info) lists them, without their resource use and output.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The name of the job.
      type: str
      returned: always
      sample: fetch nginx
    ansible_job_id:
      description: The id of the job.
      type: str
      returned: always
      sample: j482910475620183.0
    state:
      description: Its state.
      type: str
      returned: always
      sample: queued
    batch_id:
      description: The id of its batch.
      type: str
      returned: always
      sample: b482910475620183
changed:
  description: Whether any batch or pool was changed.
  type: bool
  returned: always
  sample: true
msg:
  description: What was changed.
  type: str
  returned: always
  sample: "1 batch was changed: 8 jobs at once."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.background.jobs.plugins.module_utils._verbs import options, serving, update

ARGUMENT_SPEC = dict(
    all=dict(type="bool", default=False),
    concurrency=dict(type="int"),
    pool=dict(type="str"),
    pool_size=dict(type="int"),
    **options.SELECT,
    **options.REQUEST,
)

HANDLERS = {"update": update.answer}


def main():
    serving.be(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), HANDLERS)


if __name__ == "__main__":
    main()
