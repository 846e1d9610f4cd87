# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Checks what a supervisor receives: requests from whoever may write to its FIFO, and frames from template processes."""

from __future__ import annotations

import math
import signal

from ansible_collections.background.jobs.plugins.module_utils._system import json_text


def _is_count(value, least=0):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def request_in(line):
    """Return the dictionary that a line of the FIFO holds, None if it holds none."""
    try:
        request = json_text.loads(line)
    except ValueError:
        return None
    return request if isinstance(request, dict) else None


def cancel_in(request, size):
    """Return (indexes, grace, signal) of a request to end jobs of a batch of `size`, None if it is no valid one."""
    indexes, grace, number = request.get("cancel"), request.get("grace"), request.get("signal", int(signal.SIGTERM))
    if not isinstance(indexes, list) or not all(_is_count(index) and index < size for index in indexes):
        return None
    if not _is_seconds(grace) or not _is_count(number) or number not in signal.valid_signals():
        return None
    return indexes, grace, number


def concurrency_in(request):
    """Return how many jobs a request wants to run at once from now on, None if it does not ask for that."""
    wanted = request.get("concurrency")
    return wanted if _is_count(wanted) else None


def _is_seconds(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return value >= 0 and math.isfinite(value)
    except OverflowError:
        return False


def is_frame(frame):
    """Say whether this is a valid frame from a template about a call."""
    if not isinstance(frame, dict) or not _is_count(frame.get("job")) or not _is_count(frame.get("call")):
        return False
    if "pid" in frame:
        return _is_count(frame["pid"], 2) and _is_seconds(frame.get("began"))
    if "error" in frame:
        return isinstance(frame["error"], str)
    status, brief = frame.get("status"), frame.get("brief", {})
    return _is_count(status, -signal.NSIG) and isinstance(brief, dict) and set(brief) <= {"failed", "changed", "rc"}
