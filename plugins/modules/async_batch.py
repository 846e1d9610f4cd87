#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: async_batch
short_description: Start many tasks in the background with one remote call
description:
  - Starts tasks as background jobs on the managed host, O(concurrency) of them at a time, and returns at once.
  - The whole batch takes one upload and one remote call, whatever the number of jobs.
    A job is an ordinary task in task syntax, with its own O(ignore:loop), O(ignore:when), O(ignore:vars) and so on,
    and gives the result that the plain task would have given.
  - All jobs are checked before the first is started. Either all of them are launched, or none.
version_added: 0.1.0
author:
  - The background.jobs authors (@background-jobs)
extends_documentation_fragment:
  - background.jobs.attributes
  - background.jobs.launch
options:
  tasks:
    description:
      - The jobs, as a list of tasks in ordinary task syntax, or a template that gives such a list.
        A string with such a list in YAML or JSON is accepted too, for use on a command line. A string that comes from a host is not.
      - An entry has one module with its arguments, and any of the keys V(name), V(loop), V(loop_control), V(when), V(vars), V(args),
        V(environment), V(timeout), V(ignore_errors), V(no_log), V(check_mode), V(diff), V(retries), V(delay), V(backoff),
        V(depends_on), V(run_when), V(until), V(changed_when), V(failed_when), V(notify), V(run_once), V(tags), V(nice), V(memory_max), V(cpu_quota), V(pool).
        V(become), V(become_user), V(become_method), V(become_flags) and V(become_exe) work if no password is required.
        Any other key is an error, whose message says what to do instead.
      - Instead of a module, an entry may have a V(block), with V(rescue) and V(always). It is one job, whose tasks run in order on
        the host. V(always) has a time limit of its own, V(always_timeout), 60 seconds by default.
        V(include_tasks), V(import_tasks), V(include_role) and V(import_role) stand for a block of the tasks of a file or a role.
        Anything that would need the controller in the middle of a job is refused at launch.
        See R(the guide to blocks, ansible_collections.background.jobs.docsite.guide_blocks).
      - V(depends_on) names the jobs that must have ended before a job starts. The name of a loop, without the item, stands for all its jobs.
        V(run_when) says how they must have ended, V(success) (the default), V(failure) or V(always). Otherwise the job is C(skipped).
      - V(retries) is how often a job that failed or took too long is tried again, V(delay) is how many seconds later (5 by default),
        and V(backoff) is the factor from one delay to the next (1 by default).
      - A V(loop) makes one job for each item. V(when) is evaluated at launch; a job whose condition is false is C(skipped).
      - Names must be unique. A job without a name is named after its module, and after its item in a loop, such as C(command (item=a\)).
      - You can use all modules without an action plugin, and the action plugins that support C(async) in ansible-core.
      - M(ansible.builtin.copy), M(ansible.builtin.template), M(ansible.builtin.unarchive), M(ansible.builtin.assemble) and
        M(ansible.builtin.script) can be used too. Their files are found, decrypted and rendered at launch, and kept on the host,
        readable only by the user of the job, until the job has ended. What depends on the host is decided when the job runs.
      - Other action plugins are refused by name.
    type: list
    elements: raw
    required: true
  concurrency:
    description:
      - How many jobs run at the same time. The next one starts as soon as one has ended.
      - V(0) means no limit. M(background.jobs.async_update) changes it while the batch runs.
    type: int
    default: 0
  max_fail_percentage:
    description:
      - When more than this percentage of the jobs have failed, no more are started. The rest are C(skipped).
      - Jobs that were C(skipped) because of their condition do not count, and neither do failures that are ignored.
        Jobs with C(run_when) V(failure) or V(always) still run.
    type: float
  any_errors_fatal:
    description:
      - Whether no more jobs are started as soon as one has failed, as with O(max_fail_percentage=0).
    type: bool
    default: false
  on_failure:
    description:
      - What to do about the running jobs when no more are started because of O(any_errors_fatal) or O(max_fail_percentage).
      - V(finish) lets them run to their end, V(cancel) ends them.
    type: str
    choices: [finish, cancel]
    default: finish
  resume:
    description:
      - The id of an earlier batch on the same host. Of O(tasks), only those jobs are started that failed in that batch, timed out, were
        cancelled, skipped or lost. Jobs are matched by name. Dependencies that have succeeded there count as succeeded.
      - The new batch has an id of its own. If all jobs have succeeded, nothing is started, and the task is not changed.
      - It is an error if the host has no record of that batch, or if any of its jobs has not ended.
        O(cleanup) may have removed the records of jobs that succeeded; that does no harm here.
    type: str
  start_delay:
    description:
      - The minimum number of seconds between the starts of two jobs. A retry counts as a start.
    type: float
    default: 0
  min_free_memory:
    description:
      - How much memory must be available on the host before another job starts, such as V(512M) or V(2G).
        Jobs are C(queued) while there is less, and running jobs go on.
      - The available memory is C(MemAvailable) in C(/proc/meminfo). In a container, that is the memory of the machine,
        not what the container may use of it, unless something such as lxcfs corrects it.
      - The first job is held too, even though no job of the batch runs yet. A job that has just started has not taken its memory yet;
        O(start_delay) gives it the time to.
    type: str
  max_load:
    description:
      - No further job starts while the load average of the last minute is as high as this, or higher.
        Jobs are C(queued) then, and running jobs go on.
      - The first job is held too, even though no job of the batch runs yet. The load average rises only slowly after a start,
        whereas O(concurrency) and O(start_delay) take effect at once.
    type: float
  mode:
    description:
      - With O(wait=true), whether to wait for V(all) jobs or for V(any) one of them.
    type: str
    choices: [all, any]
    default: all
