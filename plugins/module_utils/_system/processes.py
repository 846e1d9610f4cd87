# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Processes according to /proc: which live, which descend from which, and signals that reach no other process.

Without /proc, a process is known only by its pid, and what it has started by its process group.
"""

from __future__ import annotations

import os
import signal
import time
from collections import namedtuple

from ansible_collections.background.jobs.plugins.module_utils._system import hashing

_LOOK_AGAIN = 0.05  # seconds
_KILL_AGAIN = 1.0
_REMOVED = " (deleted)"  # what /proc appends to the path of a removed file

GONE, RESTARTED = "gone", "restarted"  # what has become of a process that is not alive

Process = namedtuple("Process", "pid ppid session start state")
# start: clock ticks since boot, field 22 of /proc/<pid>/stat (proc(5)); with the pid it identifies a process until reboot.

_LOW_PIDS = 1024  # those skipped when the numbers start over (300), and a margin for those handed out meanwhile

_HAS_PIDFD = hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:  # the process went away, or is hidden from us
        return None


def look(pid):
    """Return the Process `pid`, or None."""
    text = _read("/proc/%d/stat" % pid)
    if not text:
        return None
    # the second field is the command in parentheses, which may itself hold spaces and parentheses
    after = text.rindex(b")") + 2
    fields = text[after:].split()
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0].decode("ascii"))


def _is_told():
    """Whether /proc shows processes: it may be missing, or an empty folder."""
    return os.path.isdir("/proc/self")


def _pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if _is_told() else []


def table():
    """Return {pid: Process} of all that /proc shows."""
    found = {}
    for pid in _pids():
        process = look(pid)
        if process:
            found[process.pid] = process
    return found


def _boot():
    text = _read("/proc/sys/kernel/random/boot_id")
    init = look(1)
    # A restarted container keeps the machine's boot id: there, the start of process 1 has changed.
    return {"boot_id": text.decode("ascii").strip() if text else None, "init_start": init.start if init else None}


def _machine():
    """Return what a host, or container, keeps across restarts, and shares with no other.

    Neither part would do alone: all machines made from one image or template may have the same machine-id, and there may
    be many a "localhost". A machine-id is confidential, and so is hashed (machine-id(5)).
    """
    found = _read("/etc/machine-id") or _read("/var/lib/dbus/machine-id") or b""
    known = found.strip() not in (b"", b"uninitialized")
    hashed = hashing.sha256(b"background.jobs " + found.strip()).hexdigest()[:32] if known else None
    return {"id": hashed, "name": os.uname().nodename}


def machine_key():
    """Return the name for a folder of this machine's own in a directory that other machines may share."""
    machine = _machine()
    return hashing.sha256(("%s %s" % (machine["id"], machine["name"])).encode("utf-8", "replace")).hexdigest()[:16]


