# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The jobs that a request asks for: each is looked up, and followed."""

from __future__ import annotations

import os

from ansible_collections.background.jobs.plugins.module_utils._protocol import ids, states
from ansible_collections.background.jobs.plugins.module_utils._system import files, processes, users
from ansible_collections.background.jobs.plugins.module_utils._verbs import batches, catalog, core_async, orphans


class AskedJob:
    """One job of a request, of this collection or of core's async, or an id that is no job."""

    __slots__ = ("ask_to_end", "batch", "directory", "error", "family", "index", "jid", "processes_ended", "revision")

    def __init__(self, jid, directory, family=(), revision=None):
        self.jid = jid
        self.directory = directory
        self.batch = self.index = None  # the reader of its batch, and its number there; None for core's jobs
        self.error = None  # {"error", "msg"} if nothing else can be reported of it
        self.family = dict(family)  # {pid: start} of its processes that were told to end before
        self.ask_to_end = False  # whether it had not ended yet when the jobs were told to end
        self.revision = revision  # what the asker knows of it already
        self.processes_ended = 0  # how many of those that it had left behind

    @property
    def elsewhere(self):
        """The name of the machine that it runs or ran on, if that is another one; else None."""
        return self.batch and self.batch.elsewhere

    def not_found(self):
        """Return the error for a job without a record."""
        told = (
            "could not find job %s in %s, searched as user %s. Was it launched by another user (become), with another "
            "ansible_async_dir or on another host, or has it been cleaned up?"
        )
        return {"error": "not_found", "msg": told % (self.jid, self.directory, users.own_name())}

    def unreadable(self, exc):
        """Return the error for a job whose record can't be read, or went away while it was looked at."""
        if isinstance(exc, FileNotFoundError):
            return self.not_found()
        return {"error": "not_found", "msg": "could not look for job %s: %s" % (self.jid, exc)}


class AskedJobs:
    """The jobs of one request, in its order."""

    def __init__(self, request, async_dir, watcher=None, all_batches=False):
        """watcher: an inotify.Watcher to add their files to; all_batches: open also batches of which no job is asked for."""
        self.directory = os.path.abspath(os.path.expanduser(async_dir))
        self.batches = batches.Batches(watcher)
        self.troubles = []  # messages on what could not be looked at
        self.jobs = []
        core = []
        for asked in self._selected(request["select"]) if "select" in request else request["jobs"]:
            directory = os.path.abspath(os.path.expanduser(asked["dir"] or async_dir))
            job = AskedJob(asked["jid"], directory, asked.get("ending") or (), asked.get("revision"))
            self.jobs.append(job)
            job.error = self._find(job)
            if not job.error and not job.batch:
                core.append((directory, job.jid))
        if all_batches:
            self._open_all()
        self._pending = list(self.jobs)
        self._core = core_async.CoreJobs(core)
        self.has_core_jobs = bool(self._core.found)
        if watcher:
            for directory in {directory for directory, dummy in core}:
                watcher.add(directory)

    def _selected(self, selection):
        """Return the jobs that fit by name and batch; see keep()."""
        try:
            found = catalog.find(selection, self.directory, self.reader, self.troubles.append)
        except FileNotFoundError:
            return []
        except (files.UnsafePath, OSError) as exc:
            self.troubles.append("could not look for jobs: %s" % exc)
            return []
        return [{"jid": jid, "dir": self.directory} for jid in found]

    def _open_all(self):
        try:
            for batch_id in catalog.batch_ids(self.directory):
                self.reader(batch_id)
        except (files.UnsafePath, OSError):
            pass  # reported by the search for leftovers

    def reader(self, batch_id):
        """Return the reader of a batch of the async directory of the request, None if there is none.

        If its record can't be trusted, that is noted as a trouble, and other batches are not affected.
        """
        try:
            return self.batches.get(self.directory, batch_id)
        except (files.UnsafePath, OSError) as exc:
            trouble = "the record of batch %s can't be read: %s" % (batch_id, exc)
            if trouble not in self.troubles:
                self.troubles.append(trouble)
            return None

    def _find(self, job):
        """Note in which batch a job is; return an error if it is not there."""
        if not ids.is_jid(job.jid):
            return {"error": "invalid", "msg": "%r can't be a job id" % job.jid}
        try:
            present = self.batches.place(job.directory).jobs.look(job.jid) is not None
            parsed = ids.parse_jid(job.jid)
            reader = self.batches.get(job.directory, parsed[0]) if parsed else None
        except FileNotFoundError:
            present, reader = False, None
        except (files.UnsafePath, OSError) as exc:
            return job.unreadable(exc)
        if reader and parsed[1] < len(reader.jobs) and present:
            job.batch, job.index = reader, parsed[1]
        elif not present:
            return job.not_found()
        return None

    def refresh(self, look_for_processes):
        """Read on."""
        lost = self.batches.refresh(look_for_processes)
        if lost:
            for job in self.jobs:
                if job.batch in lost:
                    job.error = job.unreadable(lost[job.batch])
        self._core.refresh(look_for_processes)

    def settle(self):
        """Read on until it is certain what is lost: a core job counts as lost only after two looks."""
        self.refresh(look_for_processes=True)
        self.refresh(look_for_processes=True)

    def keep(self, selection, now):
        """Leave out jobs that do not fit by state and age, which are known once all is refreshed."""
        self.jobs = [job for job in self.jobs if self._fits(job, selection, now)]
        self._pending = list(self.jobs)

    def _fits(self, job, selection, now):
        if job.error:
            return False
        state = self.state(job)
        if state["state"] is None or (selection["states"] is not None and state["state"] not in selection["states"]):
            return False
        at = state.get("ended_at") or state.get("started_at")
        if job.batch:
            header = job.batch.header
            at = state.get("ended_at") or header["launched_at"]
            now = self.batches.boot.now(header["supervisor"], now)
        return catalog.is_of_age(selection, at, now)

    def state(self, job):
        """Return what the records say of a job without an error: a dictionary with `state`, None if they went away."""
        if job.batch:
            return job.batch.jobs[job.index]
        return self._core.found[job.directory, job.jid]

    def are_answered(self, mode):
        """Say whether all jobs, or any of them (`mode`), are finished, or can't be waited for."""
        if mode == "any":
            return any(self.is_final(job) for job in self.jobs)
        while self._pending and self.is_final(self._pending[-1]):
            self._pending.pop()
        return not self._pending

    def is_final(self, job):
        """Say whether a job is finished, or can't be waited for."""
        if job.error:
            return True
        state = self.state(job)["state"]
        return state is None or state in states.TERMINAL

    def left_processes(self, snapshot=None):
        """Return the processes that lost jobs have left behind, as {position of the job: {pid: Process}}."""
        lost = {
            position: (job.batch, job.index)
            for position, job in enumerate(self.jobs)
            if job.batch and not job.error and self.state(job)["state"] == states.LOST
        }
        return orphans.find(lost, snapshot or processes.Snapshot()) if lost else {}
