# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The records of a batch on the host: who wrote what where (_protocol/batch_writer.py), and how it is read back.

Below async_dir, which core's async uses too:

  <jid>                                 results file of core's protocol, one a job
  .background_jobs/lock                 held, shared, while a batch is recorded; alone, to look whether one is there
                                        already, and to remove a batch's folder
  .background_jobs/<batch_id>/
      batch.json                        the jobs and the identity of the supervisor; written once
      journal                           a line of JSON a change of state; only the supervisor appends,
                                        and when it is gone before its jobs, whoever finds that out
      results/<index>.json              a result that the results file can't hold as it is
      tasks/<index>.json                what each task of a job with a block returned
      control                           FIFO: requests to the supervisor, a line of JSON each
      staged/<index>/                   files that the launch brought for a job, until it has ended
      output/                           what jobs that run, or were ended, have read from their child processes
      reserve                           room on the disk that the journal gets when there is no other; while it runs
      run/                              what running jobs print; empty when the batch is done
      supervisor.log                    tracebacks, if any
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import stat
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_lock, ids, results, staged, states
from ansible_collections.background.jobs.plugins.module_utils._protocol import output as _output
from ansible_collections.background.jobs.plugins.module_utils._system import files

PROTOCOL = 1
RESULT_LIMIT = results.READ_LIMIT
_RECORD_LIMIT = 256 * 1024 * 1024
_JOURNAL_LIMIT = 256 * 1024 * 1024
_LOST_LOCK_TRIES, _LOST_LOCK_PAUSE = 50, 0.02
_ASK_PATIENCE = 5.0  # seconds that a supervisor may take to read what it was asked before
NO_ROOM = "The disk is full: the result could not be kept."


def line_of(entry):
    """Return a line of a journal, or of a request."""
    return json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"


class DamagedRecord(files.UnsafePath):
    """A record is not what a supervisor writes: cut off, or changed by others."""


