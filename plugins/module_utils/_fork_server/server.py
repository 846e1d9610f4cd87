# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""Forks a process for each job and tells the supervisor how it ended."""

from __future__ import annotations

import _signal
import gc
import json
import os
import select
import shutil
import time

from ansible_collections.background.jobs.plugins.module_utils._fork_server import bounded_output, kernel

_MOST_NOTED = 4 * 1024 * 1024  # bytes of noted pids
_MOST_OF_A_BRIEF = 200  # bytes


class Server:
    """Forks a process for each job and tells how it ended."""

    def __init__(self, channel, payload):
        self._channel = channel
        self._directory = directory = payload["directory"]
        self._is_foreign = payload["is_foreign"]
        self._pids = os.path.join(directory, "pids.%d" % os.getpid())
        self._pids_fd = payload["fds"][0] if payload["fds"] else None
        self._jobs = {}  # pid: {"job", "call"}
        self._keepers = {}  # pid of the process that keeps the output of a call: call
        self._kept = {}  # call: that pid
        self._ended = {}  # call: the frame on its end, to be sent once all its output is kept
        self._briefs = {}  # call: what is known of its result if the disk could not take it
        self._reaper = kernel.Reaper()
        self._wake_out, self._wake_in = os.pipe()
        self._told_out, self._told_in = os.pipe()  # through which a job reports when the disk is full
        # opened by path when needed, because a module must not find more open files than usual
        self._told_path = "/proc/%d/fd/%d" % (os.getpid(), self._told_in)
        for fd in (self._wake_out, self._wake_in, self._told_out, self._told_in):
            os.set_blocking(fd, False)

    def serve(self):
        """Return None when there is nothing more to do; in the process of a job, its frame."""
        _signal.signal(_signal.SIGCHLD, lambda number, frame: None)
        _signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # what exists now is shared by all jobs: the collector must not touch, and so copy, its pages
        while True:
            unsent = [self._channel] if self._channel.unsent else []
            ready, writable, dummy = select.select([self._channel, self._wake_out], unsent, [])
            if writable:
                self._channel.flush()
            if self._wake_out in ready:
                self._drain(self._wake_out)
                self._reap()
            if self._channel in ready:
                frames = self._channel.arrived()
                if frames is None:
                    self._end_all()
                    return None
                for frame in self._valid(frames):
                    if "signal" in frame:
                        self._pass_on(frame)
                    elif self._start(frame):
                        return frame

    @staticmethod
    def _drain(fd):
        data = b""
        try:
            while True:
                data += os.read(fd, 4096)
        except BlockingIOError:
            return data

    def _hear(self):
        for line in self._drain(self._told_out).splitlines():
            try:
                brief = json.loads(line[:_MOST_OF_A_BRIEF])  # too short to be nested too deep
                self._briefs[brief.pop("call")] = brief
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # garbled by thousands at once, or by somebody else who opened the pipe

    def tell(self, call, result):
        """In the process of a job: report the essentials of its result, for which the disk has no room."""
        brief = {key: result[key] for key in ("failed", "changed", "rc") if isinstance(result.get(key), (bool, int))}
        try:
            fd = os.open(self._told_path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(fd, json.dumps(dict(brief, call=call)).encode("ascii") + b"\n")
        except OSError:
            pass  # thousands at once, no reader, or a host without /proc

    def _start(self, frame):
        """Fork; true in the process of the job."""
        known = {key: frame[key] for key in ("job", "call")}
        outputs, began = self._outputs_in(frame), time.monotonic()
        try:
            if not outputs:
                _open_outputs(frame, outputs)
            if "most" in frame:
                outputs[:] = self._begin_to_keep(frame, list(outputs))
            pid = self._fork_away()
        except OSError as exc:
            self._close(outputs, frame)
            self._channel.send(dict(known, error="cannot start it: %s" % exc))
            return False
        if pid == 0:
            self._become_job(outputs, frame)
            if "groups" in frame or "nice" in frame:
                _limit(frame)
            return True
        self._close(outputs, frame)
        self._jobs[pid] = known
        self._note(frame["job"], pid)
        self._channel.send(dict(known, pid=pid, began=began))
        return False

    def _outputs_in(self, frame):
        """Take the files for a job's output from a frame, to be closed by us; none if the frame brings none."""
        outputs, frame["fds"] = frame["fds"][:2], frame["fds"][2:]
        if "copies" in frame:
            frame["copies"], frame["fds"] = frame["fds"][:2], frame["fds"][2:]
        self._channel.fds.difference_update([*outputs, *frame.get("copies", ())])
        return outputs

    def _close(self, outputs, frame):
        for fd in [*outputs, *frame.get("copies", ())]:
            os.close(fd)
        self._channel.close_fds(frame["fds"])

    def _fork_away(self):
        """Fork. For another user, return only when the child is in a session of its own: else whoever looks at the job's
        session would find that of the template."""
        if not self._is_foreign:
            return self._fork()
        left, entered = os.pipe()
        try:
            pid = self._fork()
            if pid == 0:
                os.setsid()
        finally:
            os.close(entered)
        if pid:
            os.read(left, 1)
        os.close(left)
        return pid

    def _valid(self, frames):
        """Return the orders that were not revoked."""
        revoked = {frame["revoke"] for frame in frames if "revoke" in frame}
        valid = []
        for frame in frames:
            if "signal" in frame or ("revoke" not in frame and frame["call"] not in revoked):
                valid.append(frame)
            else:
                self._channel.close_fds(frame["fds"])
        return valid

    def _pass_on(self, frame):
        """Send a signal in place of the supervisor."""
        for pid, start in frame["processes"]:
            if start is None and pid in self._jobs:
                for child in kernel.below([pid]):
                    kernel.send(child, frame["signal"])
            elif start is not None and kernel.start_of(pid) == start:
                kernel.send(pid, frame["signal"])

    @staticmethod
    def _fork():
        """Fork. The child gets the signals of `kernel.HELD_BACK` only when it is ready for them."""
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, kernel.HELD_BACK)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        return pid

    def _begin_to_keep(self, frame, files):
        """Fork a process that keeps a bounded part of the job's output in `files`; return the pipes for the job to write to."""
        pipes = []
        try:
            for dummy in files:
                pipes.append(os.pipe())
            pid = self._fork_away()
        except OSError:
            for fd in (fd for pipe in pipes for fd in pipe):
                os.close(fd)
            raise
        if pid == 0:
            try:
                self._leave_the_template()
                for dummy, fd in pipes:
                    os.close(fd)
                self._channel.close_fds(list(self._channel.fds))
                bounded_output.keep([bounded_output.Kept(pipe[0], fd, frame["most"]) for pipe, fd in zip(pipes, files)])
            finally:
                os._exit(0)
        for fd in [*files, *(fd for fd, dummy in pipes)]:
            os.close(fd)
        self._keepers[pid] = frame["call"]
        self._kept[frame["call"]] = pid
        return [fd for dummy, fd in pipes]

    def _note(self, job, pid):
        """Note a pid, for those who look for leftovers if the supervisor is killed before it has recorded the pid."""
        try:
            if self._pids_fd is not None:
                fd = os.dup(self._pids_fd)
            elif self._is_foreign:
                return
            else:
                fd = os.open(self._pids, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if (
                    os.fstat(fd).st_size > _MOST_NOTED
                ):  # with jobs that are tried again for ever: only what runs now counts
                    os.ftruncate(fd, 0)
                    os.write(fd, b"".join(b"%d %d\n" % (known["job"], pid) for pid, known in self._jobs.items()))
                os.write(fd, b"%d %d\n" % (job, pid))
            finally:
                os.close(fd)
        except OSError:
            pass  # a full disk is no reason not to run a job

    def _leave_the_template(self):
        if not self._is_foreign:  # else it has done so already
            os.setsid()
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        self._channel.close()
        for fd in (self._wake_out, self._wake_in, self._told_out, self._told_in):
            os.close(fd)

    def _become_job(self, outputs, frame):
        self._leave_the_template()
        _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, kernel.HELD_BACK)
        os.dup2(outputs[0], 1)
        os.dup2(outputs[1], 2)
        for fd in outputs:
            os.close(fd)
        if "files" in frame:
            self._take_files(frame)
        self._channel.close_fds(list(self._channel.fds))
        self._reaper.become()

    def _own_files(self, call):
        return os.path.join(self._directory, "%d.files" % call)

    def _take_files(self, frame):
        """Put the files of a call where only its user can read them; exit if that can't be done."""
        folder = self._own_files(frame["call"])
        try:
            os.mkdir(folder, 0o700)
            for (name, mode), fd in zip(frame["files"], frame["fds"]):
                number, base = name.split("/")
                os.makedirs(os.path.join(folder, number), 0o700, exist_ok=True)
                with open(fd, "rb", closefd=False) as source:
                    write(os.path.join(folder, number, base), source.read(), mode)
        except OSError as exc:
            message = "cannot start it: its files can't be put in place for its user: %s" % exc
            os.write(1, json.dumps({"failed": True, "changed": False, "msg": message}).encode("ascii"))
            os._exit(1)
        frame["params"] = frame["params"].replace(frame["token"], json.dumps(folder)[1:-1])

    def _reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._keepers:
                self._all_is_kept(self._keepers.pop(pid))
            known = self._jobs.pop(pid, None)
            if known is not None:
                self._job_ended(known, kernel.return_code(status))

    def _job_ended(self, known, status):
        self._hear()
        call = known["call"]
        if self._is_foreign:
            shutil.rmtree(self._own_files(call), ignore_errors=True)
        frame = dict(known, status=status)
        if call in self._briefs:
            frame["brief"] = self._briefs.pop(call)
        if call not in self._kept:
            self._channel.send(frame)
            return
        self._ended[call] = frame
        kernel.send(self._kept[call], _signal.SIGUSR1)  # what it left running may hold its output open for ever

    def _all_is_kept(self, call):
        del self._kept[call]
        if call in self._ended:
            self._channel.send(self._ended.pop(call))

    def _end_all(self):
        """End the jobs and all that they have started, in sessions of its own too."""
        for pid in self._jobs:
            kernel.send(pid, _signal.SIGSTOP)  # it must neither start more nor react to the end of what it has started
        told = set(self._jobs)
        more = kernel.below(self._jobs) - told
        while more:
            for pid in more:
                kernel.send(pid, _signal.SIGKILL)
            told |= more
            more = kernel.below(self._jobs) - told
        for pid in self._jobs:
            # its group: all that is known of what it has started if there is no /proc
            kernel.send(-pid, _signal.SIGKILL)
            kernel.send(pid, _signal.SIGKILL)


def _open_outputs(frame, opened):
    """Make the files for a job's output, and add their descriptors to the list `opened`."""
    access = os.O_RDWR if "most" in frame else os.O_WRONLY
    for key in ("stdout", "stderr"):
        opened.append(os.open(frame[key], access | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _limit(frame):
    """Apply the limits of a job to this process, and so to all that it will start; exit if the host refuses one."""
    try:
        for path in frame.get("groups", ()):
            with open(path, "w", encoding="ascii") as stream:
                stream.write(str(os.getpid()))
        if "nice" in frame:
            os.setpriority(os.PRIO_PROCESS, 0, frame["nice"])
    except OSError as exc:
        message = "cannot start it: the host cannot enforce its limits: %s" % exc
        os.write(1, json.dumps({"failed": True, "changed": False, "msg": message}).encode("ascii"))
        os._exit(1)


def write(path, data, mode):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as stream:
        stream.write(data)
