# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What a supervisor knows of a job while it runs."""

from __future__ import annotations


class RunningJob:
    """An attempt of a job that is under way."""

    __slots__ = ("attempt", "call", "is_noted", "output_is_kept", "short_of_memory")

    def __init__(self, attempt):
        self.attempt = attempt  # attempts.Attempt or script_client.ScriptAttempt: what it does next
        self.call = None  # module_call.ModuleCall: the call that it has under way
        self.is_noted = False  # whether the journal says that it runs
        self.output_is_kept = False  # whether its output outlasts it, because one of its calls was ended
        self.short_of_memory = None  # why the kernel killed something of it
