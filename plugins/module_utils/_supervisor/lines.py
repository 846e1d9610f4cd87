# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The queues of a batch: its jobs that may start, by pool, in the order of arrival. No clock, no I/O."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

# order: how many jobs came before it; arrived: when it came, seconds of a clock that all supervisors of a host share
Ticket = namedtuple("Ticket", "order arrived")
_MOST_TOLD = 50  # times of arrival that other batches see: thousands of jobs of a launch share one


class Line:
    """The jobs that wait for a place in one pool, or, those without a pool, for their turn."""

    def __init__(self):
        self._tickets = OrderedDict()  # index: Ticket
        self._arrivals = OrderedDict()  # time: how many came then
        self._unseen = OrderedDict()  # indexes of those that `newly_seen` has not returned

    def __bool__(self):
        return bool(self._tickets)

    def join(self, index, ticket):
        self._tickets[index] = ticket
        self._unseen[index] = None
        self._arrivals[ticket.arrived] = self._arrivals.get(ticket.arrived, 0) + 1

    def leave(self, index):
        """Take a job out of the line, wherever it stands; say whether it stood there."""
        ticket = self._tickets.pop(index, None)
        if ticket is None:
            return False
        self._unseen.pop(index, None)
        self._arrivals[ticket.arrived] -= 1
        if not self._arrivals[ticket.arrived]:
            del self._arrivals[ticket.arrived]
        return True

    @property
    def first(self):
        """The index of the job whose turn is next."""
        return next(iter(self._tickets))

    @property
    def first_order(self):
        """How many jobs came before that one."""
        return self._tickets[self.first].order

    def newly_seen(self, room=None):
        """Return those among the first `room` jobs (None: all) that it has not returned before."""
        newly = []
        while self._unseen and (room is None or len(self._tickets) - len(self._unseen) < room):
            index, dummy = self._unseen.popitem(last=False)
            newly.append(index)
        return newly

    def waiting(self, room=None):
        """Return [[time of arrival, how many]] of the first `room` jobs; None: of all."""
        left = len(self._tickets) if room is None else room
        told = []
        for arrived, count in self._arrivals.items():
            if left <= 0 or len(told) == _MOST_TOLD:
                break
            told.append([arrived, min(count, left)])
            left -= count
        return told


def may_take(size, held, mine, others):
    """Say whether the first waiting job may take a place in a pool with `size` places.

    held: how many its own batch has; mine: the (time of arrival, batch id) of the job; others: [(batch id, held,
    waiting)] of the other batches, waiting as Line.waiting returns it.
    """
    free = size - held - sum(other for dummy, other, dummy in others)
    ahead = sum(
        count for batch_id, dummy, waiting in others for arrived, count in waiting if (arrived, batch_id) < mine
    )
    return ahead < free
