# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The handlers of a job, and which of them are notified. No clock, no I/O."""

from __future__ import annotations


class UnknownHandler(Exception):
    """Nothing listens to a notification; the message is core's."""


class Handlers:
    """handlers: those of the job's roles, from the script; of_play: the names and topics of the play's own handlers."""

    def __init__(self, handlers, of_play=()):
        self._handlers = handlers
        self._of_play = frozenset(of_play)
        self._saved = []  # what was notified since the last flush
        self._notified = set()  # indexes of handlers that are still to run
        self._flushing = False
        self.handed_back = []  # notifications for the play, in order, each once

    def notify(self, topic):
        """Accept a notification; UnknownHandler if nothing listens to it."""
        found, by_name = self._find(topic)
        if topic in self._of_play and not by_name and topic not in self.handed_back:
            self.handed_back.append(topic)
        if not found and topic not in self._of_play:
            raise UnknownHandler(
                "The requested handler '%s' was not found in either the main handlers list nor in the listening handlers list"
                % topic
            )
        if self._flushing:
            self._notified.update(found)
        elif found and topic not in self._saved:
            self._saved.append(topic)

    def _find(self, topic):
        """Return the indexes of the handlers that a topic notifies, and whether it is the name of one of them."""
        found, seen = [], set()
        by_name = next(
            (
                index
                for index in reversed(range(len(self._handlers)))
                if topic in self._handlers[index].get("names", ())
            ),
            None,
        )
        if by_name is not None:
            found.append(by_name)
        for index in reversed(range(len(self._handlers))):
            handler = self._handlers[index]
            if topic in handler.get("listen", ()):
                name = next(iter(handler.get("names", ())), None)
                if name is not None and name in seen:
                    continue
                seen.add(name)
                found.append(index)
        return found, by_name is not None

    @property
    def are_notified(self):
        """Whether any handler has to run."""
        return bool(self._saved or self._notified)

    def flush(self):
        """Yield the tasks of notified handlers, in the order of definition, including those notified meanwhile, unless
        their turn is over."""
        for topic in self._saved:
            self._notified.update(self._find(topic)[0])
        self._saved = []
        self._flushing = True
        try:
            for index, handler in enumerate(self._handlers):
                if index in self._notified:
                    self._notified.discard(index)
                    yield handler["task"]
        finally:
            self._flushing = False