seealso:
  - module: background.jobs.async_run
  - module: background.jobs.async_wait
  - plugin: background.jobs.timeline
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Fetch and pack, three at a time
  background.jobs.async_batch:
    concurrency: 3
    timeout: 1800
    tasks:
      - name: fetch {{ item | basename }}
        ansible.builtin.get_url:
          url: "{{ item }}"
          dest: /var/cache/src/
        loop: "{{ urls }}"
        when: item is search('tar')
      - name: pack the logs
        ansible.builtin.command: tar -czf /var/tmp/log.tar.gz /var/log
        timeout: 600
        ignore_errors: true
  register: build

- name: Run blocks as jobs, and let jobs wait for others
  background.jobs.async_batch:
    wait: true
    tasks:
      - name: fetch {{ item }}
        ansible.builtin.get_url:
          url: https://example.org/{{ item }}.tar.gz
          dest: /var/cache/src/
        loop: [nginx, redis]
        retries: 3
        delay: 2
        backoff: 2
      - name: build {{ item }}
        loop: [nginx, redis]
        depends_on: fetch {{ item }}
        timeout: 1800
        block:
          - ansible.builtin.unarchive:
              src: /var/cache/src/{{ item }}.tar.gz
              dest: /usr/local/src
              remote_src: true
          - ansible.builtin.command:
              cmd: make -j2
              chdir: /usr/local/src/{{ item }}
        rescue:
          - ansible.builtin.file:
              path: /usr/local/src/{{ item }}
              state: absent
      - name: log the end
        ansible.builtin.command: logger all builds ended
        depends_on: build
        run_when: always

- name: Launch the migration only once for each release
  background.jobs.async_batch:
    batch_id: "{{ 'b%015d' | format((10 ** 15) | random(seed=inventory_hostname ~ release)) }}"
    tasks:
      - ansible.builtin.command: /opt/app/migrate {{ release }}

- name: Resume the batch and start the jobs again that did not succeed
  background.jobs.async_batch:
    resume: "{{ build.batch_id }}"
    tasks:
      - name: fetch {{ item }}
        ansible.builtin.get_url:
          url: https://example.org/{{ item }}.tar.gz
          dest: /var/cache/src/
          mode: "0644"
        loop: [nginx, redis]

- name: Do something else meanwhile
  ansible.builtin.debug:
    msg: the jobs are running

- name: Wait for all of them
  background.jobs.async_wait:
    jobs: "{{ build }}"
    timeout: 3600
  register: done

- name: Leave resources for other work on the host
  background.jobs.async_batch:
    concurrency: 4
    max_load: 3.5
    min_free_memory: 1G
    start_delay: 2
    nice: 10
    memory_max: 2G
    tasks:
      - name: thumbnails of {{ item }}
        ansible.builtin.command: /opt/app/thumbnails {{ item }}
        loop: "{{ albums }}"
      - name: index
        ansible.builtin.command: /opt/app/index
        cpu_quota: 50%
        memory_max: 8G

- name: Run at most three downloads at once on the host, across all launches
  background.jobs.async_batch:
    pool: downloads
    pool_size: 3
    tasks:
      - name: fetch {{ item }}
        ansible.builtin.get_url:
          url: https://example.org/{{ item }}
          dest: /srv/mirror/
          mode: "0644"
        loop: "{{ files }}"

