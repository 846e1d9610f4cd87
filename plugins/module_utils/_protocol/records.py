# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The records of a batch on the host: where they are (_protocol/batch_writer.py writes them), and how they are read back.

Below async_dir, which core's async uses too:

  <jid>                                 results file in core's format, one for each job
  .background_jobs/lock                 held, shared, while a batch is recorded; alone, to see whether one is there
                                        already, and to remove a batch's folder
  .background_jobs/<batch_id>/
      batch.json                        the jobs and the identity of the supervisor; written once
      journal                           a line of JSON for each change of state; only the supervisor
                                        appends, or if it is gone before its jobs end, whoever notices
      results/<index>.json              a result that the results file can't hold as it is
      tasks/<index>.json                what each task of a job with a block returned
      control                           FIFO: requests to the supervisor, one line of JSON each
      staged/<index>/                   files that the launch brought for a job, until it has ended
      output/                           what jobs that are running, or were ended, have read from their child processes
      reserve                           disk space for the journal when there is no other; while the batch runs
      run/                              what running jobs print; empty when the batch is done
      supervisor.log                    tracebacks, if any
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_lock,
    ids,
    journal,
    lost,
    place,
    results,
)
from ansible_collections.background.jobs.plugins.module_utils._protocol import output as _output
from ansible_collections.background.jobs.plugins.module_utils._system import files, json_text

PROTOCOL = 1
RESULT_LIMIT = results.READ_LIMIT
_RECORD_LIMIT = 256 * 1024 * 1024
_JOURNAL_LIMIT = 256 * 1024 * 1024
LOCK_PATIENCE = 1.0  # seconds to wait for a launch, during which no batch can be removed
_ASK_PATIENCE = 5.0  # seconds for a supervisor to read earlier requests
NO_ROOM = "The disk is full: the result could not be kept."
NOT_KEPT = "The result could not be kept: %s."
MOST_DEPENDENCIES = 50  # how many of a job's are reported


def started(jid):
    """Return the content that a results file has until its job ends."""
    return {"started": True, "finished": False, "ansible_job_id": jid}


class DamagedRecord(files.UnsafePath):
    """A record is not what a supervisor writes: cut off, or changed by others."""


class NewerRecord(files.UnsafePath):
    """A record was written by a later version of this collection, and can be understood only by that."""


