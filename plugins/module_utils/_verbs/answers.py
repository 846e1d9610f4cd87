# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Answers, on the host, what a controller asks about jobs: wait for them, cancel them, forget them."""

from __future__ import annotations

import json
import os
import signal
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_lock,
    ids,
    output,
    packing,
    place,
    records,
    results,
    states,
)
from ansible_collections.background.jobs.plugins.module_utils._system import files, inotify, processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import (
    catalog,
    core_async,
    garbage,
    launcher,
    orphans,
)

_CHECK_LIFE = 1.0  # seconds between looks at whether supervisors and core's wrappers still live
_MOST_PRINTED = 32 * 1024 * 1024  # characters of output that are told at once
_TROUBLES = 5  # how many of a kind are told one by one
_CANCELS_A_LINE = 400  # a request to a supervisor has to fit into PIPE_BUF (4096 bytes), or two of them might mix


class _Batches:
    """The batches that a call asks for, read once and then followed."""

    def __init__(self, watcher):
        self._watcher = watcher
        self._readers = {}
        self._places = {}
        self.boot = processes.Boot()

    def place(self, directory):
        """Return the Place of an async directory, opened once; what Place raises."""
        if directory not in self._places:
            self._places[directory] = place.Place(directory)
        return self._places[directory]

    def get(self, directory, batch_id):
        """Return the reader of a batch, or None where there is no such batch in this directory."""
        key = (directory, batch_id)
        if key not in self._readers:
            try:
                reader = records.BatchReader(directory, batch_id, self.place(directory))
                reader.elsewhere = self.boot.elsewhere(reader.header["supervisor"])
                if self._watcher:
                    self._watcher.add(os.path.join(reader.path, "journal"))
                reader.refresh()
            except FileNotFoundError as exc:
                if exc.filename and os.path.lexists(os.path.join(os.path.dirname(exc.filename), "batch.json")):
                    raise  # it has lost its journal
                reader = None
            self._readers[key] = reader
        return self._readers[key]

    def refresh(self, look_for_processes):
        """Read on. Return {reader: why} of the batches whose record can't be read any more, which are given up."""
        lost = {}
        for key, reader in self._readers.items():
            if reader is None or not reader.unfinished:  # what has ended stays so
                continue
            try:
                reader.refresh()
                if look_for_processes and reader.unfinished:
                    why = processes.why_gone(reader.header["supervisor"], self.boot)
                    if why:
                        reader.declare_lost(why.replace("it was", "its supervisor was"))
            except (files.UnsafePath, OSError) as exc:
                lost[reader] = exc
                self._readers[key] = None
        return lost


