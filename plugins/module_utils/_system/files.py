# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Files that others can neither read, nor see half written, nor swap for a link."""

from __future__ import annotations

import errno
import os
import shutil
import stat


class UnsafePath(Exception):
    """A path is not what it has to be: its kind, owner or mode is wrong. The message is for the user."""


def private_directory(path):
    """Make `path` a directory of our own with mode 0700; UnsafePath where something else stands there."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePath("%s is not a directory; move it away" % path)
    if found.st_uid != os.geteuid():
        raise UnsafePath(
            "%s belongs to uid %d, not to the user of this task (uid %d)" % (path, found.st_uid, os.geteuid())
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(path, 0o700)


def job_directory(path):
    """Return the absolute path of async_dir, which is made (0700) where it is missing.

    UnsafePath where it is a link, not a directory, or a place where others may replace our files.
    """
    expanded = os.path.abspath(os.path.expanduser(path))
    if expanded.startswith("~") or "/~" in expanded:
        raise UnsafePath("async_dir %s: no such home directory" % path)
    if not os.path.lexists(expanded):
        os.makedirs(os.path.dirname(expanded), exist_ok=True)
        private_directory(expanded)
    check_job_directory(expanded)
    return expanded


def check_job_directory(path):
    """UnsafePath where `path`, which exists, is not a directory that only we or root can change."""
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePath(
            "async_dir %s is a symbolic link; set ansible_async_dir to the directory that it points to" % path
        )
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePath("async_dir %s is not a directory" % path)
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise UnsafePath(
            "async_dir %s can be written by every user of the host; choose another ansible_async_dir" % path
        )
    if found.st_uid not in (0, os.geteuid()):
        raise UnsafePath(
            "async_dir %s belongs to uid %d, not to the user of this task (uid %d)" % (path, found.st_uid, os.geteuid())
        )


def write_atomically(path, data, durable=True):
    """Write `data` (bytes) so that a reader sees the old file or the new one; mode 0600.

    `durable` also makes it stand after a power cut. An OSError leaves the old file as it was.
    """
    temporary = path + ".tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(temporary, flags, 0o600)
    except FileExistsError:  # left by a writer that was killed
        os.unlink(temporary)
        fd = os.open(temporary, flags, 0o600)
    try:
        try:
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        remove(temporary)
        raise


def write_all(fd, data):
    """Write all of `data` (bytes) to `fd`, however little a single write takes."""
    view = memoryview(data)
    while view:
        written = os.write(fd, view)
        view = view[written:]


def open_own(path, kind=stat.S_IFREG, flags=os.O_RDONLY):
    """Return a file descriptor of a file of ours or root's, which is a regular one unless `kind` says else.

    FileNotFoundError where there is none, UnsafePath where it is anything else: a link, a FIFO, a file of another user.
    It never waits, and what can wait (a FIFO) is left non-blocking.
    """
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise UnsafePath("%s is a symbolic link" % path) from exc
        if exc.errno == errno.EISDIR:
            raise UnsafePath("%s is a directory" % path) from exc
        raise
    try:
        found = os.fstat(fd)
        if stat.S_IFMT(found.st_mode) != kind:
            raise UnsafePath("%s is not a %s" % (path, "regular file" if kind == stat.S_IFREG else "FIFO"))
        if found.st_uid not in (0, os.geteuid()):
            raise UnsafePath("%s belongs to uid %d" % (path, found.st_uid))
    except UnsafePath:
        os.close(fd)
        raise
    return fd


def read_own(path, limit, offset=0):
    """Return the bytes of a regular file of ours or root's from `offset` on, at most `limit` of them.

    FileNotFoundError where there is none, UnsafePath where it is anything else, or where there is more to be read.
    """
    fd = open_own(path)
    try:
        left = os.fstat(fd).st_size - offset
        if left > limit:
            raise UnsafePath("%s holds %d bytes, more than the %d that are read" % (path, left, limit))
        pieces = []
        while left > 0:
            pieces.append(os.pread(fd, left, offset))
            if not pieces[-1]:
                break
            left -= len(pieces[-1])
            offset += len(pieces[-1])
        return b"".join(pieces)
    finally:
        os.close(fd)


def check_own_directory(path):
    """UnsafePath where `path` is not a directory of ours or root's that nobody else can change.

    FileNotFoundError where there is nothing.
    """
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePath("%s is a symbolic link" % path)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePath("%s is not a directory" % path)
    if found.st_uid not in (0, os.geteuid()):
        raise UnsafePath("%s belongs to uid %d" % (path, found.st_uid))
    if found.st_mode & stat.S_IWOTH:
        raise UnsafePath("%s can be written by every user of the host" % path)


def remove_tree(path):
    """Remove a directory with all that is in it, or what stands in its place; an OSError where something stays."""
    try:
        # rmtree would wait for ever where it is a FIFO
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass


def try_to_remove_tree(path):
    """Remove as much of a directory as can be removed."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    except OSError:
        pass


def remove(path):
    """Remove a file or a link; say whether there was one."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True
