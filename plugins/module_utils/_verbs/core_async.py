# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Jobs that were launched by ansible-core's own async: their state, their processes, their end.

They are known only by their results file and their command line (ansible-core's async_wrapper.py; the format of the
file is the one that its async_status reads).
"""

from __future__ import annotations

import json
import os

from ansible_collections.background.jobs.plugins.module_utils._protocol import records, results, states
from ansible_collections.background.jobs.plugins.module_utils._system import files, json_text, processes

_NO_RESULT = "its process is gone, and it wrote no result (killed, out of memory, or the host restarted)"
_UNREADABLE = "its process is gone, and its results file holds no JSON (the disk may have been full)"
_WRAPPER = b"async_wrapper"


class CoreJobs:
    """The core jobs that a call asks for, by (directory, jid)."""

    def __init__(self, wanted):
        self._gone_since = {}
        self.found = {}
        for directory, jid in wanted:
            self.found[directory, jid] = {"state": None, "finished": False}

    def refresh(self, look_for_processes):
        """Read the results files again; look_for_processes: declare lost those without a process."""
        running = []
        for key, job in self.found.items():
            if not job["finished"]:
                job.update(_read(*key))
                if not job["finished"] and job["state"]:
                    running.append(key)
        if look_for_processes and running:
            self._check(running)

    def _check(self, running):
        alive = {jid for jid, dummy in _wrappers()}
        for key in running:
            if _stem(key[1]) in alive:
                self._gone_since.pop(key, None)
            elif key not in self._gone_since:
                # it may have ended since the file was read: wait for the next look to say the same
                self._gone_since[key] = True
            else:
                self.found[key].update(_read(*key))
                if not self.found[key]["finished"]:
                    self.found[key].update(
                        state=states.LOST,
                        finished=True,
                        msg=_UNREADABLE if self.found[key].get("unreadable") else _NO_RESULT,
                    )


def _stem(jid):
    """Return the part of a core job id that is in the command line of its wrapper's processes."""
    return jid.split(".")[0]


def _read(directory, jid):
    """Return what the results file of a core job says; state None if there is none."""
    path = os.path.join(directory, jid)
    try:
        data = files.read_own(path, records.RESULT_LIMIT)
        changed_at = os.stat(path).st_mtime
    except FileNotFoundError:
        return {"state": None}
    except (files.UnsafePath, OSError) as exc:
        return {"state": states.LOST, "finished": True, "msg": "its results file can't be read: %s" % exc}
    try:
        result = json_text.loads(data)
    except ValueError:
        result = None
    if not isinstance(result, dict):
        # not written yet, or cut off by a full disk: its processes show whether it runs
        return {"state": states.RUNNING, "started_at": None, "unreadable": True}
    if "started" in result and not result.get("finished"):
        return {"state": states.RUNNING, "started_at": changed_at}
    state, message = _ending(result)
    text = data.decode("utf-8", "surrogateescape")
    return {
        "state": state,
        "finished": True,
        "ended_at": changed_at,
        "started_at": None,
        "result": text,
        "msg": message,
    }


def _ending(result):
    """Return (state, msg) of a final result."""
    if not results.has_failed(result):
        return states.SUCCEEDED, None
    if result.get("msg") == "Timeout exceeded" and "child_pid" in result:
        return states.TIMED_OUT, "timed out: it ran longer than its task's async allows"
    if result.get("background_jobs_cancelled"):
        return states.CANCELLED, result["msg"]
    return states.FAILED, None


def _wrappers():
    """Return (jid stem, Process) of every process of ours that core's wrapper left running for a job.

    They are found by their command line, which any process may have. But a wrapper makes a session of its own, whose first
    process has gone: a process in a session of somebody else, or of another user, is none of them.
    """
    found = _named_as_wrappers()
    stems = {process.pid: stem for stem, process in found}
    return [
        (stem, process)
        for stem, process in found
        if process.session and (stems.get(process.session) == stem or _has_gone(process.session))
    ]


def _has_gone(pid):
    """Say whether there is no such process any more; a zombie counts as gone."""
    process = processes.look(pid)
    return process is None or process.state == "Z"


def _named_as_wrappers():
    found, own = [], os.geteuid()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat("/proc/%s" % name).st_uid != own:
                continue
            with open("/proc/%s/cmdline" % name, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:  # it went away, or is hidden from us
            continue
        for position, word in enumerate(words[:-1]):
            if _WRAPPER in os.path.basename(word):
                process = processes.look(int(name))
                if process:
                    found.append((os.fsdecode(words[position + 1]), process))
                break
    return found


class Members:
    """The processes of the wrappers of core's jobs, from one look at the host's processes."""

    def __init__(self):
        self._by_stem = {}
        for stem, process in _wrappers():
            self._by_stem.setdefault(stem, {})[process.pid] = process.start

    def of(self, jid):
        """Return the processes of a job, as {pid: start}."""
        return self._by_stem.get(_stem(jid), {})


def note_cancelled(directory, jid):
    """Write that a core job was cancelled, if its processes have ended at our signal without writing a result."""
    if _read(directory, jid).get("finished"):
        return
    result = {
        "failed": True,
        "changed": False,
        "msg": "cancelled while it ran",
        "background_jobs_cancelled": True,
    }
    path, text = os.path.join(directory, jid), json.dumps(result).encode("ascii")
    try:
        try:
            files.write_atomically(path, text)
        except OSError:  # others may have put something in the place of the temporary file
            files.write_in_place(path, text)
    except (files.UnsafePath, OSError):
        pass  # it will be found lost
