# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The places in pools that a batch has, and those that it waits for: the supervisor's use of _protocol/pools.py.

Between launch and end nothing here blocks: if others have a pool's lock, the supervisor tries again a moment later.
"""

from __future__ import annotations

import os

from ansible_collections.background.jobs.plugins.module_utils._protocol import place, pools
from ansible_collections.background.jobs.plugins.module_utils._supervisor import lines
from ansible_collections.background.jobs.plugins.module_utils._system import files, inotify

_TRY_AGAIN = 0.02  # seconds: others hold the lock of a pool only briefly
_LOOK_AGAIN = 1.0  # seconds, if no events report changes
_PATIENCE = 10.0  # seconds to wait for the lock of a pool at the launch, and at the end


class _Place:
    """The batch in one pool."""

    def __init__(self, pool, fd):
        self.pool = pool
        self.fd = fd
        self.held = 0
        self.told = (0, [])  # what its file says


class Places:
    """The pools that jobs of a batch use: {name: size}."""

    def __init__(self, batch_id, sizes):
        self._batch_id = batch_id
        self._sizes = sizes
        self._places = {}
        self._watcher = None
        self._again = {}  # pool: seconds until a change that could not be made is tried again

    def join(self, async_dir):
        """Join the pools, and set their sizes; NoPool if that can't be done."""
        if not self._sizes:
            return
        batches = place.Place(async_dir).make_batches()
        self._watcher = inotify.Watcher()
        for name, size in sorted(self._sizes.items()):
            try:
                self._places[name] = self._enter(batches, name, size)
            except (pools.Busy, files.UnsafePath, OSError) as exc:
                raise pools.NoPool(_why(name, exc)) from exc

    def _enter(self, batches, name, size):
        pool = pools.Pool(batches, name, make=True)
        with pool.alone(_PATIENCE):
            fd = pool.join(self._batch_id)
            seen = pool.resize(size) if pool.size != size else None
        self._watcher.add_bells(pool.folder.path)
        if seen:
            seen()
        return _Place(pool, fd)

    @property
    def watcher(self):
        """What becomes readable when something has changed, None if nothing can be watched."""
        return self._watcher if self._watcher is not None and not self._watcher.is_blind else None

    def has_changed(self):
        """Read the events; say whether it is worth trying again."""
        changed = self._watcher.take()
        return changed is None or bool(changed - {self._batch_id, "lock"})

    @property
    def look_again(self):
        """Return in how many seconds to try again, None if an event will tell."""
        if self._again:
            return min(self._again.values())
        is_waiting = any(at.told[1] for at in self._places.values())
        return _LOOK_AGAIN if is_waiting and self.watcher is None else None

    def take(self, name, waiting):
        """Take a place in a pool, if one is free, for the first of those who wait ([[arrived, count]]); say whether it did."""
        mine = waiting[0][0], self._batch_id

        def try_to(at):
            others = at.pool.members(but=self._batch_id)
            if lines.may_take(at.pool.size or self._sizes[name], at.held, mine, others):
                return at.held + 1, _without_first(waiting)
            return at.held, waiting

        before = self._places[name].held
        return self._change(name, try_to) and self._places[name].held > before

    def publish(self, name, waiting):
        """Tell the others how many places of a pool the batch has, and who waits for one (perhaps nobody)."""
        at = self._places[name]
        if at.told == (at.held, waiting):
            self._again.pop(name, None)
        else:
            self._change(name, lambda at: (at.held, waiting))

    def _change(self, name, change):
        """Under the lock of a pool, publish the (places, waiting) that `change` returns; say whether that was done."""
        at = self._places[name]
        try:
            with at.pool.alone():
                told = change(at)
                is_new = told != at.told
                if is_new:
                    pools.publish(at.fd, *told)
        except pools.Busy:
            self._again[name] = _TRY_AGAIN
            return False
        except (files.UnsafePath, OSError):
            self._again[name] = _LOOK_AGAIN
            return False
        self._again.pop(name, None)
        at.held, at.told = told[0], told
        if is_new:
            inotify.ring(at.fd)
        return True

    def give_back(self, name):
        """Give up a place; the next `tell` or `take` lets the others know."""
        self._places[name].held -= 1

    def leave(self):
        """Leave the pools. What can't be removed means nothing once this process has ended."""
        for at in self._places.values():
            try:
                with at.pool.alone(_PATIENCE):
                    at.pool.leave(self._batch_id)
            except (pools.Busy, files.UnsafePath, OSError):
                pass
            os.close(at.fd)
            at.pool.close()
        self._places = {}
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None


def _why(name, exc):
    return "the pool %s can't be set up: %s" % (name, exc)


def _without_first(waiting):
    (arrived, count), *rest = waiting
    return [[arrived, count - 1], *rest] if count > 1 else rest
