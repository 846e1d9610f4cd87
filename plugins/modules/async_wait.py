#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: async_wait
short_description: Wait for background jobs, many at a time
description:
  - Waits for all of the given jobs of a host in one task, and reports how each of them ended.
  - Takes jobs that M(background.jobs.async_run) and M(background.jobs.async_batch) launched,
    and those that ansible-core launched for a task with C(async) and C(poll=0).
  - Blocks on the host for at most 15 seconds at a time, so that the end of a job is noticed at once and no connection stays idle for long.
    A dropped connection is made again until O(timeout) has passed. Then the host is unreachable, and its jobs are left as they are.
  - Fails if a job failed, timed out, was cancelled or was lost, except for jobs with C(ignore_errors). A skipped job is not a failure.
version_added: 0.1.0
author:
  - The background.jobs authors (@background-jobs)
extends_documentation_fragment:
  - background.jobs.attributes
  - background.jobs.wait
options:
  jobs:
    description:
      - The jobs. A job id, a job, a registered result of a task that launched jobs, a registered loop of such tasks, or any (nested) list of these.
      - Skipped and failed items of a registered loop are reported as skipped and failed jobs.
      - The task needs the same host, the same user (including C(become)) and the same C(ansible_async_dir) as the task that launched the jobs.
      - One of O(jobs), O(name) and O(batch_id) is required.
    type: raw
  name:
    description:
      - The names of the jobs. V(*), V(?) and V([...]) stand for any characters, as in a shell.
      - This finds jobs of other plays, other runs and other controllers. Of several jobs with the same name, those of the newest launch are waited for.
    type: list
    elements: str
  batch_id:
    description:
      - The ids of the batches whose jobs to wait for.
    type: list
    elements: str
  missing_ok:
    description:
      - With O(name) or O(batch_id), whether it is acceptable that there are no such jobs.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait at most. V(0) waits forever.
    type: float
    default: 0
  mode:
    description:
      - Whether to wait for V(all) jobs or for V(any) one of them.
    type: str
    choices: [all, any]
    default: all
  cleanup:
    description:
      - Whether to remove the records of the jobs that ended, once they have been reported.
    type: bool
    default: false
notes:
  - While it waits, it prints lines such as C([web1] 7/10 finished, 1 failed, 2 running (nginx 41s, redis 12s\)).
  - With the variable C(background_jobs_callbacks) set to V(true), callback plugins receive C(v2_runner_on_async_poll) with each of these lines.
  - Interrupting a playbook leaves the jobs running.
seealso:
  - module: background.jobs.async_run
  - module: background.jobs.async_batch
  - module: ansible.builtin.async_status
  - plugin: background.jobs.timeline
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Wait for the jobs of a batch
  background.jobs.async_wait:
    jobs: "{{ build }}"
    timeout: 3600
  register: done

- name: Show which job ran when
  ansible.builtin.debug:
    msg: "{{ (done.jobs | background.jobs.timeline).splitlines() }}"

- name: Wait for tasks launched by core's own async
  background.jobs.async_wait:
    jobs: "{{ [download1, restart_jobs, migration.ansible_job_id] }}"
    timeout: 600
    poll: 5
    cleanup: true

- name: Wait for a job that another play has launched
  background.jobs.async_wait:
    name: nightly-backup
    timeout: 3600

- name: Continue when the first job has finished, and cancel all if none is in time
  background.jobs.async_wait:
    jobs: "{{ mirrors }}"
    mode: any
    timeout: 60
    on_timeout: cancel

- name: Wait for two batches, and set the facts that their jobs have set
  background.jobs.async_wait:
    batch_id: ["{{ build.batch_id }}", "{{ deployment.batch_id }}"]
    set_facts: true

- name: Wait for a backup if there is one
  background.jobs.async_wait:
    name: backup *
    missing_ok: true
