#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: async_info
short_description: List background jobs
description:
  - Lists the jobs that have a record on the host, those of this collection and those of ansible-core's C(async), and reports their state.
  - Never changes anything, except that it records a job as lost when it finds that it is.
version_added: 0.1.0
author:
  - The background.jobs authors (@background-jobs)
extends_documentation_fragment:
  - background.jobs.attributes
  - background.jobs.select
options:
  core_jobs:
    description:
      - Whether to list jobs of ansible-core's C(async) too. Their name is their id.
    type: bool
    default: true
  tail:
    description:
      - How many of the last lines to return that each job has printed so far, or had printed when it ended.
      - These are what the module reads from its child processes, as soon as it reads it, and what the job's own process prints.
        For a job that has ended by itself, they are taken from the V(stdout) and V(stderr) of its result, and for a block from those of its last task.
      - The output of a job or a task with C(no_log) is never shown, nor is that of a job that runs with
        O(background.jobs.async_run#module:keep_output=0).
    type: int
seealso:
  - module: background.jobs.async_wait
  - module: background.jobs.async_cancel
  - module: background.jobs.async_prune
"""

EXAMPLES = r"""
- name: List the jobs that are queued or running
  background.jobs.async_info:
    state: [queued, running]
  register: jobs

- name: List the jobs that went wrong in the last hour
  background.jobs.async_info:
    state: [failed, timed_out, lost]
    newer_than: 1h

- name: Get the last lines that the upgrade has printed
  background.jobs.async_info:
    name: upgrade
    tail: 20
  register: upgrade

- name: Get the state of the jobs that this play has launched
  background.jobs.async_info:
    jobs: "{{ build }}"

- name: List the jobs of a batch that ended or were launched more than an hour ago
  background.jobs.async_info:
    batch_id: "{{ build.batch_id }}"
    older_than: 1h

- name: List only the jobs of this collection
  background.jobs.async_info:
    core_jobs: false
"""

RETURN = r"""
jobs:
  description: The jobs, with those of the oldest batch first.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The name of the job, or its id if it has none.
      type: str
      returned: always
      sample: nginx
    ansible_job_id:
      description: The id of the job.
      type: str
      returned: always
      sample: j482910475620183.0
    state:
      description: Its state.
      type: str
      returned: always
      sample: running
    finished:
      description: Whether the state is final.
      type: bool
      returned: always
      sample: false
    source:
      description: Who launched it, V(background.jobs) or V(core).
      type: str
      returned: always
      sample: background.jobs
    depends_on:
      description: The names of the jobs that it depends on, the first 50 of them.
      type: list
      elements: str
      returned: for jobs that depend on others
      sample: [fetch nginx.tar.gz]
    item:
      description: The item of the loop that the job came from.
      type: raw
      returned: for jobs of a loop, unless C(no_log)
      sample: nginx
    batch_id:
      description: The id of its batch.
      type: str
      returned: for jobs of this collection
      sample: b482910475620183
    module:
      description: The full name of its module; V(block) for a block.
      type: str
      returned: for jobs of this collection
      sample: ansible.builtin.command
    attempts:
      description: How many times it was started.
      type: int
      returned: always
      sample: 1
    failed_attempts:
      description: The last 100 attempts that were followed by another one, as M(background.jobs.async_wait) returns them.
      type: list
      elements: dict
      returned: for jobs with C(retries), when there were any
      sample: [{attempt: 1, state: failed, msg: "rc 6: could not resolve host", ended_at: 1795324385.1}]
    queued_at:
      description: When it was launched, in seconds of the host's clock since 1970.
      type: float
      returned: when it is known
      sample: 1795324381.104
    started_at:
      description: When it was started.
      type: float
      returned: when it is known
      sample: 1795324381.217
    ended_at:
      description: When it ended.
      type: float
      returned: when it is known
      sample: 1795324422.802
    duration:
      description: How many seconds it ran.
      type: float
      returned: when it is known
      sample: 41.585
    pid:
      description: The id of its process.
      type: int
      returned: while it runs, and for V(lost) jobs with processes that still run
      sample: 4713
    processes:
      description: How many processes it has, including everything it has started.
      type: int
      returned: while it runs, and for V(lost) jobs with processes that still run
      sample: 3
    cpu_seconds:
      description: How many seconds of CPU time these processes have used.
      type: float
      returned: while it runs, and for V(lost) jobs with processes that still run
      sample: 12.4
    memory:
      description: How many bytes of resident memory these processes have. Memory that they share counts for each of them.
      type: int
      returned: while it runs, and for V(lost) jobs with processes that still run
      sample: 48963584
    output_size:
      description: How many bytes it has printed, on both streams together, including what was not kept.
      type: int
      returned: while it runs, if its output is kept, and with O(tail) when there is a result
      sample: 20480
    stdout:
      description: The last lines that it has printed.
      type: str
      returned: with O(tail), unless C(no_log)
      sample: "Unpacking nginx\nSetting up nginx"
    stdout_lines:
      description: The same, as a list of lines.
      type: list
      elements: str
      returned: with O(tail), unless C(no_log)
      sample: [Unpacking nginx, Setting up nginx]
    stderr:
      description: The last lines that it has printed on standard error.
      type: str
      returned: with O(tail), unless C(no_log)
      sample: "W: no mirror"
    stderr_lines:
      description: The same, as a list of lines.
      type: list
      elements: str
      returned: with O(tail), unless C(no_log)
      sample: ["W: no mirror"]
    pool:
      description: The pool in which it needs a place to run.
      type: str
      returned: for jobs with a C(pool)
      sample: downloads
    in_line:
      description: Whether it waits for a place in its pool, and for nothing else. C(msg) says so too.
      type: bool
      returned: for C(queued) jobs that do
      sample: true
    msg:
      description: Why it did not succeed, or what it waits for.
      type: str
      returned: when there is something to say
      sample: "rc 2: make: *** No targets"
counts:
  description: How many jobs are in each state.
  type: dict
  returned: always
  sample: {queued: 2, running: 1, succeeded: 6, failed: 0, timed_out: 0, cancelled: 0, skipped: 0, lost: 0}
pools:
  description: The pools that batches use at the moment.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The name of the pool.
      type: str
      returned: always
      sample: downloads
    size:
      description: How many places it has.
      type: int
      returned: always
      sample: 3
    taken:
      description: How many of them are taken. This may be more than O(ignore:size) after the size was reduced.
      type: int
      returned: always
      sample: 3
    waiting:
      description: How many jobs would run if there were more places.
      type: int
      returned: always
      sample: 5
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.background.jobs.plugins.module_utils._verbs import info, options, serving

ARGUMENT_SPEC = dict(
    core_jobs=dict(type="bool", default=True), tail=dict(type="int"), **options.SELECT, **options.REQUEST
)

HANDLERS = {"list": info.answer}


def main():
    serving.be(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), HANDLERS)


if __name__ == "__main__":
    main()
