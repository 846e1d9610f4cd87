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

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_lock,
    ids,
    place,
    results,
    staged,
    states,
)
from ansible_collections.background.jobs.plugins.module_utils._protocol import output as _output
from ansible_collections.background.jobs.plugins.module_utils._system import files

PROTOCOL = 1
RESULT_LIMIT = results.READ_LIMIT
_RECORD_LIMIT = 256 * 1024 * 1024
_JOURNAL_LIMIT = 256 * 1024 * 1024
_LOST_LOCK_TRIES, _LOST_LOCK_PAUSE = 50, 0.02
LOCK_PATIENCE = 1.0  # seconds that a launch may take which keeps a batch from being removed
_ASK_PATIENCE = 5.0  # seconds that a supervisor may take to read what it was asked before
_ATTEMPTS_TOLD = 100  # failed attempts of a job: the last ones
_MOST_PIDS = 100000
_TEMPORARY = "lost.tmp"
NO_ROOM = "The disk is full: the result could not be kept."
NOT_KEPT = "The result could not be kept: %s."
MOST_DEPENDENCIES = 50  # those of a job that are told of


def started(jid):
    """Return the first value of a results file, which it has until its job ends."""
    return {"started": True, "finished": False, "ansible_job_id": jid}


def line_of(entry):
    """Return a line of a journal, or of a request."""
    return json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"


class DamagedRecord(files.UnsafePath):
    """A record is not what a supervisor writes: cut off, or changed by others."""


class NewerRecord(files.UnsafePath):
    """A record was written by a later version of this collection, which alone knows what it means."""