"""

RETURN = r"""
jobs:
  description: The jobs, in the order given.
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
      returned: when it was launched
      sample: j482910475620183.0
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
    state:
      description:
        - One of V(queued), V(running), V(succeeded), V(failed), V(timed_out), V(cancelled), V(skipped), V(lost).
        - A V(lost) job has neither a process nor a result. It was killed, it ran out of memory, or the host was restarted.
      type: str
      returned: always
      sample: succeeded
    finished:
      description: Whether the state is final.
      type: bool
      returned: always
      sample: true
    changed:
      description: Whether the job changed anything.
      type: bool
      returned: always
      sample: true
    attempts:
      description: How many times the job was started.
      type: int
      returned: for jobs of this collection
      sample: 1
    queued_at:
      description: When the job was launched, in seconds of the host's clock since 1970.
      type: float
      returned: when it is known
      sample: 1795324381.104
    started_at:
      description: When the job was started.
      type: float
      returned: when it is known
      sample: 1795324381.217
    ended_at:
      description: When the job ended.
      type: float
      returned: when it is known
      sample: 1795324422.802
    duration:
      description: How many seconds the job ran.
      type: float
      returned: when it is known
      sample: 41.585
    failed_attempts:
      description: The last 100 attempts that were followed by another one, each with its C(attempt) (a number), C(state), C(msg) and C(ended_at).
      type: list
      elements: dict
      returned: for jobs with C(retries), when there were any
      sample: [{attempt: 1, state: failed, msg: "rc 6: could not resolve host", ended_at: 1795324385.1}]
    result:
      description:
        - What the module returned.
        - For a block, what its last task returned. If the block failed or was ended, what the task returned that failed or was ended.
      type: dict
      returned: when the job has ended and left a result
      sample: {changed: true, rc: 0, stdout: built}
    results:
      description: What each task of a block returned, in the order in which they ran.
      type: list
      elements: dict
      returned: for jobs with a block
      contains:
        name:
          description: The name of the task.
          type: str
          returned: always
          sample: Unpack
        module:
          description: The full name of its module.
          type: str
          returned: always
          sample: ansible.builtin.unarchive
        item:
          description: The item of the loop that the task came from.
          type: raw
          returned: for tasks of a loop
          sample: nginx
        where:
          description: The file and the line of the task, or its place among the tasks that were launched.
          type: str
          returned: when it failed, in a job that needs values that only the host knows
          sample: /srv/site/roles/web/tasks/main.yml:12
        section:
          description: V(block), V(rescue) or V(always).
          type: str
          returned: always
          sample: block
        state:
          description: V(succeeded), V(failed), V(timed_out), V(cancelled), V(skipped) or V(lost).
          type: str
          returned: always
          sample: succeeded
        ignored:
          description: Whether its failure was ignored.
          type: bool
          returned: when it was
          sample: true
        started_at:
          description: When the task was started, in seconds of the host's clock since 1970.
          type: float
          returned: when it ran
          sample: 1795324381.217
        ended_at:
          description: When the task ended.
          type: float
          returned: when it ran
          sample: 1795324382.101
        duration:
          description: How many seconds the task ran, including all its attempts.
          type: float
          returned: when it ran
          sample: 0.884
        attempts:
          description: How many times the task was started.
          type: int
          returned: when it ran
          sample: 1
        changed:
          description: Whether the task changed anything.
          type: bool
          returned: always
          sample: true
        result:
          description: What the module returned.
          type: dict
          returned: always
          sample: {changed: true, dest: /usr/local/src}
        msg:
          description: Why the task did not succeed.
          type: str
          returned: when it did not succeed
          sample: "rc 1: no such file"
    registered:
      description:
        - What the tasks inside of the job have registered, by variable name, as the plain tasks would have.
          Tasks with C(no_log) are left out.
      type: dict
      returned: when tasks of the job register something, or the host evaluates some of its values
      sample: {page: {changed: false, status: 200}}
    facts:
      description: The facts that the job has set or gathered, by name.
      type: dict
      returned: when C(registered) is returned, or there are any
      sample: {release: "4.2"}
    notified:
      description: The play's handlers that the job has notified. The task that waits passes the notifications on.
      type: list
      elements: str
      returned: when C(registered) is returned
      sample: [restart nginx]
    cacheable:
      description: The names of the facts that were set with C(cacheable).
      type: list
      elements: str
      returned: when there are any
      sample: [release]
    gathered:
      description: The names of the facts that modules have returned, as M(ansible.builtin.setup) does.
      type: list
      elements: str
      returned: when there are any
      sample: [ansible_kernel]
    rescued:
      description: Whether a task failed and a C(rescue) saved the job.
      type: bool
      returned: when it did
      sample: true
    pool:
      description: The pool in which it needs a place to run.
      type: str
      returned: for jobs with a C(pool)
      sample: downloads
    in_line:
      description: Whether it still waits for a place in its pool. C(msg) says so too.
      type: bool
      returned: for C(queued) jobs that do
      sample: true
    msg:
      description: Why the job did not succeed, or what it waits for.
      type: str
      returned: when it did not succeed
      sample: "rc 2: make: *** No targets"
counts:
  description: How many jobs are in each state.
  type: dict
  returned: always
  sample:
    queued: 0
    running: 0
    succeeded: 9
    failed: 1
    timed_out: 0
    cancelled: 0
    skipped: 0
    lost: 0
failed_jobs:
  description: The names of the jobs that failed, timed out, were cancelled or were lost, except those with C(ignore_errors).
  type: list
  elements: str
  returned: always
  sample: [nginx]
changed:
  description: Whether any job changed anything.
  type: bool
  returned: always
  sample: true
failed:
  description: Whether a job did not succeed, or time ran out with O(on_timeout) other than V(return).
  type: bool
  returned: always
  sample: true
msg:
  description: A summary in a sentence or two.
  type: str
  returned: always
  sample: "1 of 10 jobs failed: nginx (rc 2: make: *** No targets). 9 succeeded."
elapsed:
  description: How many seconds the task waited.
  type: float
  returned: always
  sample: 41.9
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.background.jobs.plugins.module_utils._verbs import cancel, forget, info, serving, wait

ARGUMENT_SPEC = dict(
    jobs=dict(type="raw"),
    name=dict(type="list", elements="str"),
    batch_id=dict(type="list", elements="str"),
    missing_ok=dict(type="bool", default=False),
    timeout=dict(type="float", default=0),
    poll=dict(type="float", default=10),
    mode=dict(type="str", choices=["all", "any"], default="all"),
    on_timeout=dict(type="str", choices=["fail", "cancel", "return"], default="fail"),
    cleanup=dict(type="bool", default=False),
    set_facts=dict(type="bool", default=False),
    _request=dict(type="str"),
    _async_dir=dict(type="str"),
)

HANDLERS = {"cancel": cancel.answer, "forget": forget.answer, "list": info.answer, "wait": wait.answer}


def main():
    serving.be(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), HANDLERS)


if __name__ == "__main__":
    main()
