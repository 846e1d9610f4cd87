# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The pools of a machine: how many of their jobs may run at once, and which batches hold or await places.

Below .background_jobs:

  pools/<machine>/<name>/
      lock          held by whoever reads the rest in order to change something
      size          how many places there are: the size that was given last
      <batch_id>    for each batch that uses the pool: {"held": places that it has, "waiting": [[arrived, count]]}

A supervisor keeps its file locked (fcntl(2), not flock(2)) as long as it lives. The kernel drops such a lock when a process
ends in whatever way, and before it notifies those who watch the folder that the file was closed. So a file that is not
locked belongs to a batch that has ended. Its places are free then, and whoever sees that removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections import namedtuple

from ansible_collections.background.jobs.plugins.module_utils._protocol import ids
from ansible_collections.background.jobs.plugins.module_utils._system import files, json_text, processes

FOLDER = "pools"
MOST_PLACES = 1000000
_LOCK, _SIZE = "lock", "size"
_BLOCK = 4096  # bytes of each file: overwriting it needs no room on a full disk
_LOOK_AGAIN = 0.01  # seconds: flock(2) waits for ever or not at all
_PATIENCE = 1.0  # seconds to wait for the lock, for those who only want information
_TRIES = 100  # to enter a folder that others may be removing
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")

# What a batch has written of itself; waiting: [[time of arrival, how many jobs]], the earliest first
Member = namedtuple("Member", "batch_id held waiting")


class Busy(Exception):
    """Somebody else holds the lock of a pool at the moment."""


class NoPool(OSError):
    """A pool can't be kept. The message is for the user."""


def is_name(text):
    """Say whether this can be the name of a pool, and so of its folder."""
    return isinstance(text, str) and _NAME.match(text) is not None


