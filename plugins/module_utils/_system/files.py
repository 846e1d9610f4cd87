# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Files that others can neither read, nor see half written, nor replace by a link."""

from __future__ import annotations

import errno
import os
import stat

from ansible_collections.background.jobs.plugins.module_utils._system import access

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafePath(Exception):
    """A path is not what it has to be: its kind, owner or mode is wrong. The message is for the user."""


class Folder:
    """A directory that was opened once: files are read, written and removed in it, whatever takes its name later.

    It is closed when nothing refers to it any more.
    """

    def __init__(self, path, within=None):
        """path: its path, or its name in another Folder. UnsafePath if it is not a directory, for example a link to one."""
        self.path = os.path.join(within.path, path) if within else path
        self.fd = None
        try:
            self.fd = os.open(path, _OPEN_FOLDER, dir_fd=_fd(within))
        except OSError as exc:
            if exc.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise OSError(exc.errno, exc.strerror, self.path) from exc
            raise UnsafePath(_why_no_folder(path, self.path, within)) from exc

    @classmethod
    def opened(cls, fd, path="(handed over)"):
        """Return the Folder of a descriptor that another process has opened; it is closed along with the Folder."""
        folder = cls.__new__(cls)
        folder.path, folder.fd = path, fd
        return folder

    def __del__(self, close=os.close):
        if self.fd is not None:
            close(self.fd)

    def enter(self, name):
        """Return the Folder `name` in this one, which has to be ours or root's and closed to others."""
        folder = Folder(name, self)
        _check_closed(folder.path, os.fstat(folder.fd))
        return folder

    def make(self, name):
        """Return the Folder `name` in this one, our own with mode 0700; it is made if it is missing."""
        try:
            os.mkdir(name, 0o700, dir_fd=self.fd)
        except FileExistsError:
            pass
        folder = Folder(name, self)
        found = os.fstat(folder.fd)
        if found.st_uid != os.geteuid():
            raise UnsafePath(access.belongs_to(folder.path, found) + access.not_ours())
        if found.st_mode & 0o777 != 0o700:  # the umask may also have removed some
            os.fchmod(folder.fd, 0o700)
        return folder

    def look(self, path):
        """Return the lstat of what is there, None if nothing is."""
        try:
            return os.stat(path, dir_fd=self.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self):
        return os.listdir(self.fd)

    def opener(self, path, flags):
        """An opener for `open`: opens the file of this name here, but no link."""
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.fd)

    def sync(self):
        """Make the creation, renaming and removal of files here survive a power cut."""
        try:
            os.fsync(self.fd)
        except OSError as exc:
            if exc.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # some file systems cannot
                raise


def folder_of(place):
    """Return `place` as a Folder; it may be one, or a path."""
    return place if isinstance(place, Folder) else Folder(place)


def _fd(folder):
    return None if folder is None else folder.fd


def _shown(path, folder):
    return os.path.join(folder.path, path) if folder else path


def _why_no_folder(path, shown, within):
    try:
        is_link = stat.S_ISLNK(os.stat(path, dir_fd=_fd(within), follow_symlinks=False).st_mode)
    except OSError:
        is_link = False
    return "%s is not a directory%s; move it away" % (shown, ", but a symbolic link" if is_link else "")


def _check_closed(path, found):
    if found.st_uid not in (0, os.geteuid()):
        raise UnsafePath(access.belongs_to(path, found))
    who = access.who_else_may_write(path, found)
    if who:
        raise UnsafePath("%s can be written by %s" % (path, who))


