# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""The template process: loads a module's payload once and forks a process for each job.

The supervisor sends the text of this file to a fresh interpreter, the one that the module itself would run
under: so it imports nothing of this collection, and is the one file on the host that touches ansible-core's
private names (`basic._ANSIBLE_ARGS`, and that a payload calls `runpy.run_module`; 2.19 to 2.21).

The template never runs a module itself, so nothing of one job is seen by the next. Payloads of another form
(binary, old-style, not recognised) are executed, job by job, as Ansible would.

Frames on the socket: four bytes of length, then JSON.
  in:  the payload, once, with "capture", the text of _fork_server/capture.py, where output is kept; then a job at a time
       {"job", "call", "params", "environment", "stdout", "stderr"}, where its output is kept {"output", "keep_output"},
       where what it prints into stdout and stderr has a bound "most", the bytes of either, and where it is limited "nice" and
       "groups", the files by which its process enters control groups; {"revoke": call}: that one is not to be started any
       more, if it was not
       Frames with "fds" come with so many open files. To a template of another user, who must not enter the folders of the
       batch, the payload brings one to note pids in (its "directory" is null), and a call brings those for what it prints,
       with {"copies"} in place of {"output"} two for what it reads from its child processes, and {"token",
       "files": [[name, mode], ...]}, staged files that are put into a folder of that user for the call, which takes the place
       of the token in its params; {"signal": number, "call", "processes": [[pid, start], ...]}: that is to
       be sent to these of its processes, for the supervisor must not
  out: {"job", "call", ...} with "pid" when it was started; with "status" when it ended, and "brief" ({"failed", "changed",
       "rc"} as far as they are known) where the disk was too full for its result; with "error" when it could not be started