class _Question:
    """The jobs of one request, each looked up where it may be."""

    def __init__(self, request, async_dir):
        self.watcher = inotify.Watcher() if request["op"] in ("wait", "cancel") else None
        self._batches = _Batches(self.watcher)
        self.troubles = []  # what could not be looked at, in words
        self._entries = []
        core = []
        for asked in request["jobs"] if "select" not in request else self._selected(request["select"], async_dir):
            directory = os.path.abspath(os.path.expanduser(asked["dir"] or async_dir))
            entry = {"jid": asked["jid"], "dir": directory, "batch": None, "error": None}
            entry["family"] = dict(asked.get("ending") or ())
            self._entries.append(entry)
            entry["error"] = self._find(entry)
            if not entry["error"] and not entry["batch"]:
                core.append((directory, entry["jid"]))
        if request.get("leftovers"):
            self._open_all(async_dir)
        self._pending = list(self._entries)
        self._ending = None  # a processes.Ending of what nobody else looks after, by the position of the entry
        self._members = None
        self._core = core_async.CoreJobs(core)
        if self.watcher:
            for directory in {directory for directory, dummy in core}:
                self.watcher.add(directory)

    def _selected(self, selection, async_dir):
        """Return the jobs that fit by name and batch; see keep()."""
        directory = os.path.abspath(os.path.expanduser(async_dir))
        try:
            found = catalog.find(
                selection, directory, lambda batch_id: self._reader(directory, batch_id), self.troubles.append
            )
        except FileNotFoundError:
            return []
        except (files.UnsafePath, OSError) as exc:
            self.troubles.append("could not look for jobs: %s" % exc)
            return []
        return [{"jid": jid, "dir": directory} for jid in found]

    def _open_all(self, async_dir):
        """Have all batches looked at, whether or not a job of them is asked for."""
        directory = os.path.abspath(os.path.expanduser(async_dir))
        try:
            for batch_id in catalog.batch_ids(directory):
                self._reader(directory, batch_id)
        except (files.UnsafePath, OSError):
            pass  # told where leftovers are looked for

    def _reader(self, directory, batch_id):
        """Return the reader of a batch; where its record is not to be trusted, that is told, and the others are not affected."""
        try:
            return self._batches.get(directory, batch_id)
        except (files.UnsafePath, OSError) as exc:
            trouble = "the record of batch %s can't be read: %s" % (batch_id, exc)
            if trouble not in self.troubles:
                self.troubles.append(trouble)
            return None

    def keep(self, selection, now):
        """Leave out what does not fit by state and age, which are known once all is refreshed."""
        self._entries = [entry for entry in self._entries if self._fits(entry, selection, now)]
        self._pending = list(self._entries)

    def _fits(self, entry, selection, now):
        if entry["error"]:
            return False
        state = self._state(entry)
        if state["state"] is None or (selection["states"] is not None and state["state"] not in selection["states"]):
            return False
        at = state.get("ended_at") or state.get("started_at")
        if entry["batch"]:
            header = entry["batch"].header
            at = state.get("ended_at") or header["launched_at"]
            now = self._batches.boot.now(header["supervisor"], now)
        return catalog.is_of_age(selection, at, now)

    def _find(self, entry):
        """Say where a job is; return an error where it is not."""
        jid, directory = entry["jid"], entry["dir"]
        if not ids.is_jid(jid):
            return {"error": "invalid", "msg": "%r can't be a job id" % jid}
        try:
            present = self._batches.place(directory).jobs.look(jid) is not None
            parsed = ids.parse_jid(jid)
            reader = self._batches.get(directory, parsed[0]) if parsed else None
        except FileNotFoundError:
            present, reader = False, None
        except (files.UnsafePath, OSError) as exc:
            return {"error": "not_found", "msg": "could not look for job %s: %s" % (jid, exc)}
        if reader and parsed[1] < len(reader.jobs) and present:
            entry["batch"], entry["index"] = reader, parsed[1]
        elif not present:
            return {"error": "not_found", "msg": _not_found(jid, directory)}
        return None

    def refresh(self, look_for_processes):
        lost = self._batches.refresh(look_for_processes)
        if lost:
            for entry in self._entries:
                if entry["batch"] in lost:
                    entry["error"] = _unreadable(entry, lost[entry["batch"]])
        self._core.refresh(look_for_processes)

    def _state(self, entry):
        if entry["batch"]:
            return entry["batch"].jobs[entry["index"]]
        return self._core.found[entry["dir"], entry["jid"]]

    def answered(self, mode):
        """Say whether all jobs, or any of them (`mode`), are finished or not there to be waited for."""
        if mode == "any":
            return any(self._is_final(entry) for entry in self._entries)
        while self._pending and self._is_final(self._pending[-1]):
            self._pending.pop()
        return not self._pending

    def _is_final(self, entry):
        if entry["error"]:
            return True
        state = self._state(entry)["state"]
        return state is None or state in states.TERMINAL

    def cancel(self, grace, number, told, now):
        """Have the jobs end that have not ended: with the signal `number`, and after `grace` seconds SIGKILL.

        told: they have had the signal. A supervisor looks after its jobs; core's jobs, and what lost ones have left, are
        `look_after`ed here.
        """
        self._refuse_elsewhere()
        if not told:
            self._ask_supervisors(grace, number)
        families = {position: entry["family"] for position, entry in enumerate(self._entries) if entry["family"]}
        if not told:
            families.update(self._find_families())
        self._ending = processes.Ending(families, grace, now)
        self.look_after(now, None if told else number)

    def _ask_supervisors(self, grace, number):
        by_batch = {}
        for entry in self._entries:
            if self._is_final(entry):
                continue
            entry["asked"] = True
            if entry["batch"]:
                by_batch.setdefault(entry["batch"], []).append(entry["index"])
        for reader, indexes in by_batch.items():
            for first in range(0, len(indexes), _CANCELS_A_LINE):
                last = first + _CANCELS_A_LINE
                if not reader.ask({"cancel": indexes[first:last], "grace": grace, "signal": number}):
                    break  # nobody is there to be asked: the jobs will be seen to be lost

    def _find_families(self):
        """Return {position of the entry: {pid: start}} of what core's jobs run, and of what lost jobs have left."""
        families = {}
        for position, tree in self._leftovers().items():
            families[position] = {pid: process.start for pid, process in tree.items()}
            self._entries[position]["ended"] = len(tree)
        members = core_async.Members() if self._core.found else None
        for position, entry in enumerate(self._entries):
            if entry.get("asked") and not entry["batch"]:
                # only where the command line of its wrapper names it
                family = members.of(entry["jid"])
                if family:
                    families[position] = dict(family)
        return families

    def look_after(self, now, number=None):
        """See what is left of what was told to end, and have it killed when its time is over."""
        for position in self._ending.look(now, number) if self._ending else ():
            entry = self._entries[position]
            entry["family"] = {}
            if not entry["batch"] and not entry["error"]:
                core_async.note_cancelled(entry["dir"], entry["jid"])

    @property
    def look_at(self):
        """When `look_after` is due, None where nothing is left."""
        return self._ending.look_at if self._ending and self._ending.left else None

    def _refuse_elsewhere(self):
        """Leave alone what runs on other machines, and say so: nobody there would hear of it."""
        for entry in self._entries:
            if not self._is_final(entry) and self._elsewhere(entry):
                name = entry["batch"].header["jobs"][entry["index"]]["name"]
                told = "job %s (%s) can't be cancelled here: %s" % (
                    name,
                    entry["jid"],
                    _lives_elsewhere(entry["batch"]),
                )
                entry["error"] = {"error": "elsewhere", "msg": told}

    @staticmethod
    def _elsewhere(entry):
        """Return the name of the machine that a job runs on, or ran on, where it is another one; else None."""
        return entry["batch"] and entry["batch"].elsewhere

    def _leftovers(self, snapshot=None):
        """Return the processes that lost jobs have left, as {position of the entry: {pid: Process}}."""
        lost = {
            position: (entry["batch"], entry["index"])
            for position, entry in enumerate(self._entries)
            if entry["batch"] and not entry["error"] and self._state(entry)["state"] == states.LOST
        }
        return orphans.find(lost, snapshot or processes.Snapshot()) if lost else {}

    def forget(self):
        """Remove the records of what is finished and has left no process; return for each job whether that was done."""
        done, touched, failed = [], set(), []
        left = self._leftovers()
        for position, entry in enumerate(self._entries):
            if entry["error"] or not self._is_final(entry):
                done.append(False)
                continue
            kept = self._why_kept(position, entry, left)
            if kept:
                done.append(False)
                self.troubles.append("the record of job %s is kept: %s" % (entry["jid"], kept))
                continue
            try:
                if entry["batch"]:
                    touched.add(entry["batch"])
                    done.append(entry["batch"].forget(entry["index"]))
                else:
                    done.append(files.remove(entry["jid"], self._batches.place(entry["dir"]).jobs))
            except OSError as exc:  # a directory, say, or a read-only disk
                done.append(False)
                failed.append("the record of job %s can't be removed: %s" % (entry["jid"], exc))
        self.troubles += failed[:_TROUBLES]
        if len(failed) > _TROUBLES:
            self.troubles.append("%d more records can't be removed either" % (len(failed) - _TROUBLES))
        self._remove_empty(touched)
        return done

    def _why_kept(self, position, entry, left):
        """Say why the record of a finished job must stay, None where it need not."""
        if position in left:
            return "processes of it still run"
        if self._elsewhere(entry) and self._state(entry)["state"] == states.LOST:
            return "processes of it may still run on %s" % self._elsewhere(entry)
        return None

    def _remove_empty(self, readers):
        """Remove the folders of batches without a record, unless somebody launches just now: then they are left to async_prune."""
        for directory in {reader.async_dir for reader in readers}:
            try:
                with batch_lock.lock(self._batches.place(directory), alone=True, patience=records.LOCK_PATIENCE):
                    for reader in readers:
                        if reader.async_dir == directory:
                            reader.remove_if_empty()
            except (files.UnsafePath, OSError):
                continue

    def leftovers(self, selection, async_dir, now):
        """Return a context of the leftovers (_verbs/garbage.py)."""
        directory = os.path.abspath(os.path.expanduser(async_dir))
        return garbage.looking(
            selection, directory, lambda batch_id: self._reader(directory, batch_id), self.troubles.append, now
        )

    def remove(self, leftover, async_dir):
        """Remove a leftover; say whether all of it is gone."""
        where = self._batches.place(os.path.abspath(os.path.expanduser(async_dir)))
        return garbage.remove(leftover, where, self.troubles.append)

    def report(self, max_bytes):
        """Return the answer for each job; results until `max_bytes` of them are together, at least one."""
        answers, total = [], 0
        for position, entry in enumerate(self._entries):
            answer, state = self._answer(entry)
            answers.append(answer)
            if self._ending and position in self._ending.left:
                answer["ending"] = sorted(self._ending.left[position].items())
            if not answer.get("finished"):
                continue
            if total >= max_bytes:
                answer["deferred"] = True
                continue
            text = self._result_text(entry, state)
            if text is not None:
                total += len(text)
                answer["result"] = text
            tasks = self._tasks_text(entry)
            if tasks is not None:
                total += len(tasks)
                answer["tasks"] = tasks
        return answers

    def _answer(self, entry):
        """Return what there is to say of a job without its result, and its state, None where that can't be told."""
        answer = {"jid": entry["jid"], "dir": entry["dir"]}
        if entry["error"]:
            answer.update(entry["error"])
            return answer, None
        state = self._state(entry)
        if state["state"] is None:  # its results file went away while we looked
            answer.update({"error": "not_found", "msg": _not_found(entry["jid"], entry["dir"])})
            return answer, None
        answer.update(self._describe(entry, state))
        if entry.get("asked"):
            answer["asked"] = True
        if entry.get("ended"):
            answer["ended_processes"] = entry["ended"]
        return answer, state

    def _describe(self, entry, state):
        about, batch = {}, entry["batch"]
        if batch:
            about = dict(batch.header["jobs"][entry["index"]])
        started, ended = state.get("started_at"), state.get("ended_at")
        described = {
            "source": "background.jobs" if batch else "core",
            "state": state["state"],
            "finished": state["state"] in states.TERMINAL,
            "name": about.get("name"),
            "batch_id": batch.batch_id if batch else None,
            "module": about.get("module"),
            "attempts": state.get("attempts", 1),
            "queued_at": batch.header["launched_at"] if batch else None,
            "started_at": started,
            "ended_at": ended,
            "duration": round(ended - started, 6) if started and ended else None,
            "ignore_errors": about.get("ignore_errors", False),
            "no_log": about.get("no_log", False),
            "msg": state.get("msg"),
        }
        if self._elsewhere(entry) and not described["finished"]:
            described["msg"] = _lives_elsewhere(batch)
            described["elsewhere"] = batch.elsewhere
        if "item" in about:
            described["item"] = about["item"]
        if batch and not described["finished"]:
            described["supervisor"] = batch.header["supervisor"]["pid"]
            described["always_timeout"] = about.get("always_timeout", 0)
        if state.get("failed_attempts"):
            described["failed_attempts"] = state["failed_attempts"]
        return described

    def _tasks_text(self, entry):
        try:
            return entry["batch"].tasks_text(entry["index"]) if entry["batch"] else None
        except (files.UnsafePath, OSError):
            return None  # its result is told all the same

    def _result_text(self, entry, state):
        if not entry["batch"]:
            return state.get("result")
        try:
            text = entry["batch"].result_text(entry["index"])
        except (files.UnsafePath, OSError) as exc:
            return results.of({"failed": True, "msg": "the result can't be read: %s" % exc}).text
        text = results.without_state(text, state["state"]) if text else text
        # of a lost job there is nothing to tell but what it had printed
        return text if state["state"] != states.LOST or "stdout" in _parsed(text) else None

    def list(self, tail=None):
        """Return what there is to say of each job, without its result; tail: with so many of the last lines that it printed."""
        snapshot = processes.Snapshot()
        left = self._leftovers(snapshot)
        answers, outputs, room = [], {}, _MOST_PRINTED
        for position, entry in enumerate(self._entries):
            answer, state = self._answer(entry)
            answers.append(answer)
            if position in left:
                answer.update(_usage(min(left[position]), left[position]))
            elif answer.get("state") == states.RUNNING and not self._elsewhere(entry):
                answer.update(self._usage(entry, state, snapshot))
            elif answer.get("state") == states.FAILED and not answer["msg"]:
                answer["msg"] = self._brief(entry, state)
            if "state" in answer and not answer["no_log"]:
                printed = self._printed(entry, state, outputs, tail if room > 0 else 0)
                room -= sum(len(printed.get(stream, "")) for stream in output.STREAMS)
                answer.update(printed)
        if room <= 0:
            self.troubles.append(
                "the jobs have printed too much to be told at once: ask for fewer jobs, or a shorter tail"
            )
        return answers

    def _printed(self, entry, state, outputs, tail):
        """Return what is told of the output of a job: its size, and the last lines."""
        batch, index = entry["batch"], entry.get("index")
        kept = None
        if batch:
            kept = outputs[batch] = outputs.get(batch) or output.Output(batch)
        is_over = state["state"] in states.TERMINAL
        size = kept.size(index) if kept and (not is_over or kept.is_kept(index)) else None
        if size is None and (not is_over or tail is None):
            return output.told("", "", tail) if tail is not None else {}
        if size is not None:
            streams = output.STREAMS if tail is not None else ()
            texts = [output.text_of(kept.read(index, stream, lines=tail)) for stream in streams]
            size = max(size, kept.size(index) or 0)  # it may have grown
        else:
            result = _parsed(self._result_text(entry, state))
            texts = [result.get(stream) for stream in output.STREAMS]
            texts = [text if isinstance(text, str) else "" for text in texts]
            size = sum(len(text.encode("utf-8", "replace")) for text in texts)
        told = output.told(texts[0], texts[1], tail) if texts else {}
        return dict(told, output_size=size)

    def _usage(self, entry, state, snapshot):
        if entry["batch"]:
            members = {state["pid"]: state["start"]} if state.get("pid") and state.get("start") else {}
        else:
            self._members = self._members or core_async.Members()
            members = self._members.of(entry["jid"])
        tree = snapshot.tree(members)
        return _usage(min(members), tree) if tree else {}

    def _brief(self, entry, state):
        return results.brief(_parsed(self._result_text(entry, state)))