def write_atomically(path, data, durable=True, folder=None, temporary=None):
    """Write `data` (bytes) so that a reader sees the old file or the new one; mode 0600.

    folder: the Folder that `path` is in; temporary: the (Folder, name) that it is written to first, by default beside
    it. `durable` also makes the content, but not the name (see Folder.sync), survive a power cut. An OSError leaves the
    old file as it was.
    """
    source, name = temporary or (folder, path + ".tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, 0o600, dir_fd=_fd(source))
    except FileExistsError:  # left by a writer that was killed
        os.unlink(name, dir_fd=_fd(source))
        fd = os.open(name, flags, 0o600, dir_fd=_fd(source))
    try:
        try:
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(name, path, src_dir_fd=_fd(source), dst_dir_fd=_fd(folder))
    except OSError:
        remove(name, source)
        raise


def write_in_place(path, data, folder=None):
    """Write `data` over a file of ours: if it is little, that needs no room on the disk, and no second file."""
    fd = open_own(path, flags=os.O_WRONLY, folder=folder)
    try:
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def write_all(fd, data):
    """Write all of `data` (bytes) to `fd`, however little a single write takes."""
    view = memoryview(data)
    while view:
        written = os.write(fd, view)
        view = view[written:]


def open_own(path, kind=stat.S_IFREG, flags=os.O_RDONLY, folder=None):
    """Return a file descriptor of a file of ours or root's, a regular one unless `kind` says otherwise.

    FileNotFoundError if there is none, UnsafePath if it is anything else: a link, a FIFO, a file of another user.
    Opening never blocks, and a FIFO stays non-blocking. folder: the Folder that `path` is in.
    """
    shown = _shown(path, folder)
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=_fd(folder))
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise UnsafePath("%s is a symbolic link" % shown) from exc
        if exc.errno == errno.EISDIR:
            raise UnsafePath("%s is a directory" % shown) from exc
        raise OSError(exc.errno, exc.strerror, shown) from exc
    try:
        found = os.fstat(fd)
        if stat.S_IFMT(found.st_mode) != kind:
            raise UnsafePath("%s is not a %s" % (shown, "regular file" if kind == stat.S_IFREG else "FIFO"))
        if found.st_uid not in (0, os.geteuid()):
            raise UnsafePath(access.belongs_to(shown, found))
    except UnsafePath:
        os.close(fd)
        raise
    return fd


def read_own(path, limit, offset=0, folder=None):
    """Return the bytes of a regular file of ours or root's from `offset` on, at most `limit` of them.

    FileNotFoundError if there is none, UnsafePath if it is anything else, or if there is more to be read.
    folder: the Folder that `path` is in.
    """
    fd = open_own(path, folder=folder)
    try:
        left = os.fstat(fd).st_size - offset
        if left > limit:
            raise UnsafePath("%s holds %d bytes, more than the %d that are read" % (_shown(path, folder), left, limit))
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
    """UnsafePath unless `path` is a directory of ours or root's that nobody else can change.

    FileNotFoundError if there is nothing.
    """
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePath("%s is a symbolic link" % path)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePath("%s is not a directory" % path)
    _check_closed(path, found)


def remove_tree(path, folder=None):
    """Remove a directory with all its content, or what is in its place; OSError if something stays.

    folder: the Folder that `path` is in. Links are removed, and never followed.
    """
    troubles = []
    _remove_tree(path, folder, troubles.append)
    if troubles:
        raise troubles[0]


def try_to_remove_tree(path, folder=None):
    """Remove as much of a directory as can be removed."""
    _remove_tree(path, folder, lambda exc: None)


def _remove_tree(path, folder, tell):
    try:
        found = os.stat(path, dir_fd=_fd(folder), follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(path, dir_fd=_fd(folder))
            return
        inside = Folder(path, folder)
        for name in inside.names():
            _remove_tree(name, inside, tell)
        os.rmdir(path, dir_fd=_fd(folder))
    except FileNotFoundError:
        pass
    except OSError as exc:
        tell(exc)
    except UnsafePath as exc:  # swapped just now
        tell(OSError(errno.ENOTDIR, str(exc)))


def remove(path, folder=None):
    """Remove a file or a link; say whether there was one. folder: the Folder that `path` is in."""
    try:
        os.unlink(path, dir_fd=_fd(folder))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
