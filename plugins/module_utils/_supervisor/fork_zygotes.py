# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The zygotes of a batch: one for all templates that start alike, where there is to be more than one of these."""

from __future__ import annotations

from collections import Counter

from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_client


def group_of(payload, start, become):
    """Return what templates have in common that one zygote can fork, None where they are not to be forked.

    start: what their interpreter starts with; become: as which user, None for that of the supervisor.
    """
    if payload.get("style") != "ansiballz" or not payload.get("fork", True):
        return None
    return tuple(fork_client.interpreter(payload)), start, become


class Zygotes:
    """By what their templates have in common."""

    def __init__(self, groups):
        """groups: that of each template there will be, as far as that is known."""
        self._left = Counter(groups)
        self._worth = {group for group, count in self._left.items() if group is not None and count > 1}
        self._zygotes = {}

    def of(self, group, start):
        """Return the zygote of a group, which is `start`ed where there is none; None where it is to have none."""
        if group not in self._worth:
            return None
        if group not in self._zygotes:
            try:
                self._zygotes[group] = start()
            except (OSError, ValueError):
                self._worth.discard(group)  # each of its templates tells why, if there is a reason still
                return None
        return self._zygotes[group]

    def done_with_one(self, group):
        """Of the templates of a group one is not needed any more. Return the zygote that is none either, if there is one."""
        self._left[group] -= 1
        return self._remove(group) if self._left[group] <= 0 else None

    def give_up(self, zygote):
        """Have no zygote any more in place of this one; say whether it was one."""
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
