# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Control groups that limit what jobs use, made below a folder of the hierarchy that this process may write to.

Version 2 has one hierarchy for all controllers, version 1 one for each; a host may have both. The sources: this process's
groups (/proc/self/cgroup), and where the hierarchies are mounted (/proc/self/mountinfo). See cgroups(7).
"""

from __future__ import annotations

import contextlib
import os
import time

MEMORY, CPU = "memory", "cpu"
CONTROLLERS = {"memory_max": MEMORY, "cpu_quota": CPU}  # key of a job: the controller that it needs

_PERIOD = 100000  # microseconds: how often the kernel gives a group its share of processor time


class Unavailable(Exception):
    """A controller can't be used here; the text says what was found."""

    def __init__(self, controller, reason):
        super().__init__(reason)
        self.controller = controller


class Groups:
    """The groups of a batch's jobs, one for each in each hierarchy that limits it; `folders`: {controller: its folder}.

    `own`: whether the folders were made for the batch, and have to be removed.
    """

    def __init__(self, folders, own):
        self._folders = folders
        self._own = own
        self._made = {}  # index: {controller: path}
        self._left = set()  # paths of jobs that have ended, but had processes left

    def enter(self, index, job):
        """Make the groups of a job if they are missing; return the files that its process has to write its pid to."""
        if index not in self._made:
            paths = {
                controller: os.path.join(self._folders[controller], "job-%d" % index)
                for key, controller in CONTROLLERS.items()
                if key in job
            }
            self._made[index] = paths
            for path in set(paths.values()):
                _make(path)
            if "memory_max" in job:
                _limit_memory(paths[MEMORY], job["memory_max"])
            if "cpu_quota" in job:
                _limit_cpu(paths[CPU], job["cpu_quota"])
        return sorted({os.path.join(path, "cgroup.procs") for path in self._made[index].values()})

    def kills(self, index):
        """Return how many processes of a job the kernel has killed for lack of memory."""
        path = self._made.get(index, {}).get(MEMORY)
        if path is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            for line in (_read(os.path.join(path, name)) or "").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def leave(self, index):
        """Remove the groups of a job that has ended. What it left running keeps them, with their limits."""
        self._left = _remove({*self._left, *self._made.pop(index, {}).values()})

    def close(self, patience=0.0):
        """Remove what is left. patience: seconds for processes just told to end; those that stay longer keep their group."""
        deadline = time.monotonic() + patience
        self._left = _remove(self._left)
        while self._left and time.monotonic() < deadline:
            time.sleep(0.01)  # no event reports an empty group
            self._left = _remove(self._left)
        if self._own:
            _remove(set(self._folders.values()))


def find(batch_id, controllers, scope=None, proc="/proc/self"):
    """Return the Groups of a batch that needs `controllers`; Unavailable if one of them can't be used.

    scope: the name of a scope that systemd has made for, and delegated to, this process.
    """
    own, mounts = _own(proc), _mounts(proc)
    folders, unified = {}, []
    for controller in controllers:
        if controller in own:
            folders[controller] = _version_1(controller, own, mounts, batch_id)
        else:
            unified.append(controller)
    try:
        if not unified:
            return Groups(folders, True)
        if "" not in own:
            raise Unavailable(unified[0], "the kernel has no controller '%s'" % unified[0])
        folder, made = _version_2(unified, own, mounts, batch_id, scope)
    except Unavailable:
        _remove(set(folders.values()))
        raise
    return Groups(dict(folders, **dict.fromkeys(unified, folder)), made)


def _own(proc):
    """Return {controller: path of this process's group}, with the key "" for version 2."""
    found = {}
    for line in (_read(os.path.join(proc, "cgroup")) or "").splitlines():
        dummy, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _mounts(proc):
    """Return {mount point: (controllers or {""}, the group mounted there)}."""
    found = {}
    for line in (_read(os.path.join(proc, "mountinfo")) or "").splitlines():
        before, dummy, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, dummy, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            found[point] = ({""} if kind == "cgroup2" else set(options.split(",")), root)
    return found


