# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The supervisor's side of the records of a batch (what stands where: _protocol/records.py)."""

from __future__ import annotations

import errno
import json
import os

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_lock, ids, output, records
from ansible_collections.background.jobs.plugins.module_utils._system import files

_RESERVED = 256  # bytes of the disk that are kept for the end of each job: some lines of the journal
_PAGE = 4096
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class BatchExists(Exception):
    """A batch of this id has a folder already."""


class BatchWriter:
    """The only writer of states and results while the supervisor lives."""

    def __init__(self, async_dir, batch_id):
        self.async_dir = async_dir
        self.batch_id = batch_id
        self.path = os.path.join(async_dir, batch_lock.FOLDER, batch_id)
        self.run_path = os.path.join(self.path, "run")
        self.control = None  # the file descriptor that requests arrive at
        self._reserve = os.path.join(self.path, "reserve")
        self._journal = None
        self._pending = []
        self._must_sync = False

    def create(self, header, jids, write_more=lambda: None):
        """Write what a reader needs before the first job starts. On an OSError nothing is left behind.

        BatchExists where there is a batch of this id: it is left as it is.
        header: the value of batch.json; jids: those of the jobs, in order; write_more: writes more into the folder.
        """
        files.private_directory(os.path.dirname(self.path))
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError as exc:
            raise BatchExists("there is a batch %s already" % self.batch_id) from exc
        made = []
        try:
            os.mkdir(self.run_path, 0o700)
            os.mkdir(os.path.join(self.path, output.FOLDER), 0o700)
            self._open_control()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._journal = os.open(os.path.join(self.path, "journal"), flags, 0o600)
            for jid in jids:
                self._write_started(jid)
                made.append(jid)
            write_more()
            files.write_atomically(self._reserve, b"\0" * max(_PAGE, _RESERVED * len(jids)), durable=False)
            files.write_atomically(os.path.join(self.path, "batch.json"), json.dumps(header).encode("ascii"))
        except OSError:
            for jid in made:
                files.remove(os.path.join(self.async_dir, jid))
            files.try_to_remove_tree(self.path)
            raise

    def _write_started(self, jid):
        path = os.path.join(self.async_dir, jid)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            text = json.dumps({"started": True, "finished": False, "ansible_job_id": jid})
            files.write_all(fd, text.encode("ascii"))
        except OSError:
            files.remove(path)
            raise
        finally:
            os.close(fd)

    def _open_control(self):
        # Before anybody can know of the batch: what is asked of a batch that was launched just now is not lost.
        path = os.path.join(self.path, "control")
        os.mkfifo(path, 0o600)
        # opened for writing too, so that it is never at its end when a writer goes
        self.control = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def open_log(self):
        """Return a file descriptor for tracebacks."""
        return os.open(os.path.join(self.path, "supervisor.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, durable=False, **entry):
        """Put a change of state into the journal at the next `flush`; `durable`: it must outlast a power cut."""
        self._pending.append(records.line_of(entry))
        self._must_sync = self._must_sync or durable

    def flush(self):
        """Write what was noted; False where the disk would not take it, which is then kept for the next time."""
        if not self._pending:
            return True
        data = b"".join(self._pending)
        if not self._append(data) and not (self._give_way(len(data)) and self._append(data)):
            return False
        self._pending = []
        if self._must_sync:
            os.fsync(self._journal)
            self._must_sync = False
        return True

    def _append(self, data):
        """Write to the journal; False where the disk is full."""
        size = os.fstat(self._journal).st_size
        try:
            files.write_all(self._journal, data)
        except OSError as exc:
            if exc.errno not in _DISK_FULL:
                raise
            os.ftruncate(self._journal, size)  # whole lines or none
            return False
        return True

    def _give_way(self, size):
        """Give up so many bytes of what is reserved; say whether there were any."""
        try:
            reserved = os.path.getsize(self._reserve)
            os.truncate(self._reserve, max(0, reserved - size - _PAGE) // _PAGE * _PAGE)
        except FileNotFoundError:
            return False
        return reserved > 0

    def write_result(self, index, outcome, durable=True):
        """Write the final results file of a job; False where only the bare fact of its end found room."""
        jid = ids.jid_of(self.batch_id, index)
        path = os.path.join(self.async_dir, jid)
        text = outcome.text
        try:
            if "started" in outcome.result:
                # core's async_status would read it as still running
                folder = os.path.join(self.path, "results")
                files.private_directory(folder)
                files.write_atomically(
                    os.path.join(folder, "%d.json" % index), text.encode("utf-8", "surrogateescape"), durable
                )
                text = json.dumps({key: value for key, value in outcome.result.items() if key != "started"})
            files.write_atomically(path, text.encode("utf-8", "surrogateescape"), durable)
        except OSError as exc:
            if exc.errno not in _DISK_FULL:
                raise
            self._write_in_place(path, outcome)
            return False
        return True

    def write_tasks(self, index, text, durable=True):
        """Write what is told of each task of a job, text or bytes; left out where the disk is full."""
        folder = os.path.join(self.path, "tasks")
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        try:
            files.private_directory(folder)
            files.write_atomically(os.path.join(folder, "%d.json" % index), data, durable)
        except OSError as exc:
            if exc.errno not in _DISK_FULL:
                raise

    def _write_in_place(self, path, outcome):
        # The block that the first state of the file stands in is ours, however full the disk is.
        short = {
            "failed": outcome.failed,
            "changed": outcome.changed,
            "msg": records.NO_ROOM,
        }
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            data = json.dumps(short).encode("ascii")
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
        finally:
            os.close(fd)

    def close(self):
        """Remove what only a running batch needs."""
        os.close(self.control)
        files.remove(os.path.join(self.path, "control"))
        files.remove(self._reserve)
        files.try_to_remove_tree(self.run_path)
        try:
            os.rmdir(os.path.join(self.path, output.FOLDER))
        except OSError:
            pass  # it keeps the output of jobs that were ended
        log = os.path.join(self.path, "supervisor.log")
        if os.path.exists(log) and not os.path.getsize(log):
            os.unlink(log)