def _pid_namespace():
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _uptime():
    """Return the seconds since the host started, including suspended time; None if that is not known."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return None


def identity(pid):
    """Return what identifies process `pid` for ever: {pid, start, boot_id, init_start}; unknown parts are None.

    forks: how many processes and threads the kernel had started by now, see `may_be_reused`. pid_namespace: where its pid
    is valid. machine: where it lives, see `Boot.elsewhere`. booted_at: when the host started, by its clock as it is now.
    """
    process, uptime = look(pid), _uptime()
    return dict(
        _boot(),
        pid=pid,
        start=process.start if process else None,
        forks=_forks(),
        pid_namespace=_pid_namespace(),
        machine=_machine(),
        booted_at=None if uptime is None else round(time.time() - uptime, 6),
    )


def _forks():
    text = _read("/proc/stat")
    line = next((line for line in (text or b"").splitlines() if line.startswith(b"processes ")), None)
    return int(line.split()[1]) if line else None


class Numbers:
    """How many pids the kernel has handed out, looked up once."""

    def __init__(self):
        self._forks, self._limit = _forks(), _read("/proc/sys/kernel/pid_max")

    def may_be_reused(self, recorded):
        """Say whether a pid from after an `identity` was taken may by now be the number of another process, or session.

        The kernel hands out pids in a circle: none comes twice before all the others were handed out.
        """
        if recorded.get("forks") is None or self._forks is None or not self._limit:
            return True
        return self._forks - recorded["forks"] >= int(self._limit) - _LOW_PIDS


class Boot:
    """What identifies this boot of the host, looked up once."""

    def __init__(self):
        self._parts = _boot()
        self._pid_namespace = _pid_namespace()
        self._machine = _machine()

    def is_of(self, recorded):
        """Say whether an `identity` was recorded since the host, or the container, started."""
        if any(recorded[key] != value for key, value in self._parts.items()):
            return False
        if self._parts["boot_id"] is None:  # only the machine is known
            return not self._is_other(recorded)
        return recorded.get("pid_namespace") in (None, self._pid_namespace)

    def _is_other(self, recorded):
        return recorded.get("machine") not in (None, self._machine)

    def elsewhere(self, recorded):
        """Return the name of the machine that an `identity` was recorded on, None if that is this one.

        Several machines may share a home directory. Nothing can be concluded here about a process of another one.
        """
        if self.is_of(recorded) or not self._is_other(recorded):
            return None
        machine = recorded["machine"]
        return str(machine.get("name") if isinstance(machine, dict) else machine)

    def now(self, recorded, now):
        """Return the time `now` by the clock as it was when an `identity` was recorded: it may have been set since.

        After a restart of the host the difference is unknown, and `now` is returned as it is.
        """
        booted_at, uptime = recorded.get("booted_at"), _uptime()
        if not isinstance(booted_at, (int, float)) or uptime is None or not self.is_of(recorded):
            return now
        return booted_at + uptime


def why_gone(recorded, boot=None):
    """Return None while the process of an `identity` lives, else GONE or RESTARTED (the host).

    None too if it is one of another machine, as it may live. boot: the Boot, if it is at hand.
    """
    boot = boot or Boot()
    if boot.elsewhere(recorded) is not None:
        return None
    if not boot.is_of(recorded):
        return RESTARTED
    if recorded["start"] is None:
        return None if _takes(recorded["pid"], 0) else GONE
    process = look(recorded["pid"])
    if process is None or process.start != recorded["start"] or process.state in "ZX":
        return GONE
    return None


def _takes(pid, number):
    """Send a signal; say whether there was a process to get it. pid: as in kill(2)."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return number == 0
    return True


class Snapshot:
    """All processes at one moment, and which belong together."""

    def __init__(self, processes=None):
        self._is_blind = processes is None and not _is_told()
        self._processes = table() if processes is None else processes
        self._children, self._sessions = {}, {}
        for process in self._processes.values():
            self._children.setdefault(process.ppid, []).append(process)
            self._sessions.setdefault(process.session, []).append(process)
        self._own_session = os.getsid(0)

    def __iter__(self):
        return iter(self._processes.values())

    def __contains__(self, pid):
        return pid in self._processes

    def tree(self, members):
        """Return the live Processes that are, or descend from, one of `members` ({pid: start}), as {pid: Process}.

        Those that share a session with a descendant count too: a child whose parent has exited is no longer
        below it, but stays in its session. The caller's own session is left out.
        Without /proc, live members without a known start are returned, each for its whole process group.
        """
        if self._is_blind:
            return {
                pid: Process(pid, 0, pid, None, "?") for pid, start in members.items() if start is None and _lives(pid)
            }
        found, todo = {}, []
        for pid, start in members.items():
            process = self._processes.get(pid)
            if process is None:
                # its session may outlive it, and until then no other process gets its number
                todo.extend(self._sessions.get(pid, ()))
            elif process.start == start:
                todo.append(process)
        while todo:
            process = todo.pop()
            if process.pid in found:
                continue
            found[process.pid] = process
            todo.extend(self._children.get(process.pid, ()))
            if process.session != self._own_session:
                todo.extend(self._sessions.get(process.session, ()))
        return {pid: process for pid, process in found.items() if process.state not in "ZX"}


def _lives(pid):
    return _takes(-pid, 0) or _takes(pid, 0)


