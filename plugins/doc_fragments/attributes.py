# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions support, told in one way."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - Jobs are launched and waited for in check mode too. Check mode is passed on to them, and the C(check_mode) of a job overrides it.
      - A launch prints which jobs would be started, and in diff mode returns them as a diff.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: partial
    details:
      - Diff mode is passed on to the jobs. Their diffs are in their results.
  async:
    description: Supports being used with the C(async) keyword.
    support: none
    details:
      - The jobs already run in the background.
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
"""
