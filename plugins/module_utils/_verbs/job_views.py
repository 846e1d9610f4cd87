# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What an answer says of each job, its view (the form: _protocol/requests.py)."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._protocol import results, states
from ansible_collections.background.jobs.plugins.module_utils._system import files, json_text


def view_of(asked, job):
    """Return the view of a job, without its result, and its state, which is None if it is unknown."""
    view = {"jid": job.jid, "dir": job.directory}
    if job.error:
        return dict(view, **job.error), None
    state = asked.state(job)
    if state["state"] is None:  # its results file went away while we looked
        return dict(view, **job.not_found()), None
    view.update(_described(job, state))
    if job.ask_to_end:
        view["asked"] = True
    if job.processes_ended:
        view["ended_processes"] = job.processes_ended
    return view, state


class Results:
    """Results of jobs, read as each ends rather than when all have, so that a caller waits less for the last one."""

    def __init__(self, asked, max_bytes):
        """max_bytes: of an answer."""
        self._asked, self._max_bytes = asked, max_bytes
        self._unread = list(asked.jobs)
        self._read = {}  # job: {"result", "tasks"}, as far as there are any
        self._total = 0

    def read_on(self):
        """Read the results of jobs that have ended, as much as one answer may hold."""
        left = []
        for job in self._unread:
            if self._total < self._max_bytes and not job.error and self._asked.is_final(job):
                self._take(job, self._asked.state(job))
            else:
                left.append(job)
        self._unread = left

    def _take(self, job, state):
        texts = {"result": result_text(job, state), "tasks": _tasks_text(job)} if state["state"] is not None else {}
        self._read[job] = {key: text for key, text in texts.items() if text is not None}
        self._total += sum(map(len, self._read[job].values()))

    def views(self):
        """Return the view of each job; results are included until they reach `max_bytes`, at least one."""
        views, total = [], 0
        for job in self._asked.jobs:
            revision = _revision(self._asked, job)
            if revision is not None and revision == job.revision:
                views.append({"jid": job.jid, "dir": job.directory, "unchanged": True})
                continue
            view, state = view_of(self._asked, job)
            views.append(view)
            if revision is not None:
                view["revision"] = revision
            if not view.get("finished"):
                continue
            if total >= self._max_bytes:
                view["deferred"] = True
                continue
            if job not in self._read:
                self._take(job, state)
            view.update(self._read[job])
            total += sum(map(len, self._read[job].values()))
        return views


def _revision(asked, job):
    """Return what changes with the view of a job that has not ended, None for others."""
    if asked.is_final(job):
        return None
    state = asked.state(job)
    return "%s, attempt %d%s" % (state["state"], state.get("attempts", 1), ", in line" if state.get("in_line") else "")


def with_results(asked, max_bytes):
    """Return the view of each job: see Results.views."""
    return Results(asked, max_bytes).views()


def _described(job, state):
    header, batch = {}, job.batch
    if batch:
        header = dict(batch.header["jobs"][job.index])
    started, ended = state.get("started_at"), state.get("ended_at")
    described = {
        "source": "background.jobs" if batch else "core",
        "state": state["state"],
        "finished": state["state"] in states.TERMINAL,
        "name": header.get("name"),
        "batch_id": batch.batch_id if batch else None,
        "module": header.get("module"),
        "attempts": state.get("attempts", 1),
        "queued_at": batch.header["launched_at"] if batch else None,
        "started_at": started,
        "ended_at": ended,
        "duration": round(ended - started, 6) if started and ended else None,
        "ignore_errors": header.get("ignore_errors", False),
        "no_log": header.get("no_log", False),
        "msg": state.get("msg"),
    }
    if header.get("pool"):
        described["pool"] = header["pool"]
        if described["state"] == states.QUEUED and state.get("in_line"):
            described.update(in_line=True, msg="waits for a place in pool %s" % header["pool"])
    if job.elsewhere and not described["finished"]:
        described["msg"] = lives_elsewhere(batch)
        described["elsewhere"] = batch.elsewhere
    if header.get("depends_on"):
        described["depends_on"] = [batch.header["jobs"][index]["name"] for index in header["depends_on"]]
    if "item" in header:
        described["item"] = header["item"]
    if batch and not described["finished"]:
        described["supervisor"] = batch.header["supervisor"]["pid"]
        described["always_timeout"] = header.get("always_timeout", 0)
    if state.get("failed_attempts"):
        described["failed_attempts"] = state["failed_attempts"]
    return described


def lives_elsewhere(batch):
    """Return the message for a job of another machine that shares the directory."""
    return (
        "its batch was launched on another machine, %s, and only there can anyone see whether it still runs, or "
        "cancel it. If that machine no longer exists, remove %s by hand." % (batch.elsewhere, batch.path)
    )


def _tasks_text(job):
    try:
        return job.batch.tasks_text(job.index) if job.batch else None
    except (files.UnsafePath, OSError):
        return None  # its result is reported all the same


def result_text(job, state):
    """Return the text of the result of a finished job, None if there is none."""
    if not job.batch:
        return state.get("result")
    try:
        text = job.batch.result_text(job.index)
    except (files.UnsafePath, OSError) as exc:
        return results.of({"failed": True, "msg": "the result can't be read: %s" % exc}).text
    text = results.without_state(text, state["state"]) if text else text
    # of a lost job only what it had printed is worth reporting
    return text if state["state"] != states.LOST or "stdout" in parsed(text) else None


def parsed(text):
    """Return the result that a text (or None) holds; {} if it holds none."""
    try:
        result = json_text.loads(text) if text is not None else {}
    except ValueError:
        result = {}
    return result if isinstance(result, dict) else {}