def _parsed(text):
    """Return a result, which is empty where its text (or None) is none."""
    try:
        result = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError):
        result = {}
    return result if isinstance(result, dict) else {}


def _lives_elsewhere(batch):
    """Say where a job lives that is told of here because the directory is there on several machines."""
    return (
        "its batch was launched on another machine, %s, and only there can it be seen whether it still runs, and be "
        "cancelled. If that machine is no more, remove %s by hand." % (batch.elsewhere, batch.path)
    )


def _unreadable(entry, exc):
    """Return the error of a job whose batch's record went away, or was changed, while it was looked at."""
    if isinstance(exc, FileNotFoundError):
        return {"error": "not_found", "msg": _not_found(entry["jid"], entry["dir"])}
    return {"error": "not_found", "msg": "could not look for job %s: %s" % (entry["jid"], exc)}


def _usage(pid, tree):
    cpu, memory = processes.usage(tree)
    return {"pid": pid, "cpu_seconds": cpu, "memory": memory, "processes": len(tree)}


def _not_found(jid, directory):
    return (
        "could not find job %s in %s, searched as user %s. Was it launched by another user (become), with another ansible_async_dir or on "
        "another host, or has it been cleaned up?" % (jid, directory, launcher.user_name())
    )


def serve(request, async_dir):
    """Answer a request (its shape and the answer's: the protocol in the documentation)."""
    question = _Question(request, async_dir)
    op, selection = request["op"], request.get("select")
    try:
        question.refresh(look_for_processes=True)
        if op in ("forget", "list"):
            question.refresh(look_for_processes=True)  # it takes two looks to say that a core job is lost
        if selection:
            question.keep(selection, time.time())
        if op == "cancel":
            number, told = request.get("signal", signal.SIGTERM), request.get("told", False)
            question.cancel(request["grace"], number, told, time.monotonic())
        if op in ("wait", "cancel"):
            _wait(question, request["mode"], request["block"])
    finally:
        if question.watcher:
            question.watcher.close()
    answers = (
        question.list(request.get("tail"))
        if op == "list"
        else question.report(0 if op == "forget" else request["max_bytes"])
    )
    leftovers = []
    if request.get("leftovers"):
        with question.leftovers(request["leftovers"], async_dir, time.time()) as found:
            _forget(question, op, answers)
            for leftover in found:
                if op == "list" or question.remove(leftover, async_dir):
                    leftovers.append(leftover.path)
    else:
        _forget(question, op, answers)
    return {
        "now": time.time(),
        "leftovers": leftovers,
        "user": launcher.user_name(),
        "async_dir": os.path.abspath(os.path.expanduser(async_dir)),
        "jobs": answers,
        "troubles": question.troubles,
    }


