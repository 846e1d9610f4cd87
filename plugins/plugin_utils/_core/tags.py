# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Which tasks a play leaves out by their tags."""

from __future__ import annotations

import typing as t
from collections.abc import Collection


def is_left_out(tags: Collection[str], play: t.Any) -> bool:
    """Do the same as Taggable.evaluate_tags."""
    given = set(tags) or {"untagged"}
    return not _is_chosen(given, set(play.only_tags)) or _is_skipped(given, set(play.skip_tags))


def _is_chosen(tags: set[str], only: set[str]) -> bool:
    if not only or "always" in tags or tags & only:
        return True
    if "never" in tags:
        return False
    return "all" in only or ("tagged" in only and tags != {"untagged"})


def _is_skipped(tags: set[str], skipped: set[str]) -> bool:
    if "all" in skipped:
        return "always" not in tags or "always" in skipped
    return bool(tags & skipped) or ("tagged" in skipped and tags != {"untagged"})