def _folder(controller, own, mounts):
    """Return (the folder of this process's group, where its hierarchy is mounted)."""
    path = own[controller]
    for point, (controllers, root) in mounts.items():
        inside = root in ("/", path) or path.startswith(root + "/")
        if controller in controllers and inside and "/.." not in path:
            folder = point if path == root else point + (path if root == "/" else path[len(root) :])
            return folder.rstrip("/") or "/", point
    return None, None


def _version_1(controller, own, mounts, batch_id):
    parent, dummy = _folder(controller, own, mounts)
    if parent is None:
        raise Unavailable(controller, "the hierarchy of the controller '%s' is not mounted" % controller)
    folder = os.path.join(parent, _name(batch_id))
    try:
        _make(folder)
    except OSError as exc:
        raise Unavailable(controller, "no control group can be created in %s (%s)" % (parent, exc.strerror)) from exc
    return folder


def _version_2(controllers, own, mounts, batch_id, scope):
    """Return (the folder for the groups of jobs, whether it was made)."""
    folder, top = _folder("", own, mounts)
    if folder is None:
        raise Unavailable(controllers[0], "the hierarchy of control groups is not mounted")
    reasons = []
    if scope is not None and os.path.basename(folder) == scope:
        _check(folder, "cgroup.controllers", controllers)
        try:
            # a group that hands controllers on must not have processes of its own
            leaf = os.path.join(folder, "supervisor")
            _make(leaf)
            _write(os.path.join(leaf, "cgroup.procs"), os.getpid())
            _hand_on(folder, controllers)
            return folder, False
        except OSError as exc:
            raise Unavailable(controllers[0], "%s can't be divided (%s)" % (folder, exc.strerror)) from exc
    while True:
        try:
            _check(folder, "cgroup.subtree_control", controllers)
            return _divide(folder, controllers, batch_id), True
        except Unavailable as exc:
            reasons.append(exc)
        if folder == top:
            raise Unavailable(reasons[0].controller, "; ".join(str(reason) for reason in reasons))
        folder = os.path.dirname(folder)


def _check(folder, name, controllers):
    there = (_read(os.path.join(folder, name)) or "").split()
    for controller in controllers:
        if controller not in there:
            what = "has" if name == "cgroup.controllers" else "hands on"
            raise Unavailable(controller, "%s %s %s" % (folder, what, " ".join(there) or "no controllers"))


def _divide(parent, controllers, batch_id):
    folder = os.path.join(parent, _name(batch_id))
    try:
        if not os.access(os.path.join(parent, "cgroup.procs"), os.W_OK):
            raise PermissionError(13, "Permission denied")
        _make(folder)
        _hand_on(folder, controllers)
    except OSError as exc:
        _remove([folder])
        raise Unavailable(
            controllers[0], "no control group can be created in %s (%s)" % (parent, exc.strerror)
        ) from exc
    return folder


def _hand_on(folder, controllers):
    _write(os.path.join(folder, "cgroup.subtree_control"), " ".join("+" + name for name in controllers))


def _name(batch_id):
    return "background-jobs-%s" % batch_id


def _limit_memory(path, size):
    """Limit memory, without swap, to which a limit would otherwise only move it."""
    if os.path.exists(os.path.join(path, "memory.limit_in_bytes")):
        names, most = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), size  # memory and swap together
    else:
        names, most = ("memory.max", "memory.swap.max"), 0
    _write(os.path.join(path, names[0]), size)
    if os.path.exists(os.path.join(path, names[1])):  # the kernel may not account for swap
        _write(os.path.join(path, names[1]), most)


def _limit_cpu(path, percent):
    quota = int(percent * _PERIOD / 100)
    if os.path.exists(os.path.join(path, "cpu.max")):
        _write(os.path.join(path, "cpu.max"), "%d %d" % (quota, _PERIOD))
    else:
        _write(os.path.join(path, "cpu.cfs_period_us"), _PERIOD)
        _write(os.path.join(path, "cpu.cfs_quota_us"), quota)


def _make(path):
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o755)


def _remove(paths):
    """Remove folders of groups; return those that stay, because processes are still in them."""
    left = set()
    for path in paths:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError:
            left.add(path)
    return left


def _write(path, value):
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # without O_CREAT: the kernel provides the files of a group
    try:
        os.write(descriptor, str(value).encode("ascii"))
    finally:
        os.close(descriptor)


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except OSError:
        return None
