# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The states of a job, and which may follow which. No dependencies: both halves of the collection read it."""

from __future__ import annotations

QUEUED = "queued"
RUNNING = "running"
SUCCEEDED = "succeeded"
FAILED = "failed"
TIMED_OUT = "timed_out"
CANCELLED = "cancelled"
SKIPPED = "skipped"
LOST = "lost"

ALL = (QUEUED, RUNNING, SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, SKIPPED, LOST)
TERMINAL = frozenset((SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, SKIPPED, LOST))
# The terminal states in which a job did not do its work, so that a task that waits for it fails.
UNSUCCESSFUL = frozenset((FAILED, TIMED_OUT, CANCELLED, LOST))

_NEXT = {
    QUEUED: frozenset((RUNNING, SKIPPED, CANCELLED, FAILED, LOST)),
    # back to queued: a retry
    RUNNING: frozenset((SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST, QUEUED)),
}


class IllegalTransition(ValueError):
    """A job was told to take a state that cannot follow the one it has."""


def advance(current, following):
    """Return `following` if it may follow `current`, else raise IllegalTransition."""
    if following not in _NEXT.get(current, ()):
        raise IllegalTransition("a job cannot go from %s to %s" % (current, following))
    return following