def holders(paths):
    """Return who has one of these files open, even if it was removed: {path: {pid: start}}, as far as we may look.

    Who has it open, but not as its own output, is copying there what others print into a pipe: these count too.
    paths: without symbolic links, as in /proc.
    """
    wanted, found, keepers, pipes = set(paths), {}, {}, {}
    for pid in _pids() if wanted else ():
        targets = _open_files(pid)
        for path in wanted.intersection(targets.values()):
            found.setdefault(path, set()).add(pid)
            if path not in (targets.get("1"), targets.get("2")):
                keepers.setdefault(path, set()).update(filter(_is_pipe, targets.values()))
        for pipe in filter(_is_pipe, (targets.get("1"), targets.get("2"))):
            pipes.setdefault(pipe, set()).add(pid)
    for path, kept in keepers.items():
        found[path].update(*(pipes.get(pipe, ()) for pipe in kept))
    return {path: _starts(pids) for path, pids in found.items()}


def _open_files(name):
    """Return {file descriptor: path} of a process, both as texts; {} if it went away, or is not ours."""
    folder = "/proc/%s/fd" % name
    try:
        targets = {fd: os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder)}
    except OSError:
        return {}
    return {fd: path[: -len(_REMOVED)] if path.endswith(_REMOVED) else path for fd, path in targets.items()}


def _is_pipe(path):
    return path is not None and path.startswith("pipe:")


def _starts(pids):
    found = filter(None, map(look, pids))
    return {process.pid: process.start for process in found}


class Ending:
    """Trees of processes that were told to end. It never blocks: its owner calls `look` again and again."""

    def __init__(self, families, grace, now):
        """families: {key: {pid: start}}; grace: seconds until those that are left are killed."""
        self.left = dict(families)
        self.look_at = now  # when the next look is worthwhile
        self._kill_at = now + grace

    def look(self, now, number=None):
        """See who is left, and send them a signal, if any; SIGKILL after the grace. Return the keys of those that are gone."""
        if now >= self._kill_at:
            number, self._kill_at = signal.SIGKILL, now + _KILL_AGAIN
        begun = time.monotonic()
        snapshot = Snapshot()
        gone = [key for key, family in self.left.items() if not _signal(family, number, snapshot)]
        for key in gone:
            del self.left[key]
        # they are not our children: their end is no event for us
        self.look_at = now + max(_LOOK_AGAIN, 10 * (time.monotonic() - begun))
        return gone


def _signal(family, number, snapshot):
    """Send a signal (None: none) to the live processes of a family, and remember them; say whether there were any."""
    tree = snapshot.tree(family)
    family.update((pid, process.start) for pid, process in tree.items())
    if number is not None:
        for process in tree.values():
            send(process, number)
    return bool(tree)


def usage(pids):
    """Return (CPU seconds, bytes of memory) that processes have used and use, as far as they are still alive."""
    ticks, pages = 0, 0
    for pid in pids:
        text = _read("/proc/%d/stat" % pid)
        if text:
            after = text.rindex(b")") + 2
            fields = text[after:].split()
            # proc(5): utime and stime are fields 14 and 15, rss is 24; the first of these is 3
            ticks += int(fields[11]) + int(fields[12])
            pages += int(fields[21])
    return round(ticks / os.sysconf("SC_CLK_TCK"), 2), pages * os.sysconf("SC_PAGE_SIZE")


def send(process, number):
    """Send a signal to `process` (pid, start), never to another that has got its pid since; say whether it was sent.

    Without /proc, its whole process group gets it.
    """
    if process.start is None:
        return _takes(-process.pid, number) or _takes(process.pid, number)
    try:
        handle = os.pidfd_open(process.pid) if _HAS_PIDFD else None
    except ProcessLookupError:
        return False
    except OSError:  # a kernel before 5.3
        handle = None
    return _send_by_pid(process, number) if handle is None else _send_by_handle(handle, process, number)


def _send_by_handle(handle, process, number):
    try:
        now = look(process.pid)
        if now is None or now.start != process.start:
            return False
        signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(handle)
    return True


def _send_by_pid(process, number):
    now = look(process.pid)
    if now is None or now.start != process.start:
        return False
    try:
        os.kill(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
