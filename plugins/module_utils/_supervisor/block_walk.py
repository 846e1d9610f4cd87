# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The order of the tasks of a job, as Ansible goes through a block. No clock, no I/O."""

from __future__ import annotations

BLOCK, RESCUE, ALWAYS = "block", "rescue", "always"


class Course:
    """Hands out the steps of a body (see _protocol/plans.py) one after another.

    The first failure in a block leads to its `rescue`; `always` comes in any case. If a job is aborted, only
    the `always` sections of the blocks that it was in are left.
    """

    def __init__(self, body):
        self._steps = self._all(body)
        self._aborted = False
        self._begun = False
        self.step = None
        self.section = None  # of its block
        self.must_finish = False  # whether the step belongs to an `always`
        self.failed = False
        self.rescued = False
        self.culprit = None  # after the end: the step whose failure counts

    def next(self, succeeded=True):
        """Return the next step, None after the last; succeeded: whether the one before did."""
        try:
            if self._begun:
                self.step, self.section, self.must_finish = self._steps.send(succeeded)
            else:
                self._begun = True
                self.step, self.section, self.must_finish = next(self._steps)
        except StopIteration:
            self.step = None
        return self.step

    def abort(self):
        """From now on, hand out only steps of `always` sections."""
        self._aborted = True

    def give_up(self):
        """Hand out no more steps."""
        self._steps.close()
        self.failed = True

    def _all(self, body):
        succeeded, self.culprit = yield from self._through(body, BLOCK, False)
        self.failed = not succeeded

    def _through(self, nodes, section, must_finish):
        """Return (whether all went well, the step that failed)."""
        for node in nodes:
            if self._aborted and not must_finish:
                return False, None
            if "block" in node:
                succeeded, culprit = yield from self._block(node, must_finish)
            else:
                succeeded = yield node, section, must_finish
                culprit = None if succeeded else node
            if not succeeded:
                return False, culprit
        return not self._aborted or must_finish, None

    def _block(self, node, must_finish):
        succeeded, culprit = yield from self._through(node["block"], BLOCK, must_finish)
        if not succeeded and node.get("rescue") and (must_finish or not self._aborted):
            succeeded, culprit = yield from self._through(node["rescue"], RESCUE, must_finish)
            self.rescued = self.rescued or succeeded
        finished, other = yield from self._through(node.get("always") or (), ALWAYS, True)
        return succeeded and finished, other if succeeded else culprit
