# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Where jobs are recorded: the async directory, and in it the folder of all batches, each opened once."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._system import job_directory

FOLDER = ".background_jobs"


class Place:
    """An async directory, opened once: it stays the same directory, whatever somebody puts under its name later."""

    def __init__(self, async_dir):
        """FileNotFoundError if there is none, UnsafePath if others can change it, or swap it for another."""
        self.jobs = job_directory.open_checked(async_dir)  # the Folder of the results files
        self._batches = None

    @property
    def batches(self):
        """The Folder of all batches; FileNotFoundError, UnsafePath as above."""
        if self._batches is None:
            self._batches = self.jobs.enter(FOLDER)
        return self._batches

    def make_batches(self):
        """Return the Folder of all batches, which is made if it is missing."""
        self._batches = self.jobs.make(FOLDER)
        return self._batches


def at(where):
    """Return `where` as a Place; it may be one, or a path."""
    return where if isinstance(where, Place) else Place(where)
