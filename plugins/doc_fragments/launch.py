# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of everything that launches."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  timeout:
    description:
      - How many seconds a job may run, unless it has a C(timeout) of its own. V(0) means no limit.
      - A job that runs longer is ended, together with everything it started, and is C(timed_out).
    type: float
    default: 0
  nice:
    description:
      - The niceness of all processes of a job, from V(-20), served first, to V(19), served last, unless the job has a C(nice) of its own.
      - Only root, or a user whose resource limit allows it, can set a lower value than the launch itself runs at.
        For others, nothing is started.
    type: int
  memory_max:
    description:
      - How much memory a job may use, including everything it starts, unless it has a C(memory_max) of its own.
        A size such as V(512M) or V(2G), or a number of bytes; K is 1024 bytes.
      - If the job needs more, the kernel kills one of its processes. The job has then C(failed), and says why.
      - If the host cannot enforce the limit, nothing is started.
        See R(the guide to limits, ansible_collections.background.jobs.docsite.guide_limits) for the requirements.
    type: str
  cpu_quota:
    description:
      - How much processor time a job may use, including everything it starts, in percent of one processor, unless it has a C(cpu_quota) of its own.
        For example V(50), or V(150%) for one and a half processors.
      - If the host cannot enforce the limit, nothing is started.
        See R(the guide to limits, ansible_collections.background.jobs.docsite.guide_limits) for the requirements.
    type: str
  pool:
    description:
      - The pool of the jobs, unless they have a C(pool) of their own. At most O(pool_size) jobs of a pool run at once on the host,
        whichever launches they belong to. The others are C(queued), and say that they wait for a place.
      - Places are given in the order in which the jobs came. Each user has separate pools in each async directory.
      - A name of 1 to 64 letters, digits, V(_), V(-) and V(.).
        See R(the guide to limits, ansible_collections.background.jobs.docsite.guide_limits.pools).
    type: str
  pool_size:
    description:
      - How many places O(pool) has. Without O(pool), it applies to the one pool that the jobs name themselves.
      - The size that was given last counts, also for jobs that already wait. Running jobs go on.
      - Without it, the variable C(background_jobs_pools) must give the size, as a dictionary with the size of each pool.
    type: int
  wait:
    description:
      - Whether to wait for the jobs, and return what M(background.jobs.async_wait) returns.
      - While it waits, the task holds one of the forks of C(ansible-playbook). With more hosts than forks, leave this out, and use
        M(background.jobs.async_wait) in the next task.
    type: bool
    default: false
  wait_timeout:
    description:
      - With O(wait=true), how many seconds to wait at most. V(0) waits forever.
      - It limits the wait, whereas O(timeout) limits each job.
    type: float
    default: 0
  poll:
    description:
      - With O(wait=true), the number of seconds between two lines of progress. V(0) prints none.
    type: float
    default: 10
  on_timeout:
    description:
      - With O(wait=true), what to do about jobs that have not ended when O(wait_timeout) has passed.
      - V(fail) leaves them running and fails, V(cancel) ends them and fails, V(return) leaves them running and returns.
    type: str
    choices: [fail, cancel, return]
    default: fail
  cleanup:
    description:
      - With O(wait=true), whether to remove the records of the jobs that ended, once they have been reported.
      - By default, the records of jobs that succeeded are removed, and those of the others are kept.
    type: bool
  set_facts:
    description:
      - With O(wait=true), whether the facts that the jobs have set (with C(set_fact)) or gathered become facts of the host, as after the plain tasks.
        Those that are C(cacheable) go into the fact cache too.
    type: bool
    default: false
  batch_id:
    description:
      - The id of this launch, V(b) and 15 digits. By default, a random one is used.
      - If the host has jobs that were launched with this id, nothing is started. The task returns them as they are,
        with C(changed) V(false), and O(wait=true) waits for them.
        So if you cannot tell whether a launch reached the host, because the connection broke or the controller was killed,
        you can repeat it, and no job runs twice. It is an error if the host has other jobs under this id.
      - The host knows the id as long as it has the record of a job of that launch. O(wait=true) removes the records of jobs that succeeded,
        unless O(cleanup=false).
    type: str
  keep_output:
    description:
      - How many bytes to keep of the output of a job, for each of its two streams, such as V(64K), V(1M) or V(1G). V(0) keeps nothing.
      - What the module reads from its child processes can be seen while the job runs, with O(background.jobs.async_info#module:tail).
        If there is more output, the first and the last part are kept.
      - The output is removed when the job ends by itself, because it is in the result then. If the job timed out, was cancelled, killed or lost,
        the output is kept with the record of the job, and the result has it as C(stdout) and C(stderr) if the module returned none.
      - The output of a job or a task with C(no_log) is never kept.
    type: str
    default: 1M
notes:
  - If the connection breaks before the answer to a launch arrives, the launch is sent again for up to a minute, under the same O(batch_id), so that
    the host starts the jobs only once. After that the host is unreachable, and the message gives the id.
    If the connection could not be made in the first place, it is tried once more, a second later.
  - Jobs are forked from a process that has already loaded their module. With the variable C(background_jobs_fork) set to V(false),
    each job is executed as Ansible executes a module, which is slower. Use it for modules that do not tolerate a fork.
"""