def is_size(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_PLACES


def are_sizes(value):
    """Say whether these can be the sizes of pools, by their names."""
    return isinstance(value, dict) and all(is_name(name) and is_size(size) for name, size in value.items())


class Pool:
    """A pool of this machine, entered. Its files may be read only under its lock (`alone`)."""

    def __init__(self, batches, name, make=False):
        """batches: the Folder of all batches; make: the pool is made if it is missing, else FileNotFoundError."""
        if not is_name(name):
            raise NoPool("%r can't be the name of a pool" % (name,))
        self.name = name
        self._batches = batches
        self._make = make
        self.folder = None
        self._lock = None
        self._enter()

    def _enter(self):
        self.close()
        parts = (FOLDER, processes.machine_key(), self.name)
        for last in range(_TRIES, -1, -1):
            try:
                folder = self._batches
                for part in parts:
                    folder = folder.make(part) if self._make else folder.enter(part)
                flags = os.O_RDWR | (os.O_CREAT if self._make else 0)
                self._lock = folder.opener(_LOCK, flags)
                self.folder = folder
                return
            except FileNotFoundError:  # the last batch of it has left just now
                if not self._make or not last:
                    raise

    def close(self):
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def alone(self, patience=0.0):
        """Hold the lock of the pool; Busy if somebody else holds it for `patience` seconds."""
        deadline = time.monotonic() + patience
        while True:
            self._take(deadline)
            if self._is_there():
                break
            self._enter()  # it was removed, and may have been made again
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _take(self, deadline):
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as exc:
                if time.monotonic() >= deadline:
                    raise Busy("others hold the lock of the pool %s" % self.name) from exc
            time.sleep(_LOOK_AGAIN)

    def _is_there(self):
        found = self.folder.look(_LOCK)
        mine = os.fstat(self._lock)
        return found is not None and (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    # to be called under the lock (`alone`)

    @property
    def size(self):
        """How many places there are, None if nobody has set that."""
        found = self._read(_SIZE)
        return found if is_size(found) else None

    def resize(self, size):
        """Set how many places there are. Return a function to call when others may look again."""
        flags = os.O_WRONLY | os.O_CREAT
        fd = self.folder.opener(_SIZE, flags)
        try:
            _write(fd, size)
        except OSError:
            os.close(fd)
            raise
        return lambda: os.close(fd)  # those who watch the folder notice that

    def members(self, but=None):
        """Return the batches that use the pool, without the one with the id `but`; remove those that have ended."""
        found = []
        for name in self.folder.names():
            if not ids.is_batch_id(name) or name == but:
                continue
            if self.is_used_by(name):
                told = self._read(name)
                found.append(_member(name, told))
            else:
                files.remove(name, self.folder)
        return found

    def is_used_by(self, batch_id):
        """Say whether the supervisor of a batch, which is not this process, lives. It needs no lock."""
        try:
            fd = files.open_own(batch_id, folder=self.folder)
        except (FileNotFoundError, files.UnsafePath):
            return False
        try:
            fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def join(self, batch_id):
        """Return a file descriptor: this process uses the pool, for a batch, until it closes the descriptor."""
        files.remove(batch_id, self.folder)  # left by a killed launch with this id
        fd = self.folder.opener(batch_id, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            publish(fd, 0, [])
        except OSError:
            os.close(fd)
            files.remove(batch_id, self.folder)
            raise
        return fd

    def leave(self, batch_id):
        """Remove the file of a batch, and the pool with its last one."""
        files.remove(batch_id, self.folder)
        if self.members():
            return
        for name in (_SIZE, _LOCK):
            files.remove(name, self.folder)
        self._remove_folders()

    def _remove_folders(self):
        machine = processes.machine_key()
        try:
            above = self._batches.enter(FOLDER)
            ours = above.enter(machine)
            os.rmdir(self.name, dir_fd=ours.fd)
            os.rmdir(machine, dir_fd=above.fd)
            os.rmdir(FOLDER, dir_fd=self._batches.fd)
        except (files.UnsafePath, OSError):
            pass  # there are other pools, or somebody is making one

    def _read(self, name):
        try:
            return json_text.loads(files.read_own(name, _BLOCK * 4, folder=self.folder))
        except (ValueError, files.UnsafePath, OSError):
            return None


def publish(fd, held, waiting):
    """Write the places and waiting jobs of a batch into its file, which needs no more room than before."""
    _write(fd, {"held": held, "waiting": waiting})


def _write(fd, value):
    os.pwrite(fd, json.dumps(value, separators=(",", ":")).encode("ascii").ljust(_BLOCK), 0)


def _member(batch_id, told):
    """Return the Member of what a batch has written; invalid values count as no places."""
    held, waiting = (told.get("held"), told.get("waiting")) if isinstance(told, dict) else (0, [])
    if not isinstance(held, int) or held < 0:
        held = 0
    if not isinstance(waiting, list) or not all(map(_is_arrival, waiting)):
        waiting = []
    return Member(batch_id, held, waiting)


def _is_arrival(value):
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in value)
    )


def names(batches):
    """Return the names of the pools of this machine. batches: the Folder of all batches."""
    try:
        folder = batches.enter(FOLDER).enter(processes.machine_key())
    except (files.UnsafePath, OSError):
        return []
    return sorted(name for name in folder.names() if is_name(name))


def overview(batches):
    """Return {"name", "size", "taken", "waiting"} of the pools that are in use: places, taken ones, and waiting jobs.

    A pool that can't be looked at is left out.
    """
    told = []
    for name in names(batches):
        with contextlib.suppress(Busy, files.UnsafePath, OSError), _entered(batches, name) as pool:
            with pool.alone(_PATIENCE):
                size, members = pool.size, pool.members()
            taken = sum(member.held for member in members)
            waiting = sum(count for member in members for dummy, count in member.waiting)
            if members:
                told.append({"name": name, "size": size, "taken": taken, "waiting": waiting})
    return told


Stale = namedtuple("Stale", "path name batch_id at")


def stale(batches):
    """Return what killed supervisors have left in pools of this machine, as Stale."""
    found = []
    for name in names(batches):
        with contextlib.suppress(FileNotFoundError), _entered(batches, name) as pool:
            for batch_id in filter(ids.is_batch_id, pool.folder.names()):
                seen = pool.folder.look(batch_id)
                if seen is not None and not pool.is_used_by(batch_id):
                    path = os.path.join(pool.folder.path, batch_id)
                    found.append(Stale(path, name, batch_id, seen.st_mtime))
    return found


def clear(batches, one):
    """Remove a Stale; say whether it is gone."""
    with contextlib.suppress(Busy), _entered(batches, one.name) as pool, pool.alone(_PATIENCE):
        if not pool.is_used_by(one.batch_id):
            pool.leave(one.batch_id)
            return True
    return False


@contextlib.contextmanager
def _entered(batches, name):
    pool = Pool(batches, name)
    try:
        yield pool
    finally:
        pool.close()
