# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""How several calls make one task."""

from __future__ import annotations

_KINDS = {}


def begin(spec):
    """Return the generator of a recipe: it yields the index of a call, is sent its result, and returns the task's."""
    return _KINDS[spec["kind"]](spec)
