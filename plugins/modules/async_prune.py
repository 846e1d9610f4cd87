#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: async_prune
short_description: Remove the records of background jobs that have ended
description:
  - Removes the records of jobs that have ended. The records of queued and running jobs are never removed,
    nor those of lost jobs that still have a running process; a warning names these, and M(background.jobs.async_cancel) ends them.
  - Also removes what is left of jobs without a record, if O(all), O(older_than), O(newer_than) or O(batch_id) is set, and neither O(name)
    nor an O(state) without V(lost) is. These leftovers are the folders of launches that were killed before they had started anything,
    folders of batches none of whose jobs has a record, files that only a running batch needs (those of template processes, arguments,
    staged files) if its supervisor was killed, and files whose writer was killed before they were complete. Their age counts from their last change.
  - In check mode, it reports what it would remove.
version_added: 0.1.0
author:
  - The background.jobs authors (@background-jobs)
extends_documentation_fragment:
  - background.jobs.attributes
  - background.jobs.select
options:
  all:
    description:
      - Whether to remove the records of all jobs that have ended.
    type: bool
    default: false
  core_jobs:
    description:
      - Whether O(name), O(state), O(older_than), O(newer_than) and O(all) select jobs of ansible-core's C(async) too, and the temporary
        files that its jobs have left. Their name is their id.
    type: bool
    default: false
seealso:
  - module: background.jobs.async_info
  - module: background.jobs.async_wait
"""

EXAMPLES = r"""
- name: Remove the records of succeeded jobs after a day, and of all others after a week
  background.jobs.async_prune:
    state: "{{ item.state | default(omit) }}"
    older_than: "{{ item.age }}"
    core_jobs: true
  loop:
    - {state: succeeded, age: 1d}
    - {age: 7d}

- name: Remove the records of the jobs that this play has launched
  background.jobs.async_prune:
    jobs: "{{ build }}"

- name: Remove the records of a batch
  background.jobs.async_prune:
    batch_id: "{{ build.batch_id }}"

- name: Remove the records of the builds of the last hour
  background.jobs.async_prune:
    name: build *
    newer_than: 1h

- name: Remove the records of all jobs that have ended
  background.jobs.async_prune:
    all: true
"""

RETURN = r"""
jobs:
  description: The jobs whose records were removed, as M(background.jobs.async_info) lists them.
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
      sample: succeeded
    msg:
      description: Why it did not succeed.
      type: str
      returned: when there is something to say
      sample: "rc 2: make: *** No targets"
leftovers:
  description:
    - How many other files and folders were removed. See the description of the module.
  type: int
  returned: always
  sample: 2
changed:
  description: Whether a record or a leftover was removed.
  type: bool
  returned: always
  sample: true
msg:
  description: How many records and leftovers were removed.
  type: str
  returned: always
  sample: "The records of 12 jobs and 2 leftovers were removed."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.background.jobs.plugins.module_utils._verbs import options, prune, serving

ARGUMENT_SPEC = dict(
    all=dict(type="bool", default=False),
    core_jobs=dict(type="bool", default=False),
    **options.SELECT,
    **options.REQUEST,
)

HANDLERS = {"prune": prune.answer}


def main():
    serving.be(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), HANDLERS, keeping=False)


if __name__ == "__main__":
    main()