- name: Put each job into the pool of its disk, with the pool sizes in a variable
  background.jobs.async_batch:
    tasks:
      - name: check {{ item }}
        ansible.builtin.command: sha256sum -c {{ item }}
        pool: "{{ 'ssd' if item is match('/fast/') else 'disk' }}"
        loop: "{{ sums }}"
  vars:
    background_jobs_pools: {disk: 1, ssd: 8}

- name: Launch and wait in one task
  background.jobs.async_batch:
    wait: true
    wait_timeout: 600
    tasks:
      - ansible.builtin.command: sleep {{ item }}
        loop: [1, 2, 3]

- name: Continue with the first mirror that answers, and give up after a minute
  background.jobs.async_batch:
    wait: true
    mode: any
    wait_timeout: 60
    on_timeout: cancel
    poll: 5
    cleanup: true
    tasks:
      - name: ask {{ item }}
        ansible.builtin.uri:
          url: https://{{ item }}/release
        loop: "{{ mirrors }}"

- name: Cancel the other jobs when one has failed
  background.jobs.async_batch:
    any_errors_fatal: true
    on_failure: cancel
    tasks:
      - ansible.builtin.command: /opt/test {{ item }}
        loop: "{{ suites }}"

- name: Start no more jobs when a fifth of them has failed, and keep no output
  background.jobs.async_batch:
    max_fail_percentage: 20
    keep_output: 0
    cpu_quota: 50%
    tasks:
      - ansible.builtin.command: /opt/resize {{ item }}
        loop: "{{ photos }}"

- name: Collect facts of the host in parallel
  background.jobs.async_batch:
    wait: true
    set_facts: true
    tasks:
      - name: machine
        block:
          - ansible.builtin.command: cat /etc/machine-id
            register: found
          - ansible.builtin.set_fact:
              machine: "{{ found.stdout }}"
      - name: release
        block:
          - ansible.builtin.command: /opt/app/bin/release
            register: found
          - ansible.builtin.set_fact:
              release: "{{ found.stdout }}"
"""

RETURN = r"""
batch_id:
  description: The id of the batch. Null if there was nothing to launch.
  type: str
  returned: success
  sample: b482910475620183
changed:
  description: Whether any job was launched; with O(wait=true), whether any job changed anything, as with M(background.jobs.async_wait).
  type: bool
  returned: always
  sample: true
msg:
  description: Says that nothing was started, because the jobs of this O(batch_id) were there already, or all jobs of O(resume) had succeeded.
    In check mode, says which jobs would be started.
  type: str
  returned: when nothing was started, in check mode, and with O(wait=true)
  sample: "Batch b482910475620183 already exists: nothing was started."
diff:
  description: The jobs that would be started, one on each line, without those that have C(check_mode) V(false).
  type: dict
  returned: in check mode, with diff mode
  sample: {prepared: "jobs that would be started\n+ fetch a.tar\n+ fetch b.tar\n"}
jobs:
  description:
    - The jobs, in the order in which they are written, and those of a loop in the order of its items.
    - With O(wait=true), the same as M(background.jobs.async_wait) returns.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name of the job.
      type: str
      returned: always
      sample: build nginx
    ansible_job_id:
      description: The id of the job, for M(background.jobs.async_wait) and M(ansible.builtin.async_status).
      type: str
      returned: always
      sample: j482910475620183.0
    results_file:
      description: Where the host keeps the result.
      type: str
      returned: always
      sample: /root/.ansible_async/j482910475620183.0
    state:
      description: V(queued), or V(skipped) if its condition was false. For jobs that were there already, their current state.
      type: str
      returned: always
      sample: queued
    item:
      description: The item of the loop that the job came from.
      type: raw
      returned: for jobs of a loop, unless C(no_log)
      sample: nginx
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

ARGUMENT_SPEC = dict(
    tasks=dict(type="list", elements="raw", required=True),
    concurrency=dict(type="int", default=0),
    max_fail_percentage=dict(type="float"),
    any_errors_fatal=dict(type="bool", default=False),
    on_failure=dict(type="str", choices=["finish", "cancel"], default="finish"),
    resume=dict(type="str"),
    start_delay=dict(type="float", default=0),
    min_free_memory=dict(type="str"),
    max_load=dict(type="float"),
    mode=dict(type="str", choices=["all", "any"], default="all"),
    **launcher.COMMON,
)


def main():
    launcher.serve(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
