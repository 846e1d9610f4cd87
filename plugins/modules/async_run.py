#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: async_run
short_description: Start one task, or one block, in the background
description:
  - Starts one task, or one block, as a background job on the managed host and returns at once.
  - The job gives the result that the plain task would have given. Pick it up with M(background.jobs.async_wait), even in a later play.
version_added: 0.1.0
author:
  - The background.jobs authors (@background-jobs)
extends_documentation_fragment:
  - background.jobs.attributes
  - background.jobs.launch
options:
  task:
    description:
      - The job, one task in ordinary task syntax. See O(background.jobs.async_batch#module:tasks) for its keys;
        V(loop), V(depends_on) and V(run_when) are not available here.
        It may be a V(block), or an include.
      - A string with a task in YAML or JSON is accepted too, for use on a command line. A string that comes from a host is not.
    type: dict
    required: true
  name:
    description:
      - The name of the job. The same as V(name) in O(task).
    type: str
  singleton:
    description:
      - Whether to start nothing if a job of this O(name) is already queued or running on this host as the same user, whoever launched it.
        The task then returns that job, with C(changed) V(false), and O(wait=true) waits for it.
      - If such a job was lost and processes of it still run, the task fails and names them.
    type: bool
    default: false
seealso:
  - module: background.jobs.async_batch
  - module: background.jobs.async_wait
"""

EXAMPLES = r"""
- name: Start a backup in the background
  background.jobs.async_run:
    name: nightly-backup
    task:
      ansible.builtin.command: /opt/backup.sh
    timeout: 7200
  register: backup

- name: Start the reindexing unless it already runs
  background.jobs.async_run:
    name: reindex
    singleton: true
    task:
      ansible.builtin.command: /opt/app/reindex

- name: Run a block that always starts the application again
  background.jobs.async_run:
    name: upgrade
    task:
      block:
        - ansible.builtin.command: /opt/app/stop
        - ansible.builtin.command: /opt/app/upgrade
          retries: 2
      always:
        - ansible.builtin.command: /opt/app/start
      always_timeout: 120
    timeout: 3600

- name: Wait for the backup later
  background.jobs.async_wait:
    jobs: "{{ backup }}"

- name: Get the state of the backup with ansible-core's own module
  ansible.builtin.async_status:
    jid: "{{ backup.ansible_job_id }}"

- name: Launch and wait in one task, cancel the job if it takes too long, and keep its record
  background.jobs.async_run:
    wait: true
    wait_timeout: 600
    poll: 30
    on_timeout: cancel
    cleanup: false
    task:
      ansible.builtin.command: /opt/check.sh

- name: Set a fact of the host in a background job
  background.jobs.async_run:
    wait: true
    set_facts: true
    task:
      block:
        - ansible.builtin.command: cat /etc/machine-id
          register: found
        - ansible.builtin.set_fact:
            machine: "{{ found.stdout }}"

- name: Launch the migration only once for each release
  background.jobs.async_run:
    batch_id: "{{ 'b%015d' | format((10 ** 15) | random(seed=inventory_hostname ~ release)) }}"
    task:
      ansible.builtin.command: /opt/app/migrate {{ release }}

- name: Limit the resources of a job, and keep little of its output
  background.jobs.async_run:
    name: index
    nice: 10
    memory_max: 2G
    cpu_quota: 150%
    keep_output: 64K
    task:
      ansible.builtin.command: /opt/app/index

- name: Fetch the model when fewer than three downloads run on the host
  background.jobs.async_run:
    name: fetch the model
    pool: downloads
    pool_size: 3
    task:
      ansible.builtin.get_url:
        url: https://example.org/model.bin
        dest: /srv/models/
        mode: "0644"
"""

RETURN = r"""
ansible_job_id:
  description: The id of the job, for M(background.jobs.async_wait) and M(ansible.builtin.async_status).
  type: str
  returned: success
  sample: j482910475620183.0
results_file:
  description: Where the host keeps the result.
  type: str
  returned: success
  sample: /root/.ansible_async/j482910475620183.0
changed:
  description: Whether the job was launched; with O(wait=true), whether the job changed anything, as with M(background.jobs.async_wait).
  type: bool
  returned: always
  sample: true
msg:
  description: Says that nothing was started, because there was already a job of this O(batch_id), or, with O(singleton=true), of this O(name).
    In check mode, says that the job would be started.
  type: str
  returned: when nothing was started, in check mode, and with O(wait=true)
  sample: "reindex is running already as j482910475620183.0: attached to it."
diff:
  description: The job that would be started.
  type: dict
  returned: in check mode, with diff mode
  sample: {prepared: "jobs that would be started\n+ nightly backup\n"}
jobs:
  description:
    - A list of this one job.
    - With O(wait=true), the same as M(background.jobs.async_wait) returns.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name of the job.
      type: str
      returned: always
      sample: nightly-backup
    ansible_job_id:
      description: The id of the job.
      type: str
      returned: always
      sample: j482910475620183.0
    results_file:
      description: Where the host keeps the result.
      type: str
      returned: always
      sample: /root/.ansible_async/j482910475620183.0
    state:
      description: V(queued), or V(skipped) if its condition was false. For a job that was there already, its current state.
      type: str
      returned: always
      sample: queued
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

ARGUMENT_SPEC = dict(
    task=dict(type="dict", required=True),
    name=dict(type="str"),
    singleton=dict(type="bool", default=False),
    **launcher.COMMON,
)


def main():
    launcher.serve(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
