# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Processes as /proc tells of them: who lives, who descends from whom, and signals that reach nobody else.

Where there is no /proc, a process is only known by its pid.
"""

from __future__ import annotations

import os
import signal
from collections import namedtuple

Process = namedtuple("Process", "pid ppid session start state")
# start: clock ticks since boot, field 22 of /proc/<pid>/stat (proc(5)); with the pid it names one process until the next boot.

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


def table():
    """Return {pid: Process} of all that /proc shows."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = look(int(name))
            if process:
                found[process.pid] = process
    return found


def _boot():
    text = _read("/proc/sys/kernel/random/boot_id")
    init = look(1)
    # A container that restarts keeps the machine's boot id: there process 1 tells.
    return {"boot_id": text.decode("ascii").strip() if text else None, "init_start": init.start if init else None}


def identity(pid):
    """Return what names process `pid` for ever: {pid, start, boot_id, init_start}; unknown parts are None."""
    process = look(pid)
    return dict(_boot(), pid=pid, start=process.start if process else None)


def why_gone(recorded):
    """Return None while the process of an `identity` lives, else what happened: "it was gone", "the host restarted"."""
    boot = _boot()
    if recorded["boot_id"] != boot["boot_id"] or recorded["init_start"] != boot["init_start"]:
        return "the host restarted"
    if recorded["start"] is None:
        return None if _exists(recorded["pid"]) else "it was gone"
    process = look(recorded["pid"])
    if process is None or process.start != recorded["start"] or process.state in "ZX":
        return "it was gone"
    return None


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class Snapshot:
    """All processes at one moment, and who belongs to whom."""

    def __init__(self, processes=None):
        self._processes = table() if processes is None else processes
        self._children, self._sessions = {}, {}
        for process in self._processes.values():
            self._children.setdefault(process.ppid, []).append(process)
            self._sessions.setdefault(process.session, []).append(process)
        self._own_session = os.getsid(0)

    def __iter__(self):
        return iter(self._processes.values())

    def tree(self, members):
        """Return the live Processes that are, or descend from, one of `members` ({pid: start}), as {pid: Process}.

        Whoever shares a session with a descendant counts too: a child whose parent has exited is no longer
        below it, but stays in its session. The caller's own session is left out.
        """
        found, todo = {}, []
        for pid, start in members.items():
            process = self._processes.get(pid)
            if process is None:
                # its session outlives it, and as long as it does, nobody else gets that number
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


def usage(pids):
    """Return (CPU seconds, bytes of memory) that processes have used and use, as far as they still live."""
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
    """Send a signal to `process` (pid, start), never to another that has taken over its pid; say whether it was sent."""
    if not _HAS_PIDFD:
        return _send_by_pid(process, number)
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except OSError:  # a kernel before 5.3
        return _send_by_pid(process, number)
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
