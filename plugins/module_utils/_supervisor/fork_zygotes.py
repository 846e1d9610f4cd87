# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The zygotes of a batch: one for each group of two or more templates that start alike."""

from __future__ import annotations

from collections import Counter

from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_client


def group_of(payload, start, become):
    """Return the group of a template: one zygote can fork all templates of a group. None if it is not to be forked.

    start: the environment that its interpreter starts with; become: the user, None for the one of the supervisor.
    """
    if payload.get("style") != "ansiballz" or not payload.get("fork", True):
        return None
    return tuple(fork_client.interpreter(payload)), start, become


class Zygotes:
    """The zygotes, by group (see `group_of`)."""

    def __init__(self, groups):
        """groups: the group of each template to come, as far as it is known."""
        self._left = Counter(groups)
        self._worth = {group for group, count in self._left.items() if group is not None and count > 1}
        self._zygotes = {}

    def of(self, group, start):
        """Return the zygote of a group, made by `start` if there is none yet; None if the group is to have none."""
        if group not in self._worth:
            return None
        if group not in self._zygotes:
            try:
                self._zygotes[group] = start()
            except (OSError, ValueError):
                self._worth.discard(group)  # its templates will report the reason, if it persists
                return None
        return self._zygotes[group]

    def done_with_one(self, group):
        """One template of a group is no longer needed. Return the zygote, if there is one, when this was the last."""
        self._left[group] -= 1
        return self._remove(group) if self._left[group] <= 0 else None

    def give_up(self, zygote):
        """Do without this zygote from now on; say whether it was one."""
        for group, known in self._zygotes.items():
            if known is zygote:
                self._remove(group)
                return True
        return False

    def _remove(self, group):
        self._worth.discard(group)
        return self._zygotes.pop(group, None)

    def all(self):
        return list(self._zygotes.values())
