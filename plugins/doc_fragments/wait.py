# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of everything that waits."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  poll:
    description:
      - The number of seconds between two lines of progress. V(0) prints none.
      - The end of a job is noticed at once, whatever this is.
    type: float
    default: 10
  on_timeout:
    description:
      - What to do about jobs that have not ended when the time to wait has passed.
      - V(fail) leaves them running and fails, V(cancel) ends them and fails, V(return) leaves them running and returns.
    type: str
    choices: [fail, cancel, return]
    default: fail
  set_facts:
    description:
      - Whether the facts that the jobs have set (with C(set_fact)) or gathered become facts of the host, as after the plain tasks.
        Those that are C(cacheable) go into the fact cache too.
    type: bool
    default: false
"""
