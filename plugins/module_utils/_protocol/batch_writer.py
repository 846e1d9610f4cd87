# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The supervisor's side of the records of a batch (the files: _protocol/records.py)."""

from __future__ import annotations

import errno
import json
import os
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_lock,
    ids,
    journal,
    output,
    place,
    records,
    results,
    states,
)
from ansible_collections.background.jobs.plugins.module_utils._system import files

_RESERVED = 256  # bytes of disk space reserved for the end of each job: some lines of the journal
_PAGE = 4096
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Bytes from which on a journal takes only what it must: it has to stay far below the size that readers accept.
_LOUD = 64 * 1024 * 1024
_GIVE_UP = (
    300.0  # seconds to retry writing the journal, if the trouble is not a full disk, once there is nothing more to do
)
_TEMPORARY = "result.%d.tmp"  # in the batch's own folder: beside the results files, others may be able to make files


class BatchExists(Exception):
    """A batch of this id has a folder already."""


class BatchWriter:
    """The only writer of states and results while the supervisor lives."""

    def __init__(self, async_dir, batch_id, now=time.monotonic):
        self.async_dir = async_dir
        self.batch_id = batch_id
        self.path = os.path.join(async_dir, batch_lock.FOLDER, batch_id)
        self.run_path = os.path.join(self.path, "run")
        self.folder = None  # the Folder at `path`, from `create` on
        self.run = None  # the Folder at `run_path`
        self.control = None  # the file descriptor that requests arrive at
        self._now = now
        self._place = None
        self._journal = None
        self._pending = []
        self._must_sync = False
        self._unsynced = {}  # path: Folder, of those whose directory entries are still to be synchronised
        self._is_torn = False  # whether the journal ends in a part of a line
        self._size = 0  # of the journal, including what is pending
        self._told = {}  # index: (state, attempt) of a job as the journal has it
        self._broken_since = None

    def create(self, header, jids, write_more=lambda: None):
        """Write what a reader needs before the first job starts. On an OSError nothing is left behind.

        BatchExists if there is a batch of this id, which is left as it is.
        header: the value of batch.json; jids: those of the jobs, in order; write_more: writes more into the folder.
        """
        self._place = place.Place(self.async_dir)
        batches = self._place.make_batches()
        try:
            os.mkdir(self.batch_id, 0o700, dir_fd=batches.fd)
        except FileExistsError as exc:
            raise BatchExists("there is a batch %s already" % self.batch_id) from exc
        made = []
        try:
            self.folder = batches.make(self.batch_id)
            self.run = self.folder.make("run")
            self.folder.make(output.FOLDER)
            self._open_control()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._journal = os.open("journal", flags, 0o600, dir_fd=self.folder.fd)
            for jid in jids:
                self._write_started(jid)
                made.append(jid)
            write_more()
            self._write("reserve", b"\0" * max(_PAGE, _RESERVED * len(jids)), durable=False)
            self._write("batch.json", json.dumps(header).encode("ascii"))
            for folder in (self.folder, batches, self._place.jobs):
                folder.sync()
        except OSError:
            for jid in made:
                files.remove(jid, self._place.jobs)
            files.try_to_remove_tree(self.batch_id, batches)
            raise

    def _write(self, path, data, durable=True):
        """Write a file in the batch's folder."""
        temporary = (self.folder, path.replace("/", "-") + ".tmp")
        files.write_atomically(path, data, durable, self.folder, temporary)

    def _write_started(self, jid):
        fd = os.open(jid, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._place.jobs.fd)
        try:
            files.write_all(fd, json.dumps(records.started(jid)).encode("ascii"))
        except OSError:
            files.remove(jid, self._place.jobs)
            raise
        finally:
            os.close(fd)

    def _open_control(self):
        # Before anybody can know of the batch, so that no request is lost, however early.
        os.mkfifo("control", 0o600, dir_fd=self.folder.fd)
        # opened for writing too, so that there is no end of file when a writer goes
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        self.control = os.open("control", flags, dir_fd=self.folder.fd)

    def open_log(self):
        """Return a file descriptor for tracebacks."""
        return self.folder.opener("supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, durable=False, **entry):
        """Put a change of state into the journal at the next `flush`; `durable`: it must outlast a power cut."""
        entry = self._worth_telling(entry)
        if entry is not None:
            self._pending.append(journal.line_of(entry))
            self._size += len(self._pending[-1])
            self._must_sync = self._must_sync or durable

    def note_batch(self, **entry):
        """Put a change for the whole batch into the journal at the next `flush`."""
        self._pending.append(journal.line_of(entry))
        self._size += len(self._pending[-1])

    def _worth_telling(self, entry):
        """Return what the journal takes of an entry, None if it is so long that it leaves the entry out.

        A job that is tried again has two lines per attempt: beyond some size the journal takes only the first start
        of each job and its end, which then has the number of attempts.
        """
        index, state = entry["job"], entry["state"]
        told = self._told.get(index)
        if self._size > _LOUD and told is not None:
            if state == states.QUEUED or (state == states.RUNNING and told[0] == states.RUNNING):
                self._told[index] = (told[0], max(told[1], entry["attempt"]))
                return None
            if state in states.TERMINAL:
                entry = dict(entry, attempt=told[1])
        if state in states.TERMINAL:
            self._told.pop(index, None)
        else:
            self._told[index] = (state, entry["attempt"])
        return entry

    def flush(self):
        """Write what was noted; False if the disk would not take it: then it is kept for the next time."""
        if not self._pending and not self._must_sync:
            return True
        try:
            self._sync_names()  # before the journal says that there is a result
            if self._pending:
                data = b"".join(self._pending)
                if not self._append(data) and not (self._give_way(len(data)) and self._append(data)):
                    return False
                self._pending = []
            if self._must_sync:
                os.fsync(self._journal)
                self._must_sync = False
        except OSError:
            # a faulty device, or a limit on file sizes: the jobs go on, and it may work again later
            self._broken_since = self._broken_since or self._now()
            return False
        self._broken_since = None
        return True

    @property
    def is_hopeless(self):
        """Whether the journal could not be written for so long that waiting any longer is pointless."""
        return self._broken_since is not None and self._now() >= self._broken_since + _GIVE_UP

    def _sync_names(self):
        while self._unsynced:
            path, folder = next(iter(self._unsynced.items()))
            folder.sync()
            del self._unsynced[path]

    def _append(self, data):
        """Write to the journal; False if the disk is full."""
        size = os.fstat(self._journal).st_size
        try:
            files.write_all(self._journal, b"\n" + data if self._is_torn else data)
        except OSError as exc:
            self._cut(size)  # whole lines or none
            if exc.errno not in _DISK_FULL:
                raise
            return False
        self._is_torn = False
        return True

    def _cut(self, size):
        try:
            os.ftruncate(self._journal, size)
        except OSError:
            self._is_torn = True  # what follows begins a new line

    def _give_way(self, size):
        """Free so many bytes of the reserve; say whether there were any."""
        try:
            fd = self.folder.opener("reserve", os.O_WRONLY)
        except FileNotFoundError:
            return False
        try:
            reserved = os.fstat(fd).st_size
            os.ftruncate(fd, max(0, reserved - size - _PAGE) // _PAGE * _PAGE)
        finally:
            os.close(fd)
        return reserved > 0

    def write_result(self, index, outcome, durable=True, state=None):
        """Write the final results file of a job; False if there was room only for the bare fact of its end.

        state: the one it ended in, written too if its result does not imply it. OSError if nothing can be written.
        """
        jid = ids.jid_of(self.batch_id, index)
        text = results.with_state(outcome, state)
        try:
            if "started" in outcome.result:
                # core's async_status would read it as still running
                self._note_names(durable, self.folder.make("results"), self.folder)
                self._write("results/%d.json" % index, text.encode("utf-8", "surrogateescape"), durable)
                kept = {key: value for key, value in outcome.result.items() if key != "started"}
                text = results.with_state(results.Outcome(json.dumps(kept), kept, *outcome[2:]), state)
            data = text.encode("utf-8", "surrogateescape")
            files.write_atomically(jid, data, durable, self._place.jobs, (self.folder, _TEMPORARY % index))
        except (OSError, files.UnsafePath) as exc:
            is_full = isinstance(exc, OSError) and exc.errno in _DISK_FULL
            self._write_in_place(jid, outcome, state, records.NO_ROOM if is_full else records.NOT_KEPT % exc)
            if is_full:
                return False
            raise
        self._note_names(durable, self._place.jobs)
        return True

    def _note_names(self, durable, *folders):
        if durable:
            self._unsynced.update((folder.path, folder) for folder in folders)

    def write_tasks(self, index, text, durable=True):
        """Write the report on each task of a job, text or bytes; left out if the disk does not take it."""
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        try:
            self._note_names(durable, self.folder.make("tasks"), self.folder)
            self._write("tasks/%d.json" % index, data, durable)
        except (OSError, files.UnsafePath):
            pass  # its result is what matters most

    def _write_in_place(self, jid, outcome, state, message):
        # The file has a block on the disk since it was started: there is room for a short result, however full the disk is.
        short = results.of({"failed": outcome.failed, "changed": outcome.changed, "msg": message})
        files.write_in_place(jid, results.with_state(short, state).encode("ascii"), self._place.jobs)

    def close(self):
        """Remove what only a running batch needs."""
        os.close(self.control)
        for name in ("control", "reserve"):
            files.remove(name, self.folder)
        files.try_to_remove_tree("run", self.folder)
        try:
            os.rmdir(output.FOLDER, dir_fd=self.folder.fd)
        except OSError:
            pass  # it keeps the output of jobs that were ended
        log = self.folder.look("supervisor.log")
        if log is not None and not log.st_size:
            files.remove("supervisor.log", self.folder)
