# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The defaults of what a plan leaves out."""

from __future__ import annotations

DELAY = 5.0  # seconds before a further attempt
BACKOFF = 1.0  # by what the delay is multiplied before each one after it
ALWAYS_TIMEOUT = 60.0  # seconds for `always` sections, once a job is told to end