End of file on the socket: no more jobs. Those that still run are ended, for nobody would hear of them.
"""

from __future__ import annotations

import array
import ast
import atexit
import base64
import collections.abc
import datetime
import errno
import gc
import importlib
import importlib.util
import io
import json
import locale
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import traceback
import zipfile

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_MOST_NOTED = 4 * 1024 * 1024  # bytes of the pids that are noted
_CANNOT_EXECUTE = 127  # as a shell says it
_MOST_LEFT = 16  # blocks: as much as a pipe can hold
# What must not come between a fork and what the process is to do about it.
_HELD_BACK = (signal.SIGTERM, signal.SIGUSR1)
_PIECE = 65536
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_MOST_FDS = 253  # that come with one message
_OWN_FOLDER = "background-jobs."

# A program that is read from standard input would import what it needs from the working folder, which may be anybody's.
_RUN_STDIN = (
    "import sys; sys.path[:] = [path for path in sys.path if path not in ('', '.')]; "
    "exec(compile(sys.stdin.buffer.read(), '<stdin>', 'exec', dont_inherit=True))"
)


class _Channel:
    """Frames to and from the supervisor."""

    def __init__(self, sock):
        self._sock = sock
        self._received = bytearray()
        self._ended = False
        self._unsent = bytearray()
        self._arrived_fds = []
        self.fds = set()  # that have come, and that nobody has closed

    def fileno(self):
        return self._sock.fileno()

    def receive(self):
        """Wait for the next frame, and return it; None where there are no more. Nothing after it is taken in."""
        while not self._ended:
            frame = self._next()
            if frame is not None:
                return frame
            self._receive_piece(self._end() - len(self._received))
        return None

    def arrived(self):
        """Return the frames that have come by now, None in their place where there will be no more."""
        while not self._ended and self._receive_piece(_PIECE, socket.MSG_DONTWAIT):
            pass
        return None if self._ended else list(iter(self._next, None))

    def _receive_piece(self, size, flags=0):
        """Take in what has come; false where nothing has, or nothing will any more."""
        try:
            piece, ancillary, dummy, dummy = self._sock.recvmsg(size, _ROOM_FOR_FDS, flags | socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except OSError:  # the supervisor was killed, and had not read all that it was sent
            piece, ancillary = b"", []
        for dummy, dummy, data in ancillary:
            fds = array.array("i", data)
            self._arrived_fds += fds
            self.fds.update(fds)
        self._ended = not piece
        self._received += piece
        return bool(piece)

    def _end(self):
        """Return where the first frame ends, as far as that is known."""
        return 4 + (struct.unpack_from("!I", self._received)[0] if len(self._received) >= 4 else 0)

    def _next(self):
        """Take out the first frame, None where not all of it is there."""
        end = self._end()
        if len(self._received) < end or not end > 4:
            return None
        frame = json.loads(bytes(self._received[4:end]))
        del self._received[:end]
        count = frame.pop("fds", 0)
        frame["fds"], self._arrived_fds = self._arrived_fds[:count], self._arrived_fds[count:]
        return frame

    def close_fds(self, fds):
        for fd in fds:
            os.close(fd)
        self.fds.difference_update(fds)

    def send(self, frame):
        """Send without ever waiting, for the supervisor may be busy sending itself: what does not go now stays `unsent`."""
        body = json.dumps(frame).encode("ascii")
        self._unsent += struct.pack("!I", len(body)) + body
        self.flush()

    @property
    def unsent(self):
        return bool(self._unsent)

    def flush(self):
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            pass
        except OSError:  # nobody is there to be told any more: the end of file says so in a moment
            self._unsent.clear()

    def close(self):
        self._received.clear()
        self._sock.close()


_ROOM_FOR_FDS = socket.CMSG_SPACE(_MOST_FDS * array.array("i").itemsize)


class _Server:
    """Forks a process for each job and tells how it ended."""

    def __init__(self, channel, payload):
        self._channel = channel
        self._directory = directory = payload["directory"]
        self._is_foreign = payload["is_foreign"]
        self._pids = os.path.join(directory, "pids.%d" % os.getpid())
        self._pids_fd = payload["fds"][0] if payload["fds"] else None
        self._jobs = {}  # pid: {"job", "call"}
        self._keepers = {}  # pid of what keeps the output of a call: call
        self._kept = {}  # call: the pid of that
        self._ended = {}  # call: the frame that tells of its end, once all of its output is kept
        self._briefs = {}  # call: what is known of its result where the disk did not take it
        self._wake_out, self._wake_in = os.pipe()
        self._told_out, self._told_in = os.pipe()  # for what a job has to tell when the disk is full
        # by its path, for a module may look at what it has open, and is to find what it would find otherwise
        self._told_path = "/proc/%d/fd/%d" % (os.getpid(), self._told_in)
        for fd in (self._wake_out, self._wake_in, self._told_out, self._told_in):
            os.set_blocking(fd, False)

    def serve(self):
        """Return None when there is no more to do; in the process of a job, its frame."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
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
                brief = json.loads(line)
                self._briefs[brief.pop("call")] = brief
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # of thousands at once; or whoever had it open

    def tell(self, call, result):
        """In the process of a job: say what matters of its result, which found no room on the disk."""
        brief = {key: result[key] for key in ("failed", "changed", "rc") if isinstance(result.get(key), (bool, int))}
        try:
            fd = os.open(self._told_path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(fd, json.dumps(dict(brief, call=call)).encode("ascii") + b"\n")
        except OSError:
            pass  # thousands at once, nobody to hear it, or a host without /proc

    def _start(self, frame):
        """Fork; true in the process of the job."""
        known = {key: frame[key] for key in ("job", "call")}
        outputs = self._outputs_in(frame)
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
        self._channel.send(dict(known, pid=pid))
        return False

    def _outputs_in(self, frame):
        """Take the files for what a job prints out of a frame: they are ours to close; none where it brings none."""
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
        """Fork. Of another user, return when the child is in a session of its own: who looks at it must not take all of ours
        for its own."""
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
                for child in _below([pid]):
                    _signal(child, frame["signal"])
            elif start is not None and _start_of(pid) == start:
                _signal(pid, frame["signal"])

    @staticmethod
    def _fork():
        """Fork. The child gets no signal before it is ready for it: see `_HELD_BACK`."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _begin_to_keep(self, frame, files):
        """Fork what keeps in `files` a bounded part of all that the job will print; return the pipes for that, to be written to."""
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
                _keep([_Kept(pipe[0], fd, frame["most"]) for pipe, fd in zip(pipes, files)])
            finally:
                os._exit(0)
        for fd in [*files, *(fd for fd, dummy in pipes)]:
            os.close(fd)
        self._keepers[pid] = frame["call"]
        self._kept[frame["call"]] = pid
        return [fd for dummy, fd in pipes]

    def _note(self, job, pid):
        """Write down a pid for those who look for what is left where the supervisor is killed before it has done so."""
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
                ):  # of jobs that are tried again for ever: what runs now is what counts
                    os.ftruncate(fd, 0)
                    os.write(fd, b"".join(b"%d %d\n" % (known["job"], pid) for pid, known in self._jobs.items()))
                os.write(fd, b"%d %d\n" % (job, pid))
            finally:
                os.close(fd)
        except OSError:
            pass  # a full disk is no reason not to run a job

    def _leave_the_template(self):
        if not self._is_foreign:  # else it has left on its way
            os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._channel.close()
        for fd in (self._wake_out, self._wake_in, self._told_out, self._told_in):
            os.close(fd)

    def _become_job(self, outputs, frame):
        self._leave_the_template()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
        os.dup2(outputs[0], 1)
        os.dup2(outputs[1], 2)
        for fd in outputs:
            os.close(fd)
        if "files" in frame:
            self._take_files(frame)
        self._channel.close_fds(list(self._channel.fds))
        _PRCTL(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def _own_files(self, call):
        return os.path.join(self._directory, "%d.files" % call)

    def _take_files(self, frame):
        """Put the files of a call where it can read them, and nobody else; it ends where that can't be done."""
        folder = self._own_files(frame["call"])
        try:
            os.mkdir(folder, 0o700)
            for (name, mode), fd in zip(frame["files"], frame["fds"]):
                number, base = name.split("/")
                os.makedirs(os.path.join(folder, number), 0o700, exist_ok=True)
                with open(fd, "rb", closefd=False) as source:
                    _write(os.path.join(folder, number, base), source.read(), mode)
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
                self._job_ended(known, _return_code(status))

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
        _signal(self._kept[call], signal.SIGUSR1)  # what it has left running may hold its output open for ever

    def _all_is_kept(self, call):
        del self._kept[call]
        if call in self._ended:
            self._channel.send(self._ended.pop(call))

    def _end_all(self):
        """End the jobs and all that they have started, in sessions of its own too."""
        for pid in self._jobs:
            _signal(pid, signal.SIGSTOP)  # it must neither start more nor act on the end of what it has started
        told = set(self._jobs)
        more = _below(self._jobs) - told
        while more:
            for pid in more:
                _signal(pid, signal.SIGKILL)
            told |= more
            more = _below(self._jobs) - told
        for pid in self._jobs:
            _signal(-pid, signal.SIGKILL)  # its group: all that is known of what it has started where there is no /proc
            _signal(pid, signal.SIGKILL)


def _open_outputs(frame, opened):
    """Make the files for what a job prints, and put their descriptors into the list `opened`."""
    access = os.O_RDWR if "most" in frame else os.O_WRONLY
    for key in ("stdout", "stderr"):
        opened.append(os.open(frame[key], access | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


class _Kept:
    """A pipe that a job prints into, and the file that gets what comes: of much the first half, and the last part."""

    def __init__(self, pipe, file, most):
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._file = file
        self._most = most
        self._size = 0  # of the file
        self._begin = most // 2  # where in the file what comes last begins
        self._left_out = 0
        self._is_full = False  # the disk: what comes is read, and lost

    def fileno(self):
        return self._pipe

    def take(self):
        """Keep some of what is there. Return how many bytes that were, None where there is nothing yet."""
        try:
            data = os.read(self._pipe, _PIECE)
        except BlockingIOError:
            return None
        try:
            if not self._is_full:
                self._write(data)
        except OSError:
            self._is_full = True
        return len(data)

    def _write(self, data):
        self._put(data, self._size)
        self._size += len(data)
        if self._size > self._most:
            self._shorten()

    def _put(self, data, at):
        while data:
            written = os.pwrite(self._file, data, at)
            data, at = data[written:], at + written

    def _shorten(self):
        """Leave out what lies between the first half and the last quarter of what may be kept."""
        source = self._size - self._most // 4
        self._left_out += source - self._begin
        mark = b"\n... %d bytes left out ...\n" % self._left_out
        target = self._most // 2
        self._put(mark, target)
        target = self._begin = target + len(mark)
        while source < self._size:
            piece = os.pread(self._file, min(_PIECE, self._size - source), source)
            self._put(piece, target)
            source, target = source + len(piece), target + len(piece)
        os.ftruncate(self._file, target)
        self._size = target


def _keep(pipes):
    """Keep what comes out of `pipes` until nobody can write to them any more, or this process is told that the job has ended."""
    told_out, told_in = os.pipe()
    for fd in (told_out, told_in):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a job may print while it ends
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    signal.set_wakeup_fd(told_in)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    opened = list(pipes)
    while opened:
        ready = select.select([told_out, *opened], [], [])[0]
        for pipe in ready:
            if pipe != told_out and pipe.take() == 0:
                opened.remove(pipe)
        if told_out in ready:
            break
    for pipe in opened:
        for dummy in range(_MOST_LEFT):  # what goes on may print without end
            if not pipe.take():
                break


def _signal(pid, number):
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # it has gone, or has become somebody else


def _start_of(pid):
    """Return when a process started, None where there is none."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            text = stream.read()
    except OSError:
        return None
    return int(text[text.rindex(b")") + 2 :].split()[19])


def _below(ancestors):
    """Return the pids of what is, or descends from, one of these processes, or shares a session with one that does."""
    parents, sessions = {}, {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as stream:
                    text = stream.read()
            except OSError:  # it has gone
                continue
            fields = text[text.rindex(b")") + 2 :].split()
            parents[int(name)], sessions[int(name)] = int(fields[1]), int(fields[3])
    found, before, own = set(ancestors), 0, os.getsid(0)
    while len(found) != before:
        before = len(found)
        theirs = {sessions[pid] for pid in found if pid in sessions} - {own}  # what was forked just now is in ours yet
        found.update(pid for pid, parent in parents.items() if parent in found or sessions[pid] in theirs)
    return found


def _limit(frame):
    """Hold this process, and all that it will start, to the limits of its job; it ends where the host refuses one."""
    try:
        for path in frame.get("groups", ()):
            with open(path, "w", encoding="ascii") as stream:
                stream.write(str(os.getpid()))
        if "nice" in frame:
            os.setpriority(os.PRIO_PROCESS, 0, frame["nice"])
    except OSError as exc:
        message = "cannot start it: the host does not hold it to its limits: %s" % exc
        os.write(1, json.dumps({"failed": True, "changed": False, "msg": message}).encode("ascii"))
        os._exit(1)


def _return_code(status):
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _load_prctl():
    """prctl(2), loaded before the first fork; elsewhere than on Linux a function that does nothing.

    A job is made the reaper of what its children leave behind, so that all of it is found below it at a time-out.
    """
    try:
        import ctypes

        return ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return lambda *args: None


class _Unfit(Exception):
    """This payload cannot be served by forking."""


class _Forking:
    """Serves jobs from inside an AnsiballZ payload: where it would run the module, a job is forked instead."""

    def __init__(self, channel, payload):
        self._server = _Server(channel, payload)
        self._payload = payload
        self._capture = _load_capture(payload)
        self._run_module = runpy.run_module
        self._rmtree = shutil.rmtree
        self._umask = None  # that was there before the payload was unpacked
        self._in_job = False
        self._frame = None
        self._served = False

    def run(self):
        """Return when all jobs are done; exits in the process of a job. _Unfit where no job could be served."""
        runpy.run_module = self._serve_instead
        standard_output = sys.stdout
        sys.stdout = io.StringIO()  # what a payload that can't be loaded has to say is said again by each job
        sys.argv = [self._payload["name"]]
        program = compile(self._payload["head"] + "'{}'" + self._payload["tail"], self._payload["name"], "exec")
        try:
            self._unpack_and_run(program)
        except SystemExit as exc:
            if self._in_job:
                self._leave(exc.code)
        except BaseException:  # whatever it is: the process of a job must not come back into the template
            if self._in_job:
                traceback.print_exc()
                self._leave(1)
            if self._served:
                raise
        finally:
            if not self._in_job:
                sys.stdout = standard_output
                runpy.run_module = self._run_module
                self._end_unpacking()
        if not self._served:
            raise _Unfit

    def _unpack_and_run(self, program):
        """Have the payload unpack itself where all goes with the batch, even if this process is killed; elsewhere only
        where that disk is full."""
        names = {"__name__": "__main__", "__builtins__": __builtins__}
        tempfile.tempdir, self._umask = self._payload["directory"], os.umask(0o077)
        try:
            exec(program, dict(names))  # pylint: disable=exec-used
        except OSError as exc:
            if self._served or exc.errno not in _DISK_FULL:
                raise
            tempfile.tempdir = None
            exec(program, dict(names))  # pylint: disable=exec-used

    def _end_unpacking(self):
        """Let each job find its own folder for temporary files, and have the umask that it is to have."""
        tempfile.tempdir = None
        os.umask(self._umask)

    def _serve_instead(self, mod_name, *args, **kwargs):
        basic = sys.modules.get("ansible.module_utils.basic")
        if not hasattr(basic, "_ANSIBLE_ARGS"):
            raise _Unfit
        _preload(mod_name)
        self._end_unpacking()
        sys.stdout = sys.__stdout__
        self._served = True
        frame = self._server.serve()
        if frame is None:
            raise SystemExit(0)
        self._in_job, self._frame = True, frame
        self._printed = _Printed()
        before = sys.__stdout__
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(self._printed), before.encoding, before.errors)
        sys.__stdout__ = sys.stdout
        runpy.run_module = self._run_module
        atexit._clear()
        os.environ.update(frame["environment"])
        basic._ANSIBLE_ARGS = frame["params"].encode("utf-8", "surrogateescape")
        if self._capture and "keep_output" in frame:
            self._capture["install"](frame.get("output"), frame["keep_output"], frame.get("copies", ()))
        try:
            return self._run_module(mod_name, *args, **kwargs)
        finally:
            # the payload now removes its zip, which belongs to the template and the jobs after this one
            shutil.rmtree = self._keep

    def _keep(self, *args, **kwargs):
        shutil.rmtree = self._rmtree

    def _leave(self, code):
        """End the process of a job as the interpreter would end it, without what the template has set up."""
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        atexit._run_exitfuncs()
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = 120  # as the interpreter does
        result = self._printed.result(self._frame.get("stdout", ""))
        if result is not None:
            self._server.tell(self._frame["call"], result)
        os._exit((code or 0) & 0xFF)


def _load_capture(payload):
    """Return what _fork_server/capture.py defines, None where no output is kept. Read before the first fork, once for all jobs."""
    if not payload.get("capture"):
        return None
    names = {"__name__": "background.jobs capture", "__builtins__": __builtins__}
    exec(compile(payload["capture"], "background.jobs capture", "exec"), names)  # pylint: disable=exec-used
    return names


class _Printed(io.RawIOBase):
    """What is below the standard output of a job: a full disk is no error of the module, what it does not take is kept here."""

    name, mode = "<stdout>", "wb"

    def __init__(self):
        self._left = None

    def fileno(self):
        return 1

    def writable(self):
        return True

    def write(self, data):
        if self._left is None:
            try:
                return os.write(1, data)
            except OSError as exc:
                if exc.errno not in _DISK_FULL:
                    raise
                self._left = bytearray()
        self._left += data
        return len(data)

    def result(self, path):
        """Return the result of the module where not all of it is in the file `path`, as far as it can be understood."""
        if self._left is None:
            return None
        try:
            with open(path, "rb") as stream:
                result = json.loads(stream.read() + self._left)
        except (OSError, ValueError):
            return None
        return result if isinstance(result, dict) else None


def _preload(mod_name):
    """Import what the module `mod_name` will import, and compile the module itself, once for all jobs.

    That is what the payload holds of ansible-core's module_utils, and what the module imports at its top level
    without condition, as far as it comes with the payload or the standard library: what else a host has may not
    bear a fork.
    """
    spec = importlib.util.find_spec(mod_name)
    names = _core_utilities(spec.loader.archive)
    standard = getattr(sys, "stdlib_module_names", ())
    for name in _top_level_imports(spec.loader.get_source(mod_name), spec.parent):
        if name.startswith("ansible_collections.") or name.split(".")[0] in standard:
            names.append(name)
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # an attribute, not a module; or the job will say it
    sys.meta_path.insert(0, _Compiled(spec))
    _warm_up()


def _warm_up():
    """Fill the caches that each job would fill anew; nothing that a module can see is changed."""
    for value in (None, True, 1, 1.0, "", b"", [], {}, (), set(), frozenset(), datetime.datetime.min):
        for name in (
            "Mapping",
            "MutableMapping",
            "Sequence",
            "MutableSequence",
            "Set",
            "MutableSet",
            "KeysView",
            "Iterable",
            "Hashable",
        ):
            isinstance(value, getattr(collections.abc, name))
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        return
    locale.setlocale(locale.LC_ALL, before)


def _core_utilities(archive):
    with zipfile.ZipFile(archive) as payload:
        paths = [
            path for path in payload.namelist() if path.startswith("ansible/module_utils/") and path.endswith(".py")
        ]
    return [path[: -len(".py")].replace("/", ".") for path in paths if not path.endswith("/__init__.py")]


class _Compiled:
    """Finds one module that was compiled beforehand: zipimport would compile it anew in each job, more than once."""

    def __init__(self, spec):
        self._name, self._loader, self._origin = spec.name, spec.loader, spec.origin
        self._code = spec.loader.get_code(spec.name)

    def find_spec(self, name, path=None, target=None):
        if name == self._name:
            return importlib.util.spec_from_file_location(name, self._origin, loader=self)
        return None

    def __getattr__(self, attribute):
        return getattr(self._loader, attribute)

    def get_code(self, name):
        return self._code if name == self._name else self._loader.get_code(name)


def _top_level_imports(source, package):
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            name = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield name
            for alias in node.names:
                yield "%s.%s" % (name, alias.name)


class _Executing:
    """Serves jobs by executing a program for each, as Ansible would; or a command line, where that is all."""

    def __init__(self, channel, payload):
        self._server = _Server(channel, payload)
        self._payload = payload
        self._program = None
        if payload["style"] == "args_file":
            self._program = os.path.join(
                payload["directory"], "%d.%s" % (os.getpid(), os.path.basename(payload["name"]))
            )

    def run(self):
        """Return when all jobs are done; does not return in the process of a job."""
        if self._program:
            _write(self._program, base64.b64decode(self._payload["data"]), 0o700)
        try:
            frame = self._server.serve()
            if frame is not None:
                self._execute(frame)
        finally:
            if self._program:
                os.unlink(self._program)

    def _execute(self, frame):
        own = os.path.join(self._payload["directory"], "%d" % frame["call"])
        arguments_file = frame.get("stdout", own) + ".args"
        try:
            params = frame["params"].encode("utf-8", "surrogateescape")
            command = list(self._payload["interpreter"])
            if self._payload["style"] == "command":
                command = [os.fsencode(word) for word in json.loads(frame["params"])["command"]]
            elif self._program:
                _write(arguments_file, params, 0o600)
                command += [self._program, arguments_file]
            else:
                if self._payload["style"] == "ansiballz":
                    text = self._payload["head"] + repr(frame["params"]) + self._payload["tail"]
                    params = text.encode("utf-8", "surrogateescape")
                    if "keep_output" in frame:
                        params = self._with_capture(params, frame)
                _write(arguments_file, params, 0o600)
                program = os.open(arguments_file, os.O_RDONLY)
                os.unlink(arguments_file)
                os.dup2(program, 0)
                if self._payload["style"] == "ansiballz" or os.path.basename(command[0]).startswith("python"):
                    command += ["-c", _RUN_STDIN]
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)  # what Python ignores must not be ignored by what it executes
            os.environ.update(frame["environment"])
            os.execvp(command[0], command)
        except OSError as exc:
            os.write(2, ("cannot execute it: %s\n" % exc).encode("utf-8", "replace"))
        finally:
            os._exit(_CANNOT_EXECUTE)

    def _with_capture(self, program, frame):
        """Return the text of a program (bytes) that runs `program` and keeps what its child processes print."""
        copies = frame.get("copies", ())
        for fd in copies:
            os.set_inheritable(fd, True)
        settings = (program, self._payload["name"], frame.get("output"), frame["keep_output"], copies)
        return ("%s\nrun_program%r\n" % (self._payload["capture"], settings)).encode("utf-8")


def _write(path, data, mode):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as stream:
        stream.write(data)


def main():
    global _PRCTL
    # who tells all of a service to end tells its jobs, and their supervisor, which has the say
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    _PRCTL = _load_prctl()
    sock = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    channel = _Channel(sock)
    payload = channel.receive()
    if payload is None:
        return
    payload["is_foreign"] = payload["directory"] is None
    if not payload["is_foreign"]:
        _serve(channel, payload)
        return
    payload["directory"], own = _own_folder(), os.getpid()
    try:
        _serve(channel, payload)
    finally:
        if os.getpid() == own:
            shutil.rmtree(payload["directory"], ignore_errors=True)


def _own_folder():
    """Make a folder for a template of another user than the supervisor, where Ansible has its temporary files or any do."""
    kept = os.path.expanduser("~/.ansible/tmp")
    try:
        os.makedirs(kept, 0o700, exist_ok=True)
        _sweep(kept)
        return tempfile.mkdtemp(prefix="%s%d." % (_OWN_FOLDER, os.getpid()), dir=kept)
    except OSError:
        _sweep(tempfile.gettempdir())
        return tempfile.mkdtemp(prefix="%s%d." % (_OWN_FOLDER, os.getpid()))


def _sweep(parent):
    """Remove the folders of templates that were killed."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        pid = name[len(_OWN_FOLDER) :].partition(".")[0]
        if (
            name.startswith(_OWN_FOLDER)
            and pid.isdigit()
            and os.lstat(path).st_uid == os.geteuid()
            and _start_of(int(pid)) is None
        ):
            shutil.rmtree(path, ignore_errors=True)


def _serve(channel, payload):
    if payload["style"] == "ansiballz" and payload.get("fork", True):
        try:
            _Forking(channel, payload).run()
            return
        except _Unfit:
            pass
    _Executing(channel, payload).run()


if __name__ == "__main__":
    main()