def look_up(directory, batch_id):
    """Return the reader of a batch as it is now, None where there is no record of it; what BatchReader raises."""
    batches = _Batches(None)
    batches.get(directory, batch_id)
    batches.refresh(look_for_processes=True)
    return batches.get(directory, batch_id)


def _forget(question, op, answers):
    """Remove what a request says is to be forgotten, and tell so in the answers."""
    if op != "forget":
        return
    for answer, forgotten in zip(answers, question.forget()):
        answer["forgotten"] = forgotten


def be(module):
    """Be the module `module`: answer the request of its action plugin."""
    if not module.params["_request"]:
        module.fail_json(msg="This works as a task of a playbook only: its action plugin makes the requests.")
    reply = serve(packing.unpack(module.params["_request"]), module.params["_async_dir"])
    module.exit_json(changed=False, reply=packing.pack(reply))


def _wait(question, mode, block):
    """Return when the jobs are finished, after `block` seconds at the latest."""
    now = time.monotonic()
    deadline, check_at = now + block, now + _CHECK_LIFE
    while now < deadline and (question.look_at or not question.answered(mode)):
        due = min(deadline, check_at, question.look_at or deadline)
        question.watcher.wait(max(0.0, due - now))
        now = time.monotonic()
        if question.look_at and now >= question.look_at:
            question.look_after(now)
        check = now >= check_at
        if check:
            check_at = now + _CHECK_LIFE
        question.refresh(look_for_processes=check)
