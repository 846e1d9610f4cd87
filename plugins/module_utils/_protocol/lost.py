# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Jobs whose supervisor is gone: whoever finds that out records their end, because nobody else will."""

from __future__ import annotations

import fcntl
import os
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import ids, journal, results, staged, states
from ansible_collections.background.jobs.plugins.module_utils._protocol import output as _output
from ansible_collections.background.jobs.plugins.module_utils._system import files

LOCK_PAUSE = 0.02  # seconds
_LOCK_TRIES = 50
_TEMPORARY = "lost.tmp"


def declare(reader, why):
    """Declare every job lost that is not finished, unless its result says how it ended.

    Call this when the supervisor is gone: then nobody else will do so. It is recorded too, so that core's async_status
    and other readers agree. Of several readers one writes; if another one holds the lock for too long, nothing is
    concluded, and the next look tries again.
    """
    opened = _open_journal(reader)
    try:
        if opened is not None:
            if not _locked(opened):
                return
            reader.refresh()  # another reader may have done it meanwhile, or the supervisor's last lines have arrived
        _conclude(reader, why, opened)
    finally:
        if opened is not None:
            os.close(opened)


def _open_journal(reader):
    """Return a file descriptor to append to the journal with, None if that is not possible (a read-only disk)."""
    try:
        return files.open_own("journal", flags=os.O_WRONLY | os.O_APPEND, folder=reader.open())
    except FileNotFoundError:
        raise
    except OSError:
        return None


def _conclude(reader, why, opened):
    rest = reader.take_rest()
    reader.take_in([rest])  # it may be a whole line that lacks only its end
    now, lines = round(time.time(), 6), []
    folder = reader.open()
    output = _output.Output(folder)
    for index, job in enumerate(reader.jobs):
        if job["state"] in states.TERMINAL:
            continue
        result = reader.final_result(index)
        if result is None:
            job.update(state=states.LOST, ended_at=now, msg=_why_lost(reader, why, folder))
            _write_lost(reader, index, job["msg"], output, folder)
        else:
            job.update(state=results.state_of(result), ended_at=now)
            if job["state"] not in (states.SUCCEEDED, states.FAILED):
                job["msg"] = str(result.get("msg"))
        message = {"msg": job["msg"]} if job.get("msg") else {}
        lines.append(journal.line_of(dict(message, job=index, state=job["state"], at=now)))
    reader.unfinished = 0
    if not lines and not rest:
        return
    staged.remove_all(folder)
    _tidy_run(folder)
    if opened is not None:
        try:
            # the first line end closes a line that a killed writer had begun
            files.write_all(opened, b"\n" + b"".join(lines))
        except OSError:
            pass  # the disk is full: the next reader finds the same


def _why_lost(reader, why, folder):
    log = folder.look("supervisor.log")
    said = "; its last output is in %s/supervisor.log" % reader.path if log is not None and log.st_size else ""
    return "lost: %s before the job returned a result%s" % (why, said)


def _tidy_run(folder):
    """Remove what running jobs had there, such as arguments, but not their output, which goes with their record."""
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


def _write_lost(reader, index, message, output, folder):
    jid = ids.jid_of(reader.batch_id, index)
    if reader.where.jobs.look(jid) is None:  # it was forgotten
        return
    printed = {}
    if output.size(index) is not None:
        printed = _output.told(*(_output.shown(output.read(index, stream)) for stream in _output.STREAMS))
    for more in (printed, {}):  # its output is left out first if there is no room
        text = _text_of(message, more)
        try:
            files.write_atomically(jid, text, folder=reader.where.jobs, temporary=(folder, _TEMPORARY))
            return
        except OSError:
            continue
    try:
        files.write_in_place(jid, text, reader.where.jobs)
    except (files.UnsafePath, OSError):
        pass  # a read-only disk, or something else in its place: the next reader finds the same


def _text_of(message, printed):
    result = results.of(dict({"failed": True, "changed": False, "msg": message}, **printed))
    return results.with_state(result, states.LOST).encode("utf-8")


def _locked(fd):
    """Take the lock of a file; False if somebody else holds it for more than a second."""
    for dummy in range(_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(LOCK_PAUSE)
        except OSError:  # a file system without locks: two readers write the same
            return True
    return False