class BatchReader:
    """Anybody's side: the states of a batch as its journal tells them. `refresh` reads on from where it was."""

    def __init__(self, async_dir, batch_id, where=None):
        """where: the Place of the async directory, if it is open already."""
        self.async_dir = async_dir
        self.batch_id = batch_id
        self.path = os.path.join(async_dir, batch_lock.FOLDER, batch_id)
        self._place = where or place.Place(async_dir)
        self.header = self._read_header()
        queued = {"state": states.QUEUED, "attempts": 0, "started_at": None, "ended_at": None}
        self.jobs = [dict(queued) for dummy in self.header["jobs"]]
        self.unfinished = len(self.jobs)
        self.elsewhere = None  # the name of the machine that it is of, where that is another one
        self.pids = {}  # of the calls that jobs have made, as far as the journal names their processes: keys, the newest last
        self._offset = 0
        self._rest = b""
        self._output = None
        self._folders = {}

    def open(self):
        """Return the Folder of the batch: opened anew each time, for there may be more batches than a process may open files."""
        return self._place.batches.enter(self.batch_id)

    def _read_header(self):
        path = os.path.join(self.path, "batch.json")
        try:
            header = json.loads(files.read_own("batch.json", _RECORD_LIMIT, folder=self.open()))
        except (ValueError, RecursionError) as exc:
            raise DamagedRecord("%s is damaged: %s" % (path, exc)) from exc
        protocol = header.get("protocol", PROTOCOL) if isinstance(header, dict) else None
        if _is_integer(protocol) and protocol > PROTOCOL:
            raise NewerRecord(
                "%s is a record of protocol %d, and this version of background.jobs reads up to %d: use the version that "
                "launched the batch, or a later one" % (path, protocol, PROTOCOL)
            )
        if not _is_header(header):
            raise DamagedRecord("%s is damaged: it is not the record of a batch" % path)
        return header

    def refresh(self):
        """Take in what was appended to the journal; return the indexes of the jobs that have ended since."""
        data = files.read_own("journal", max(0, _JOURNAL_LIMIT - self._offset), self._offset, self.open())
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
                self._remember(entry["pid"])
        elif entry["state"] == states.QUEUED:
            attempt = {
                "attempt": entry["attempt"],
                "state": entry["was"],
                "ended_at": entry["at"],
                "msg": entry["msg"],
            }
            told = job.setdefault("failed_attempts", [])
            told.append(attempt)
            del told[:-_ATTEMPTS_TOLD]
        else:
            job.update(ended_at=entry["at"], msg=entry.get("msg"), attempts=entry.get("attempt", job["attempts"]))

    def _remember(self, pid):
        self.pids.pop(pid, None)
        self.pids[pid] = None
        if len(self.pids) > _MOST_PIDS:
            del self.pids[next(iter(self.pids))]

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
            return files.open_own("journal", flags=os.O_WRONLY | os.O_APPEND, folder=self.open())
        except FileNotFoundError:
            raise
        except OSError:
            return None

    def _conclude(self, why, journal):
        rest, self._rest = self._rest, b""
        self._take_in([rest])  # all of a line but its end may have come
        now, lines = round(time.time(), 6), []
        folder = self.open()
        output = _output.Output(folder)
        for index, job in enumerate(self.jobs):
            if job["state"] in states.TERMINAL:
                continue
            result = self._final_result(index)
            if result is None:
                job.update(state=states.LOST, ended_at=now, msg=self._lost(why, folder))
                self._write_lost(index, job["msg"], output, folder)
            else:
                job.update(state=results.state_of(result), ended_at=now)
                if job["state"] not in (states.SUCCEEDED, states.FAILED):
                    job["msg"] = str(result.get("msg"))
            message = {"msg": job["msg"]} if job.get("msg") else {}
            lines.append(line_of(dict(message, job=index, state=job["state"], at=now)))
        self.unfinished = 0
        if not lines and not rest:
            return
        staged.remove_all(folder)
        self._tidy_run(folder)
        if journal is not None:
            try:
                # the first of them ends what a writer that was killed had begun
                files.write_all(journal, b"\n" + b"".join(lines))
            except OSError:
                pass  # a disk that is full: whoever reads next finds the same

    def _lost(self, why, folder):
        log = folder.look("supervisor.log")
        said = "; what it said last stands in %s/supervisor.log" % self.path if log is not None and log.st_size else ""
        return "lost: %s before the job returned a result%s" % (why, said)

    def _tidy_run(self, folder):
        """Remove what running jobs had there, arguments among it, but for what they have printed, which goes with their record."""
        try:
            run = folder.enter("run")
        except (files.UnsafePath, OSError):
            return
        for name in run.names():
            if not _output.is_kept_in_run(name):
                files.try_to_remove_tree(name, run)
        try:
            os.rmdir("run", dir_fd=folder.fd)
        except OSError:
            pass  # something was printed

    def _write_lost(self, index, message, output, folder):
        jid = ids.jid_of(self.batch_id, index)
        if self._place.jobs.look(jid) is None:  # it was forgotten
            return
        printed = {}
        if output.size(index) is not None:
            printed = _output.told(*(_output.shown(output.read(index, stream)) for stream in _output.STREAMS))
        for more in (printed, {}):  # what it printed is the first to go where there is no room
            text = _lost(message, more)
            try:
                files.write_atomically(jid, text, folder=self._place.jobs, temporary=(folder, _TEMPORARY))
                return
            except OSError:
                continue
        try:
            files.write_in_place(jid, text, self._place.jobs)
        except (files.UnsafePath, OSError):
            pass  # a disk that is read-only, or something else in its place: whoever reads next finds the same

    def _final_result(self, index):
        """Return the result of a job that has ended, as a dict, None where its files tell of none."""
        try:
            kept = self._text_of("results", index, RESULT_LIMIT)
            text = self._results_file(index, RESULT_LIMIT) if kept is None else kept
            result = json.loads(text) if text is not None else None
        except (ValueError, RecursionError, files.UnsafePath, OSError):
            return None
        # a final one with a key `started` is never in a results file
        is_final = isinstance(result, dict) and (kept is not None or "started" not in result)
        return result if is_final else None

    def result_text(self, index, limit=RESULT_LIMIT):
        """Return the JSON text of a finished job's result, or None where there is none (any more)."""
        text = self._text_of("results", index, limit)
        return self._results_file(index, limit) if text is None else text

    def _results_file(self, index, limit):
        try:
            jid = ids.jid_of(self.batch_id, index)
            return files.read_own(jid, limit, folder=self._place.jobs).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None

    def tasks_text(self, index):
        """Return the JSON text that tells of each task of a finished job, None where it is one task."""
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
        if not self._folders.get(name):  # it may come yet
            try:
                self._folders[name] = _is_folder(self.open().look(name))
            except FileNotFoundError:  # others have removed the batch
                self._folders[name] = False
        return self._folders[name]

    def forget(self, index):
        """Remove the record of a finished job, and the batch's when none is left; say whether there was one."""
        existed = files.remove(ids.jid_of(self.batch_id, index), self._place.jobs)
        try:
            folder = self.open()
        except FileNotFoundError:  # others have removed the batch
            return existed
        for name in ("results", "tasks"):
            if _is_folder(folder.look(name)):
                files.remove(os.path.join(name, "%d.json" % index), folder)
        self._output = self._output or _output.Output(self)  # its jobs have ended: it only shrinks
        self._output.remove(index)
        return existed

    def remove_if_empty(self):
        """Remove the batch's own folder when none of its jobs has a results file any more.

        Where somebody launches just now, and goes on doing so, it stays: async_prune finds it.
        """
        if not self._is_empty():
            return False
        try:
            # alone, or it might be a folder that was made just now by another launch with this id
            with batch_lock.lock(self._place, alone=True, patience=LOCK_PATIENCE):
                if not self._is_empty():
                    return False
                self._remove_folder()
        except (files.UnsafePath, OSError):
            return False  # a disk that is read-only, say: it stays
        return True

    def _is_empty(self):
        return not any(self._place.jobs.look(ids.jid_of(self.batch_id, index)) for index in range(len(self.jobs)))

    def _remove_folder(self):
        try:
            folder = self.open()
            for name in ("batch.json", "journal"):  # most often that is all
                files.remove(name, folder)
            os.rmdir(self.batch_id, dir_fd=self._place.batches.fd)
        except OSError:
            files.try_to_remove_tree(self.batch_id, self._place.batches)

    def ask(self, request):
        """Hand the supervisor a request, a dict; False where no supervisor listens any more."""
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
                    os.write(fd, line_of(request))
                    return True
                except BlockingIOError:
                    time.sleep(_LOST_LOCK_PAUSE)  # there is room, but not enough
            return False
        except BrokenPipeError:
            return False
        finally:
            os.close(fd)


def _lost(message, printed):
    result = results.of(dict({"failed": True, "changed": False, "msg": message}, **printed))
    return results.with_state(result, states.LOST).encode("utf-8")


def _is_folder(found):
    return found is not None and stat.S_ISDIR(found.st_mode)


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
    return all(_is_job(job, len(header["jobs"])) for job in header["jobs"])


def _is_job(job, size):
    """Say whether this can have been written as a job of a batch.json with `size` of them."""
    if not isinstance(job, dict) or not isinstance(job.get("name"), str):
        return False
    others = job.get("depends_on", [])
    return isinstance(others, list) and all(_is_integer(other) and 0 <= other < size for other in others)


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
