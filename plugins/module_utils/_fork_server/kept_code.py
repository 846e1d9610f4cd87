# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Keeps the compiled code of the modules of jobs, a file for each, in the folder of what the host keeps of this collection.

That folder, `modules`, is the user's own (_protocol/store.py), and so is what may be used from it. A file is named after the
source and the Python, and begins with the hash of its name and of the code: one that was damaged, or is of something else, is
not used, and is written anew. Not named after its content: two processes that compile a source at the same time may write it in two
ways, since marshal looks at how often an object is referred to.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys

SUFFIX = ".marshal"
_MOST = 200  # files in the folder, from which on none is added; _protocol/store.py removes those that are not used
_LIMIT = 16 * 1024 * 1024  # bytes of the code in a file
_DIGEST = 32  # bytes at the beginning of a file


def read(folder, source):
    """Return the code of a source (bytes), None if it is not kept, or not as it was written."""
    name = _name(source)
    try:
        found = _read(os.path.join(folder, name))
        digest, data = found[:_DIGEST], found[_DIGEST:]
        if digest == _digest(name, data):
            return marshal.loads(data)  # noqa: S302  # written by this user's own template
    except (OSError, EOFError, ValueError, TypeError):
        pass  # then it is compiled again
    return None


def write(folder, source, code):
    """Keep the code of a source (bytes), if that can be done."""
    name, data = _name(source), marshal.dumps(code)
    path = os.path.join(folder, name)
    temporary = "%s.%d.tmp" % (path, os.getpid())
    try:
        names = os.listdir(folder)
        if len(data) > _LIMIT or (len(names) >= _MOST and name not in names):
            return
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as stream:
                stream.write(_digest(name, data) + data)
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
    except OSError:
        pass  # for lack of room, say


def _read(path):
    """Return the bytes of a file, and mark it as used. OSError if it is no file of this user alone."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as stream:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError(path)
        os.utime(fd)
        return stream.read(_DIGEST + _LIMIT)


def _name(source):
    return "%s-%s%s" % (_sha256(source).hexdigest()[:32], sys.implementation.cache_tag, SUFFIX)


def _digest(name, data):
    """Return what a file of this name with this code begins with: that of another source does not pass for it."""
    return _sha256(name.encode() + data).digest()


def _sha256(data):
    import hashlib  # what has a payload to import will need it anyway, and nothing else should load OpenSSL

    return hashlib.sha256(data)
