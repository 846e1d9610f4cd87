# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Reads what template processes and zygotes send, and acts when one is gone or is not ready in time."""

from __future__ import annotations

import itertools
import selectors

from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_client, timers


class Listener:
    """Listens through a selector to the processes of a ForkServers, which has to be set as `servers`."""

    def __init__(self, selector, now, heard, lost):
        """now(): seconds of a clock that only goes forward.

        heard(template, frames): called with what a template has sent; lost(template, TemplateGone): called when one with calls
        under way is gone.
        """
        self.servers = None
        self._selector, self._now = selector, now
        self._heard, self._lost = heard, lost
        self._awaited = {}  # number: (template or zygote, what is on its other end) that is not ready yet
        self._patience = timers.Timers()  # by these numbers
        self._numbers = itertools.count()

    def watch(self, process):
        """Listen to a template or a zygote, and send it what it has not taken yet."""
        if process.patience is not None and (process, process.end) not in self._awaited.values():
            number = next(self._numbers)
            self._awaited[number] = process, process.end
            self._patience.set(number, self._now() + process.patience)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if process.unsent else 0)
        try:
            self._selector.modify(process, events, self._attend)
        except KeyError:
            self._selector.register(process, events, self._attend)

    def next(self):
        """Return when `give_up_what_is_late` has something to do, None if never."""
        return self._patience.next()

    def give_up_what_is_late(self, now):
        """Give up the processes that were not ready in time."""
        for number in iter(lambda: self._patience.pop(now), None):
            process, end = self._awaited.pop(number)
            if process.is_open and process.end is end and process.patience is not None:
                # a zygote that has not forked it in time never will: drop it, so that its templates start by themselves
                late = getattr(end, "zygote", process)
                self._gone(late, fork_client.TemplateGone(end.why_late()))

    def _attend(self, process):
        if not process.is_open:
            return  # it was let go after its event arrived
        process.flush()
        self.watch(process)
        self._heard(process, self._receive(process))

    def _receive(self, process):
        """Return the frames that a process has sent, none if it is gone."""
        try:
            frames = process.receive()
        except fork_client.NotForked:
            failure = self.servers.start_alone(process)
            if failure is not None:
                self._gone(process, failure)
            return []
        except fork_client.TemplateGone as exc:
            self._gone(process, exc)
            return []
        if process.unsent:
            self.watch(process)  # it has just become ready, and takes what was held back
        return frames

    def _gone(self, process, why):
        for other, failure in self.servers.drop(process):
            self._gone(other, failure or why)
        if process.jobs:
            self._lost(process, why)
