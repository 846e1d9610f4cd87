# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What a template asks the kernel about processes, and does with them."""

from __future__ import annotations

import _signal  # not signal, whose functions work with enumerations: in each job, those would be pages to copy
import os

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
# Signals that are blocked between a fork and the moment when the child can handle them.
HELD_BACK = (_signal.SIGTERM, _signal.SIGUSR1)


class Reaper:
    """Makes a process the reaper of what its children leave behind, so that a time-out finds all of it among its descendants.

    prctl(2) is loaded before the first fork; elsewhere than on Linux it is a function that does nothing.
    """

    def __init__(self):
        try:
            import ctypes

            self._prctl = ctypes.CDLL(None).prctl
        except (ImportError, OSError, AttributeError):
            self._prctl = lambda *args: None

    def become(self):
        self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def send(pid, number):
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # it has gone, or has become another user


def rename(words):
    """Replace the last words of this process's command line, which identify it; if that can't be done they stay."""
    try:
        with open("/proc/self/cmdline", "rb") as stream:
            line = stream.read()
        with open("/proc/self/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
        begin = line.rindex(b"\0" + words[0].encode() + b"\0")
        # aligned to the right, so that the end stays; what is before it is the text of a program that runs already
        first = line.index(b"\0-c\0") + len(b"\0-c\0")
        data = b"\0" + b"\0".join(word.encode("utf-8", "replace") for word in words) + b"\0"
        room = len(line) - first
        if end - start == len(line) and len(data) < room:
            data = line[first:begin].ljust(room)[: room - len(data)] + data
            with open("/proc/self/mem", "r+b", buffering=0) as memory:
                memory.seek(start + first)
                memory.write(data)
    except (OSError, ValueError, IndexError):
        pass


def start_of(pid):
    """Return when a process started, None if there is none."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            text = stream.read()
    except OSError:
        return None
    return int(text[text.rindex(b")") + 2 :].split()[19])


def below(ancestors):
    """Return the pids of these processes, their descendants, and all that share a session with one of them."""
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
        theirs = {sessions[pid] for pid in found if pid in sessions} - {own}  # in which a new fork still is
        found.update(pid for pid, parent in parents.items() if parent in found or sessions[pid] in theirs)
    return found


def return_code(status):
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
