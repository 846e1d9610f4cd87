# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""A module call of a job, as its supervisor sees it, and the supervisor's clock."""

from __future__ import annotations

import os
import signal
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import output, results
from ansible_collections.background.jobs.plugins.module_utils._system import files, processes

_MODULE_PATIENCE = 1.0  # seconds from SIGTERM to what a module has started until SIGTERM to the module


class Clock:
    """A monotonic clock, and the time of day that it corresponded to when the batch began."""

    def __init__(self):
        self._epoch = time.time() - time.monotonic()
        self._suspended = self._slept()

    now = staticmethod(time.monotonic)

    def wall(self, now):
        """Return a time of this clock as seconds since 1970, untouched by later changes of the host's clock.

        It includes the time that the host was suspended, unlike `now`.
        """
        return round(self._epoch + now + self._slept() - self._suspended, 6)

    @staticmethod
    def _slept():
        try:
            return round(time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic(), 1)
        except (AttributeError, OSError):  # not Linux
            return 0.0


def began(said, *, ordered, now):
    """Return when a call began. said: when its template, which may be another user's, says so: on a busy host that arrives late;
    ordered: when the template was told to begin."""
    return min(max(said, ordered), now)


class ModuleCall:
    """A module call of a job: its process and what that prints."""

    def __init__(self, base, started, folder=None, call=0):
        """folder: the Folder that the files of `base` are in, if it is open already; call: a number that no other call of
        this supervisor has."""
        self._folder = folder or files.Folder(os.path.dirname(base))
        self.call = call
        self.stdout, self.stderr = base + ".stdout", base + ".stderr"
        self.started = started
        self.template = None
        self.most = None  # bytes to keep of each stream while it prints; None: all, because the output is its result
        self.members = {}  # pid: start, of the processes that are known to be its own
        self.status = None
        self.brief = None  # what is known of its result if the disk could not take it
        self.error = None
        self.kills = None  # how many processes of its job the kernel had killed before, if that is counted
        self.give_up = None  # when to regard it as ended, whatever is left of it
        self.was_killed = False  # whether something of it was sent SIGKILL
        self.stuck = None  # the pids that were left when it was given up
        self.pid = None
        self.insist_at = None
        self.number = signal.SIGTERM  # the signal that tells it to end
        self.untold = False  # whether that signal is still to be sent
        self.to_kill = False
        self.stopping = None  # the (state, reason) for telling it to end
        self.copies = ()  # paths of child processes' output that another user's template captured
        self.output_begins = None  # {stream: offset} of its part of its job's kept output; None: none is kept

    @property
    def was_ended(self):
        """Whether it did not end by itself."""
        return self.stopping is not None or (self.status is not None and self.status < 0)

    @property
    def has_ended(self):
        """Whether its main process is gone; its descendants may not be."""
        return self.status is not None or self.error is not None

    def left(self, snapshot):
        """Return the processes of the call that are still alive."""
        found = snapshot.tree(self.members)
        self.members.update((pid, process.start) for pid, process in found.items())
        return found

    def ask_to_end(self, snapshot, now):
        """Send its signal: first to what the module started, so that the module can still report what that printed."""
        started = [process for process in _parents_first(self.left(snapshot)) if process.pid != self.pid]
        if started and not self.has_ended:
            self.insist_at = now + _MODULE_PATIENCE
            for process in started:
                self._send(process, self.number)
        else:
            self.signal(self.number, snapshot)

    def insist(self, snapshot, now):
        """Send its signal to all processes if the module did not end after what it had started was told to."""
        if self.insist_at is not None and now >= self.insist_at and not self.has_ended:
            self.insist_at = None
            self.signal(self.number, snapshot)

    def signal(self, number, snapshot):
        left = self.left(snapshot)
        if not left and self.pid is not None and not self.has_ended and self._is_of_another_user:
            # the host may hide the processes of other users
            self.template.signal(self.call, processes.Process(self.pid, 0, self.pid, None, "?"), number)
        for process in _parents_first(left):
            sent = self._send(process, number)
            self.was_killed = self.was_killed or (sent and number == signal.SIGKILL)

    @property
    def _is_of_another_user(self):
        return self.template is not None and self.template.is_foreign

    def _send(self, process, number):
        sent = processes.send(process, number)
        if not sent and self._is_of_another_user:
            return self.template.signal(self.call, process, number)  # we may not be permitted to
        return sent

    def is_over(self, snapshot, now):
        """Say whether it has ended with all its processes, or is given up."""
        left = self.left(snapshot)
        if self.has_ended and not left:
            return True
        if self.give_up is None or now < self.give_up:
            return False
        self.stuck = sorted(left)
        return True

    def what_was_done(self):
        """Return how it ended, to be appended to the reason why it was told to."""
        if self.stuck:
            pids = ", ".join(map(str, self.stuck))
            how = "did not end on SIGKILL" if self.was_killed else "could not be signalled"
            return "; it %s and is left as it is (process %s)" % (how, pids)
        if not self.has_ended:
            return "; its template process does not %s" % ("start it" if self.pid is None else "report its end")
        if self.give_up is not None and self.was_killed:
            return "; it did not end on %s and was killed" % _name_of(self.number)
        return ""

    def read(self):
        """Return what it printed, as (stdout, stderr), and remove it."""
        printed = []
        for name in map(os.path.basename, (self.stdout, self.stderr)):
            try:
                printed.append(self._read(name))
                os.unlink(name, dir_fd=self._folder.fd)
            except FileNotFoundError:
                printed.append(b"")
            except OSError as exc:
                printed.append(b"")
                self.error = self.error or "cannot read what it printed: %s" % exc
        return printed

    def _read(self, name):
        if self.most is not None:
            return output.of_command(name, self.most, self._folder)
        with open(name, "rb", opener=self._folder.opener) as stream:
            return stream.read(results.LIMIT + 1)


def _parents_first(found):
    """Return processes in the order of their starts: a shell whose child ends first would report that and go on."""
    return sorted(found.values(), key=lambda process: (process.start or 0, process.pid))


def _name_of(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number
