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
      - How many seconds a job may run, unless it has a C(timeout) of its own. V(0) is no limit.
      - A job that runs longer is ended, with all that it started, and is C(timed_out).
    type: float
    default: 0
  nice:
    description:
      - The niceness of all processes of a job, from V(-20), served first, to V(19), served last, unless it has a C(nice) of its own.
      - Less than what the launch itself runs at is for root, or for users whose limit allows it.
        Where it does not, nothing is started.
    type: int
  memory_max:
    description:
      - How much memory a job may use, with all that it starts, unless it has a C(memory_max) of its own.
        Such as V(512M), V(2G), or a number of bytes; K is 1024 bytes.
      - When it needs more, the kernel kills a process of it. The job has then C(failed), and says why.
      - Where the host cannot hold a job to it, nothing is started.
        See R(the guide to limits, ansible_collections.background.jobs.docsite.guide_limits) for what it takes.
    type: str
  cpu_quota:
    description:
      - How much processor time a job may use, with all that it starts, in percent of one processor, unless it has a C(cpu_quota) of its own.
        Such as V(50), or V(150%) for one and a half processors.
      - Where the host cannot hold a job to it, nothing is started.
        See R(the guide to limits, ansible_collections.background.jobs.docsite.guide_limits) for what it takes.
    type: str
  pool:
    description:
      - The pool of the jobs, unless they have a C(pool) of their own. Of the jobs of a pool only so many run at once on the host, O(pool_size) of them,
        whichever launches they are of. The others are C(queued), and say that they wait for a place.
      - Places are given in the order in which the jobs came. The pools of a user and an async directory are apart from those of others.
      - A name of 1 to 64 letters, digits, V(_), V(-) and V(.).
        See R(the guide to limits, ansible_collections.background.jobs.docsite.guide_limits.pools).
    type: str
  pool_size:
    description:
      - How many places O(pool) has. Without O(pool) it is for the one pool that the jobs name themselves.
      - The size that was given last counts, for what waits already too. What runs goes on.
      - Without it the variable C(background_jobs_pools) has to tell, a dictionary with the size of each pool.
    type: int
  wait:
    description:
      - Whether to wait for the jobs, and return what M(background.jobs.async_wait) returns.
      - The task holds one of the forks of C(ansible-playbook) meanwhile. With more hosts than forks, leave it out, and use
        M(background.jobs.async_wait) in the next task.
    type: bool
    default: false
  wait_timeout:
    description:
      - With O(wait=true), how many seconds to wait at most. V(0) waits for ever.
      - It limits the waiting, where O(timeout) limits each job.
    type: float
    default: 0
  poll:
    description:
      - With O(wait=true), how many seconds there are between two lines of progress. V(0) prints none.
    type: float
    default: 10
  on_timeout:
    description:
      - With O(wait=true), what to do about jobs that have not ended when O(wait_timeout) is over.
      - V(fail) leaves them running and fails, V(cancel) ends them and fails, V(return) leaves them running and returns.
    type: str
    choices: [fail, cancel, return]
    default: fail
  cleanup:
    description:
      - With O(wait=true), whether to remove the records of the jobs that ended, once they are reported.
      - Without it the records of jobs that succeeded are removed, and those of others are kept.
    type: bool
  set_facts:
    description:
      - With O(wait=true), whether the facts that the jobs have set (with C(set_fact)) or gathered become facts of the host, as after the plain tasks,
        those that are C(cacheable) in the cache of facts too.
    type: bool
    default: false
  batch_id:
    description:
      - The id of this launch, V(b) and 15 digits. Without it one is drawn.
      - Where the host has jobs that were launched with this id, nothing is started. The task returns them as they are,
        with C(changed) V(false), and O(wait=true) waits for them.
        So a launch of which nobody knows whether it reached the host, because the connection broke or the controller was killed,
        can be made again, and no job runs twice. It is an error where the host has other jobs under this id.
      - The host knows the id as long as it has the record of a job of that launch. O(wait=true) removes records of jobs that succeeded,
        unless O(cleanup=false).
    type: str
  keep_output:
    description:
      - How many bytes are kept of what a job prints, of each of its two streams, such as V(64K), V(1M) or V(1G). V(0) keeps nothing.
      - What the module reads from its child processes can be seen while the job runs, with O(background.jobs.async_info#module:tail).
        Where there is more, the first and the last part are kept.
      - It is removed when the job ends by itself, for it is in the result then. Where the job timed out, was cancelled, killed or lost, it is
        kept with the record of the job; the result has it as C(stdout) and C(stderr) where the module returned none.
      - Nothing is kept of what a job or a task with C(no_log) prints.
    type: str
    default: 1M
notes:
  - A launch whose answer does not arrive because the connection breaks is sent again for up to a minute, under the same O(batch_id), so that
    the host starts the jobs once. After that the host is unreachable, and the message tells the id.
    A host that could not be connected to in the first place is tried once more, a second later.
  - Jobs are forked from a process that has read their module in already. With the variable C(background_jobs_fork) set to V(false)
    each of them is executed as Ansible executes a module, which is slower. It is for modules that do not bear a fork.
"""
