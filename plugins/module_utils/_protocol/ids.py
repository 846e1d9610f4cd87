# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The ids of jobs and batches, and the check that one is not a path."""

from __future__ import annotations

import re

_BATCH_ID = re.compile(r"b([0-9]{15})\Z")
_JID = re.compile(r"j([0-9]{15})\.(0|[1-9][0-9]{0,6})\Z")
_ANY_JID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


def jid_of(batch_id, index):
    """Return the job id of a batch's job."""
    return "j%s.%d" % (batch_id[1:], index)


def parse_jid(jid):
    """Return (batch_id, index) of a job id of this collection, or None."""
    found = _JID.match(jid)
    return ("b" + found.group(1), int(found.group(2))) if found else None


def is_jid(text):
    """Say whether `text` can be a job id, core's or ours, and so can't lead out of its directory."""
    return bool(_ANY_JID.match(text))


def is_batch_id(text):
    """Say whether `text` can be a batch id."""
    return bool(_BATCH_ID.match(text))