class BatchReader:
    """Anybody's side: the states of a batch as its journal tells them. `refresh` reads on from where it was."""

    def __init__(self, async_dir, batch_id):
        self.async_dir = async_dir
        self.batch_id = batch_id
        self.path = os.path.join(async_dir, batch_lock.FOLDER, batch_id)
        for folder in (os.path.dirname(self.path), self.path):
            files.check_own_directory(folder)
        self.header = self._read_header()
        queued = {"state": states.QUEUED, "attempts": 0, "started_at": None, "ended_at": None}
        self.jobs = [dict(queued) for dummy in self.header["jobs"]]
        self.unfinished = len(self.jobs)
        self.pids = set()  # of the calls that jobs have made, as far as the journal names their processes
        self._offset = 0
        self._rest = b""
        self._output = None
        self._folders = {}

    def _read_header(self):
        path = os.path.join(self.path, "batch.json")
        try:
            header = json.loads(files.read_own(path, _RECORD_LIMIT))
        except (ValueError, RecursionError) as exc:
            raise DamagedRecord("%s is damaged: %s" % (path, exc)) from exc
        if not _is_header(header):
            raise DamagedRecord("%s is damaged: it is not the record of a batch" % path)
        return header

    def refresh(self):
        """Take in what was appended to the journal; return the indexes of the jobs that have ended since."""
        data = files.read_own(os.path.join(self.path, "journal"), _JOURNAL_LIMIT, self._offset)
        self._offset += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()  # a line that is still being written
        return self._take_in(lines)

    def _take_in(self, lines):
        ended = []
        for line in lines:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):  # what a writer that was killed had begun
                continue
            if _is_entry(entry, len(self.jobs)) and self.jobs[entry["job"]]["state"] not in states.TERMINAL:
                self._apply(entry)
                if entry["state"] in states.TERMINAL:
                    self.unfinished -= 1
                    ended.append(entry["job"])
        return ended

    def _apply(self, entry):
        job = self.jobs[entry["job"]]
        job["state"] = entry["state"]
        if entry["state"] == states.RUNNING:
            job.update(attempts=entry["attempt"], pid=entry.get("pid"), start=entry.get("start"))
            job["started_at"] = job["started_at"] or entry["at"]
            if entry.get("start") is not None:
                self.pids.add(entry["pid"])
        elif entry["state"] == states.QUEUED:
            attempt = {
                "attempt": entry["attempt"],
                "state": entry["was"],
                "ended_at": entry["at"],
                "msg": entry["msg"],
            }
            job.setdefault("failed_attempts", []).append(attempt)
        else:
            job.update(ended_at=entry["at"], msg=entry.get("msg"))

    def declare_lost(self, why):
        """Take every job that is not finished for lost, unless its result tells how it ended.

        To be called when the supervisor is gone: then nobody else will ever say it. It is written down too, so that
        core's async_status and other readers say the same. Of several readers one writes; where another is at it and
        does not come to an end, nothing is concluded, and the next look tells.
        """
        journal = self._open_journal()
        try:
            if journal is not None:
                if not _locked(journal):
                    return
                self.refresh()  # it may have been done meanwhile, or the supervisor's last lines have come
            self._conclude(why, journal)
        finally:
            if journal is not None:
                os.close(journal)

    def _open_journal(self):
        """Return a file descriptor to append to the journal with, None where that is not possible (a read-only disk)."""
        try:
            return files.open_own(os.path.join(self.path, "journal"), flags=os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            raise
        except OSError:
            return None

    def _conclude(self, why, journal):
        rest, self._rest = self._rest, b""
        self._take_in([rest])  # all of a line but its end may have come
        now, lines = round(time.time(), 6), []
        output = _output.Output(self.path)
        for index, job in enumerate(self.jobs):
            if job["state"] in states.TERMINAL:
                continue
            result = self._final_result(index)
            if result is None:
                job.update(state=states.LOST, ended_at=now, msg=self._lost(why))
                self._write_lost(index, job["msg"], output)
            else:
                job.update(state=states.FAILED if results.has_failed(result) else states.SUCCEEDED, ended_at=now)
            message = {"msg": job["msg"]} if job.get("msg") else {}
            lines.append(line_of(dict(message, job=index, state=job["state"], at=now)))
        self.unfinished = 0
        if not lines and not rest:
            return
        staged.remove_all(self.path)
        self._tidy_run()
        if journal is not None:
            try:
                # the first of them ends what a writer that was killed had begun
                files.write_all(journal, b"\n" + b"".join(lines))
            except OSError:
                pass  # a disk that is full: whoever reads next finds the same

    def _lost(self, why):
        log = os.path.join(self.path, "supervisor.log")
        try:
            said = "; what it said last stands in %s" % log if os.lstat(log).st_size else ""
        except OSError:
            said = ""
        return "lost: %s before the job returned a result%s" % (why, said)

    def _tidy_run(self):
        """Remove what running jobs had there, arguments among it, but for what they have printed, which goes with their record."""
        folder = os.path.join(self.path, "run")
        if not self._has("run"):
            return
        for name in os.listdir(folder):
            if not _output.is_kept_in_run(name):
                files.try_to_remove_tree(os.path.join(folder, name))
        try:
            os.rmdir(folder)
        except OSError:
            pass  # something was printed

    def _write_lost(self, index, message, output):
        path = os.path.join(self.async_dir, ids.jid_of(self.batch_id, index))
        if not os.path.lexists(path):  # it was forgotten
            return
        result = {"failed": True, "changed": False, "msg": message}
        printed = {}
        if output.size(index) is not None:
            printed = _output.told(*(_output.shown(output.read(index, stream)) for stream in _output.STREAMS))
        for more in (printed, {}):  # what it printed is the first to go where there is no room
            try:
                files.write_atomically(path, json.dumps(dict(result, **more)).encode("ascii"))
                return
            except OSError:
                continue

    def _final_result(self, index):
        """Return the result of a job that has ended, as a dict, None where its files tell of none."""
        try:
            text = self.result_text(index)
            result = json.loads(text) if text is not None else None
        except (ValueError, RecursionError, files.UnsafePath, OSError):
            return None
        return result if isinstance(result, dict) and result.get("finished") is not False else None

    def result_text(self, index, limit=RESULT_LIMIT):
        """Return the JSON text of a finished job's result, or None where there is none (any more)."""
        text = self._text_of("results", index, limit)
        if text is not None:
            return text
        try:
            path = os.path.join(self.async_dir, ids.jid_of(self.batch_id, index))
            return files.read_own(path, limit).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None

    def tasks_text(self, index):
        """Return the JSON text that tells of each task of a finished job, None where it is one task."""
        return self._text_of("tasks", index, RESULT_LIMIT)

    def _text_of(self, folder, index, limit):
        if not self._has(folder):
            return None
        try:
            path = os.path.join(self.path, folder, "%d.json" % index)
            return files.read_own(path, limit).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None

    def _has(self, name):
        """Say whether there is a folder of this name; anything else in its place is not looked into."""
        if not self._folders.get(name):  # it may come yet
            try:
                self._folders[name] = stat.S_ISDIR(os.lstat(os.path.join(self.path, name)).st_mode)
            except OSError:
                self._folders[name] = False
        return self._folders[name]

    def forget(self, index):
        """Remove the record of a finished job, and the batch's when none is left; say whether there was one."""
        existed = files.remove(os.path.join(self.async_dir, ids.jid_of(self.batch_id, index)))
        for folder in ("results", "tasks"):
            if self._has(folder):
                files.remove(os.path.join(self.path, folder, "%d.json" % index))
        self._output = self._output or _output.Output(self.path)  # its jobs have ended: it only shrinks
        self._output.remove(index)
        return existed

    def remove_if_empty(self):
        """Remove the batch's own folder when none of its jobs has a results file any more."""
        try:
            # alone, or it might be a folder that was made just now by another launch with this id
            with batch_lock.lock(self.async_dir, alone=True):
                for index in range(len(self.jobs)):
                    if os.path.lexists(os.path.join(self.async_dir, ids.jid_of(self.batch_id, index))):
                        return False
                self._remove_folder()
        except (files.UnsafePath, OSError):
            return False  # a disk that is read-only: it stays
        return True

    def _remove_folder(self):
        try:
            for name in ("batch.json", "journal"):  # most often that is all
                files.remove(os.path.join(self.path, name))
            os.rmdir(self.path)
        except OSError:
            files.try_to_remove_tree(self.path)

    def ask(self, request):
        """Hand the supervisor a request, a dict; False where no supervisor listens any more."""
        try:
            fd = files.open_own(os.path.join(self.path, "control"), stat.S_IFIFO, os.O_WRONLY)
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
                    os.write(fd, line_of(request))
                    return True
                except BlockingIOError:
                    time.sleep(_LOST_LOCK_PAUSE)  # there is room, but not enough
            return False
        except BrokenPipeError:
            return False
        finally:
            os.close(fd)


def _locked(fd):
    """Take the lock of a file; False where somebody else holds it for more than a second."""
    for dummy in range(_LOST_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_LOST_LOCK_PAUSE)
        except OSError:  # a file system without locks: two readers write the same
            return True
    return False


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_header(header):
    """Say whether this can have been written as a batch.json."""
    if not isinstance(header, dict) or not _is_number(header.get("launched_at")):
        return False
    supervisor = header.get("supervisor")
    if not isinstance(supervisor, dict) or not {"pid", "start", "boot_id", "init_start"}.issubset(supervisor):
        return False
    if not isinstance(supervisor["pid"], int) or not isinstance(header.get("jobs"), list):
        return False
    return all(isinstance(job, dict) and isinstance(job.get("name"), str) for job in header["jobs"])


def _is_entry(entry, size):
    """Say whether this can have been written as a line of the journal of a batch of `size` jobs."""
    if not isinstance(entry, dict) or not _is_number(entry.get("at")):
        return False
    job, state = entry.get("job"), entry.get("state")
    if not _is_integer(job) or not 0 <= job < size or state not in states.ALL:
        return False
    if state == states.RUNNING:
        process = (entry.get("pid"), entry.get("start"))
        return _is_number(entry.get("attempt")) and all(value is None or _is_integer(value) for value in process)
    return state != states.QUEUED or {"attempt", "was", "msg"}.issubset(entry)
