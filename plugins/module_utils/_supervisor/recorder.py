# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Records what happens to the jobs, in a thread of its own: a disk takes milliseconds or more for each result, in which other
jobs can start. What comes meanwhile is written next: the slower the disk, the more results it gets at once."""

from __future__ import annotations

import os
import queue
import threading

from ansible_collections.background.jobs.plugins.module_utils._supervisor import outbox

_RETRY_DISK = 1.0  # seconds
_AT_ONCE = 8  # results that are written side by side
_ALONE = 2  # results for which one thread is quicker
_LARGE = 1024 * 1024  # characters from which on a result is written alone, because that takes several times its size


class Recorder:
    """Notes states, and the ends of jobs, and has them written in that order. Readable when something was written."""

    def __init__(self, writer, results, now):
        """writer: the BatchWriter, which the thread alone writes with from `start` to `close`; results: the Outbox;
        now: the clock, in seconds."""
        self._writer = writer
        self._outbox = results
        self._now = now
        self._noted = []  # entries of the journal, and Ends
        self._is_writing = False
        self._flushed = True  # whether the journal has taken all that was written last
        self._retry_at = None
        self._trouble = None
        self._orders = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._out, self._into = os.pipe()

    def note(self, **entry):
        """Note a state of a job, or a change for the whole batch, for the journal."""
        self._noted.append(entry)

    def end(self, end):
        """Note the End of a job: its result, and its state."""
        self._noted.append(end)

    def write(self):
        """Write what was noted, where there is no thread."""
        noted, self._noted = self._noted, []
        self._flushed = self._write(noted)
        self._leave_alone_if_full()

    def start(self):
        """From now on a thread writes, if the limits of the host allow one."""
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None

    def begin(self):
        """Have what was noted written, if nothing is being written and the disk is not to be left alone for a while."""
        late = self._retry_at is not None
        if self._is_writing or (late and self._now() < self._retry_at) or not (late or self._noted):
            return
        self._retry_at = None
        if self._thread is None:
            self.write()
            return
        noted, self._noted = self._noted, []
        self._is_writing = True
        self._orders.put(noted)

    def next_due(self):
        """Return the time at which `begin` tries again what the disk did not take, None if there is nothing."""
        return self._retry_at

    @property
    def is_done(self):
        """Whether all that was noted is written, or there is no hope that it ever will be."""
        return not self._is_writing and (self._writer.is_hopeless or not (self._noted or self._retry_at))

    def fileno(self):
        return self._out

    def read(self):
        """Take notice that something was written. What went wrong in the thread, and is a defect, is raised here."""
        os.read(self._out, 1)
        self._is_writing = False
        if self._trouble is not None:
            raise self._trouble
        self._leave_alone_if_full()

    def _leave_alone_if_full(self):
        if not self._flushed:
            self._retry_at = self._now() + _RETRY_DISK

    def close(self):
        """End the thread, once it has written what it is writing."""
        self._orders.put(None)
        if self._thread is not None:
            self._thread.join()
        for fd in (self._out, self._into):
            os.close(fd)

    def _work(self):
        for noted in iter(self._orders.get, None):
            try:
                self._flushed = self._write(noted)
            except BaseException as exc:  # it is for the supervisor to say
                self._trouble = exc
            os.write(self._into, b".")

    def _write(self, noted):
        ends = [one for one in noted if isinstance(one, outbox.End)]
        entries = self._write_results(ends)
        for one in noted:
            entry = entries[one.index] if isinstance(one, outbox.End) else one
            (self._writer.note if "job" in entry else self._writer.note_batch)(**entry)
        return self._writer.flush()

    def _write_results(self, ends):
        """Return {index of a job: what is to be noted of its end}."""
        small = [end for end in ends if _size(end) < _LARGE]
        if len(small) <= _ALONE:
            return {end.index: self._outbox.write(end) for end in ends}
        entries = {end.index: self._outbox.write(end) for end in ends if _size(end) >= _LARGE}
        self._write_side_by_side(small, entries)
        return entries

    def _write_side_by_side(self, left, entries):
        """Write the results that are `left`, and add to `entries`."""
        count, troubles = len(left), []

        def work():
            while True:
                try:
                    end = left.pop()
                except IndexError:
                    return
                try:
                    entries[end.index] = self._outbox.write(end)
                except BaseException as exc:  # it is for the supervisor to say
                    troubles.append(exc)

        helpers = []
        for dummy in range(1, min(count, _AT_ONCE)):
            helper = threading.Thread(target=work, daemon=True)
            try:
                helper.start()
            except RuntimeError:  # a limit of the host
                break
            helpers.append(helper)
        work()
        for helper in helpers:
            helper.join()
        if troubles:
            raise troubles[0]


def _size(end):
    return len(end.outcome.text) + len(end.tasks or "")
