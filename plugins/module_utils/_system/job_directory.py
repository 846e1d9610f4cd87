# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The directory of the results files, async_dir: only its owner and root may change it, or put another in its place."""

from __future__ import annotations

import os
import stat

from ansible_collections.background.jobs.plugins.module_utils._system import access, files

_MOST_LINKS = 40  # in one path, the kernel's limit
_UNMAPPED = 65534  # the uid that a user namespace shows for owners outside of it


def make(path):
    """Return the absolute path of async_dir, which is made (0700) if it is missing.

    UnsafePath if it is a link, not a directory, or a place where others may replace our files.
    """
    expanded = os.path.abspath(os.path.expanduser(path))
    if expanded.startswith("~") or "/~" in expanded:
        raise files.UnsafePath("async_dir %s: no such home directory" % path)
    if not os.path.lexists(expanded):
        _make_parents(os.path.dirname(expanded))
        make_private(expanded)
    check(expanded)
    return expanded


def _make_parents(path):
    """Make the missing directories of a path, writable by nobody else, whatever the umask."""
    if not os.path.lexists(path):
        _make_parents(os.path.dirname(path))
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            pass  # made just now; its owner will be checked


def make_private(path):
    """Make `path` a directory of our own with mode 0700; UnsafePath if it is something else."""
    parent, name = os.path.split(path)
    files.Folder(parent).make(name)


def check(path):
    """UnsafePath unless `path`, which exists, is a directory that only we or root can change, or swap for another."""
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise files.UnsafePath(
            "async_dir %s is a symbolic link; set ansible_async_dir to the directory that it points to" % path
        )
    if not stat.S_ISDIR(found.st_mode):
        raise files.UnsafePath("async_dir %s is not a directory" % path)
    if not found.st_mode & stat.S_ISVTX:
        who = access.who_else_may_write(path, found)
        if who:
            raise files.UnsafePath("async_dir %s can be written by %s; choose another ansible_async_dir" % (path, who))
    if found.st_uid not in (0, os.geteuid()):
        raise files.UnsafePath("async_dir %s%s" % (access.belongs_to(path, found), access.not_ours()))
    _check_parents(path)


def open_checked(path):
    """Return the Folder of async_dir, which exists and was checked."""
    check(path)
    return files.Folder(path)  # only we or root can have swapped it since


def _check_parents(path):
    """UnsafePath if somebody else can put another directory in the place of `path`, through a parent, or a link on the way.

    There is no race from one check to the next: what has passed its check can be changed only by us or root.
    """
    _check_parent("/", path)
    at, left, links = "/", os.path.dirname(path).split("/"), 0
    while left:
        name = left.pop(0)
        if name == "..":
            at = os.path.dirname(at)  # of a link's target: `at` itself contains no links
        if name in ("", ".", ".."):
            continue
        following = os.path.join(at, name)
        if not _check_parent(following, path):
            at = following
            continue
        target, links = os.readlink(following), links + 1
        if links > _MOST_LINKS:
            raise files.UnsafePath("async_dir %s: too many symbolic links on the way" % path)
        at = "/" if target.startswith("/") else at
        left = target.split("/") + left


def _check_parent(parent, path):
    """Check one directory, or link, on the way to `path`; say whether it is a link."""
    found = os.lstat(parent)
    is_link = stat.S_ISLNK(found.st_mode)
    who = None
    if found.st_uid not in (0, os.geteuid()) and not _is_from_outside(found.st_uid):
        who = "uid %d, to whom %s belongs" % (found.st_uid, parent)
    elif not is_link and not found.st_mode & stat.S_ISVTX:
        # in a sticky directory others can't replace what belongs to us or root
        who = access.who_else_may_write(parent, found)
        who = who and "%s, who may write in %s" % (who, parent)
    if who:
        raise files.UnsafePath(
            "async_dir %s: another directory can be put in its place by %s; choose another ansible_async_dir"
            % (path, who)
        )
    return is_link


def _is_from_outside(uid):
    """Say whether this uid stands for an owner outside of our user namespace (in a rootless container)."""
    if uid != _UNMAPPED:
        return False
    try:
        with open("/proc/self/uid_map", encoding="ascii") as stream:
            return stream.read().split() != ["0", "0", str((1 << 32) - 1)]
    except OSError:
        return False
