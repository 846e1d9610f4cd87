#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: async_cancel
short_description: End background jobs
description:
  - Ends jobs with everything they have started, even processes in sessions of their own, and waits until they have ended.
    A queued job never starts. The C(always) section of a block still runs.
  - Jobs that have already ended are left as they are, so that the task can be run again.
  - A V(lost) job stays lost, but what still runs of it is ended.
  - Jobs of ansible-core's C(async) are ended too. They are recognized by the command line of their wrapper, and nothing else is signalled.
version_added: 0.1.0
author:
  - The background.jobs authors (@background-jobs)
extends_documentation_fragment:
  - background.jobs.attributes
  - background.jobs.select
options:
  all:
    description:
      - Whether to end all jobs.
    type: bool
    default: false
  core_jobs:
    description:
      - Whether O(name), O(state), O(older_than), O(newer_than) and O(all) select jobs of ansible-core's C(async) too. Their name is their id.
    type: bool
    default: false
  signal:
    description:
      - The signal that asks jobs to end, by its name or number.
      - The processes that a module has started get it first, and the module itself a second later, so that it can report what they printed.
    type: str
    default: TERM
  grace:
    description:
      - How many seconds jobs have to end. What is left of them after that is killed.
    type: float
    default: 10
  poll:
    description:
      - The number of seconds between two lines of progress. V(0) prints none.
    type: float
    default: 10
seealso:
  - module: background.jobs.async_info
  - module: background.jobs.async_wait
"""

EXAMPLES = r"""
- name: Monitor the host
  background.jobs.async_run:
    name: monitor
    task:
      ansible.builtin.command: vmstat 1

- name: Do the work
  ansible.builtin.command: /opt/work.sh

- name: Cancel the monitor and register what it printed
  background.jobs.async_cancel:
    name: monitor
  register: monitor

- name: Cancel all backups that are still queued or running after a day
  background.jobs.async_cancel:
    name: "backup *"
    older_than: 1d

- name: Cancel the jobs of this play, and show the progress
  background.jobs.async_cancel:
    jobs: "{{ [build, deployment] }}"
    poll: 5

- name: Cancel a batch with SIGINT, and allow it a minute to end
  background.jobs.async_cancel:
    batch_id: "{{ build.batch_id }}"
    signal: INT
    grace: 60

- name: Cancel queued jobs that were launched in the last hour
  background.jobs.async_cancel:
    state: queued
    newer_than: 1h

- name: Cancel all jobs of this user, including those of ansible-core's async
  background.jobs.async_cancel:
    all: true
    core_jobs: true
"""

RETURN = r"""
jobs:
  description: The jobs that were selected, as M(background.jobs.async_wait) returns them, with what they had returned by then.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The name of the job, or its id if it has none.
      type: str
      returned: always
      sample: monitor
    ansible_job_id:
      description: The id of the job.
      type: str
      returned: always
      sample: j482910475620183.0
    state:
      description: V(cancelled) for jobs that were ended. Jobs that had ended before keep their state.
      type: str
      returned: always
      sample: cancelled
    result:
      description: What the module returned, as far as it was able to.
      type: dict
      returned: when there is a result
      sample: {changed: true, rc: -15, stdout: "1 0 0 6180032"}
    msg:
      description: Why the job did not succeed.
      type: str
      returned: when it did not succeed
      sample: cancelled while it ran
changed:
  description: Whether a job was ended, or processes that a lost one had left.
  type: bool
  returned: always
  sample: true
msg:
  description: How many jobs were ended.
  type: str
  returned: always
  sample: 1 job cancelled.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.background.jobs.plugins.module_utils._verbs import cancel, info, options, serving, wait

ARGUMENT_SPEC = dict(
    all=dict(type="bool", default=False),
    core_jobs=dict(type="bool", default=False),
    signal=dict(type="str", default="TERM"),
    grace=dict(type="float", default=10),
    poll=dict(type="float", default=10),
    **options.SELECT,
    **options.REQUEST,
)

HANDLERS = {"cancel": cancel.answer, "list": info.answer, "wait": wait.answer}


def main():
    serving.be(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), HANDLERS)


if __name__ == "__main__":
    main()