class BatchReader(journal.JobStates):
    """The readers' side: the states of a batch according to its journal. `refresh` reads on from where it stopped."""

    def __init__(self, async_dir, batch_id, where=None):
        """where: the Place of the async directory, if it is open already."""
        self.async_dir = async_dir
        self.batch_id = batch_id
        self.path = os.path.join(async_dir, batch_lock.FOLDER, batch_id)
        self.where = where or place.Place(async_dir)
        self.header = self._read_header()
        super().__init__(len(self.header["jobs"]))
        if journal.is_integer(self.header.get("concurrency")):
            self.concurrency = self.header["concurrency"]
        self.elsewhere = None  # the name of the machine that it belongs to, if that is another one
        self._offset = 0
        self._rest = b""
        self._output = None
        self._folders = {}

    def open(self):
        """Return the Folder of the batch, opened anew each time: there may be more batches than a process may open files."""
        return self.where.batches.enter(self.batch_id)

    def _read_header(self):
        path = os.path.join(self.path, "batch.json")
        try:
            header = json_text.loads(files.read_own("batch.json", _RECORD_LIMIT, folder=self.open()))
        except ValueError as exc:
            raise DamagedRecord("%s is damaged: %s" % (path, exc)) from exc
        protocol = header.get("protocol", PROTOCOL) if isinstance(header, dict) else None
        if journal.is_integer(protocol) and protocol > PROTOCOL:
            raise NewerRecord(
                "%s is a record of protocol %d, but this version of background.jobs reads only up to %d: use the version that "
                "launched the batch, or a later one" % (path, protocol, PROTOCOL)
            )
        if not _is_header(header):
            raise DamagedRecord("%s is damaged: it is not the record of a batch" % path)
        return header

    def refresh(self):
        """Read what was appended to the journal; return the indexes of the jobs that have ended since."""
        data = files.read_own("journal", max(0, _JOURNAL_LIMIT - self._offset), self._offset, self.open())
        self._offset += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()  # a line that is still being written
        return self.take_in(lines)

    def take_rest(self):
        """Return the part of an incomplete line that has arrived, and forget it."""
        rest, self._rest = self._rest, b""
        return rest

    def declare_lost(self, why):
        """Declare every job lost that is not finished, unless its result says how it ended; see lost.py."""
        lost.declare(self, why)

    def final_result(self, index):
        """Return the result of a job that has ended, as a dict, None if its files hold none."""
        try:
            kept = self._text_of("results", index, RESULT_LIMIT)
            text = self._results_file(index, RESULT_LIMIT) if kept is None else kept
            result = json_text.loads(text) if text is not None else None
        except (ValueError, files.UnsafePath, OSError):
            return None
        # a final result with a key `started` is never in a results file
        is_final = isinstance(result, dict) and (kept is not None or "started" not in result)
        return result if is_final else None

    def result_text(self, index, limit=RESULT_LIMIT):
        """Return the JSON text of a finished job's result, or None if there is none (any more)."""
        text = self._text_of("results", index, limit)
        return self._results_file(index, limit) if text is None else text

    def _results_file(self, index, limit):
        try:
            jid = ids.jid_of(self.batch_id, index)
            return files.read_own(jid, limit, folder=self.where.jobs).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None

    def tasks_text(self, index):
        """Return the JSON text of the report on each task of a finished job, None if it is one task."""
        return self._text_of("tasks", index, RESULT_LIMIT)

    def _text_of(self, folder, index, limit):
        if not self._has(folder):
            return None
        try:
            path = os.path.join(folder, "%d.json" % index)
            return files.read_own(path, limit, folder=self.open()).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None

    def _has(self, name):
        """Say whether there is a folder of this name; anything else in its place is not looked into."""
        if not self._folders.get(name):  # it may be made later
            try:
                self._folders[name] = _is_folder(self.open().look(name))
            except FileNotFoundError:  # others have removed the batch
                self._folders[name] = False
        return self._folders[name]

    def forget(self, index):
        """Remove the record of a finished job, and the batch's when none is left; say whether there was one."""
        existed = files.remove(ids.jid_of(self.batch_id, index), self.where.jobs)
        try:
            folder = self.open()
        except FileNotFoundError:  # others have removed the batch
            return existed
        for name in ("results", "tasks"):
            if _is_folder(folder.look(name)):
                files.remove(os.path.join(name, "%d.json" % index), folder)
        self._output = self._output or _output.Output(self)  # can be reused: after the end of its jobs it only shrinks
        self._output.remove(index)
        return existed

    def remove_if_empty(self):
        """Remove the batch's own folder when none of its jobs has a results file any more.

        If a launch goes on for too long meanwhile, it stays: async_prune finds it.
        """
        if not self._is_empty():
            return False
        try:
            # under the lock: it might be a new folder by another launch with this id
            with batch_lock.lock(self.where, alone=True, patience=LOCK_PATIENCE):
                if not self._is_empty():
                    return False
                self._remove_folder()
        except (files.UnsafePath, OSError):
            return False  # for example on a read-only disk: it stays
        return True

    def _is_empty(self):
        return not any(self.where.jobs.look(ids.jid_of(self.batch_id, index)) for index in range(len(self.jobs)))

    def _remove_folder(self):
        try:
            folder = self.open()
            for name in ("batch.json", "journal"):  # most often that is all
                files.remove(name, folder)
            os.rmdir(self.batch_id, dir_fd=self.where.batches.fd)
        except OSError:
            files.try_to_remove_tree(self.batch_id, self.where.batches)

    def ask(self, request):
        """Hand the supervisor a request, a dict; False if no supervisor listens any more."""
        try:
            fd = files.open_own("control", stat.S_IFIFO, os.O_WRONLY, self.open())
        except (files.UnsafePath, FileNotFoundError, NotADirectoryError):
            return False
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # nobody has it open for reading
                return False
            raise
        try:
            # a line goes into the FIFO as a whole or not at all
            while select.select([], [fd], [], _ASK_PATIENCE)[1]:
                try:
                    os.write(fd, journal.line_of(request))
                    return True
                except BlockingIOError:
                    time.sleep(lost.LOCK_PAUSE)  # there is room, but not enough
            return False
        except BrokenPipeError:
            return False
        finally:
            os.close(fd)


def _is_folder(found):
    return found is not None and stat.S_ISDIR(found.st_mode)


def _is_header(header):
    """Say whether this can have been written as a batch.json."""
    if not isinstance(header, dict) or not journal.is_number(header.get("launched_at")):
        return False
    supervisor = header.get("supervisor")
    if not isinstance(supervisor, dict) or not {"pid", "start", "boot_id", "init_start"}.issubset(supervisor):
        return False
    if not isinstance(supervisor["pid"], int) or not isinstance(header.get("jobs"), list):
        return False
    return all(_is_job(job, len(header["jobs"])) for job in header["jobs"])


def _is_job(job, size):
    """Say whether this can have been written as a job of a batch.json with `size` of them."""
    if not isinstance(job, dict) or not isinstance(job.get("name"), str):
        return False
    others = job.get("depends_on", [])
    return isinstance(others, list) and all(journal.is_integer(other) and 0 <= other < size for other in others)
