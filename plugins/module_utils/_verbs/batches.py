# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The batches that a call asks for, read once and then followed."""

from __future__ import annotations

import os

from ansible_collections.background.jobs.plugins.module_utils._protocol import place, records
from ansible_collections.background.jobs.plugins.module_utils._system import files, processes

_WHY_LOST = {processes.GONE: "its supervisor was gone", processes.RESTARTED: "the host restarted"}


class Batches:
    """The batches that a call asks for, by (directory, batch id)."""

    def __init__(self, watcher=None):
        """watcher: an inotify.Watcher to add their journals to."""
        self._watcher = watcher
        self._readers = {}
        self._places = {}
        self.boot = processes.Boot()

    def place(self, directory):
        """Return the Place of an async directory, opened once; raises what Place raises."""
        if directory not in self._places:
            self._places[directory] = place.Place(directory)
        return self._places[directory]

    def get(self, directory, batch_id):
        """Return the reader of a batch, or None if there is no such batch in this directory."""
        key = (directory, batch_id)
        if key not in self._readers:
            try:
                reader = records.BatchReader(directory, batch_id, self.place(directory))
                reader.elsewhere = self.boot.elsewhere(reader.header["supervisor"])
                if self._watcher:
                    self._watcher.add(os.path.join(reader.path, "journal"))
                reader.refresh()
            except FileNotFoundError as exc:
                if exc.filename and os.path.lexists(os.path.join(os.path.dirname(exc.filename), "batch.json")):
                    raise  # it has lost its journal
                reader = None
            self._readers[key] = reader
        return self._readers[key]

    def refresh(self, look_for_processes):
        """Read on. Return {reader: why} of the batches whose record can't be read any more, which are given up."""
        lost = {}
        for key, reader in self._readers.items():
            if reader is None or not reader.unfinished:  # nothing changes any more
                continue
            try:
                reader.refresh()
                if look_for_processes and reader.unfinished:
                    why = processes.why_gone(reader.header["supervisor"], self.boot)
                    if why:
                        reader.declare_lost(_WHY_LOST[why])
            except (files.UnsafePath, OSError) as exc:
                lost[reader] = exc
                self._readers[key] = None
        return lost


def look_up(directory, batch_id):
    """Return the reader of a batch as it is now, None if there is no record of it; raises what BatchReader raises."""
    batches = Batches()
    batches.get(directory, batch_id)
    batches.refresh(look_for_processes=True)
    return batches.get(directory, batch_id)
