# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Keeps the compiled code of the modules of jobs, a file for each, in the folder of what the host keeps of this collection.

That folder, `modules`, is the user's own (_protocol/store.py), and so is what may be used from it. A file is named after the
source, the Python, and its own content: one that was damaged, or is of something else, is not used.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys

SUFFIX = ".marshal"
_MOST = 200  # files in the folder, from which on none is added; _protocol/store.py removes those that are not used
_LIMIT = 16 * 1024 * 1024  # bytes of a file


def read(folder, source):
    """Return the code of a source (bytes), None if it is not kept, or not as it was written."""
    begin = _beginning(source)
    try:
        for name in os.listdir(folder):
            if name.startswith(begin) and name.endswith(SUFFIX):
                data = _read(os.path.join(folder, name))
                if name == _name(begin, data):
                    return marshal.loads(data)  # noqa: S302  # written by this user's own template
    except (OSError, EOFError, ValueError, TypeError):
        pass  # then it is compiled again
    return None


def write(folder, source, code):
    """Keep the code of a source (bytes), if that can be done."""
    data = marshal.dumps(code)
    path = os.path.join(folder, _name(_beginning(source), data))
    temporary = "%s.%d.tmp" % (path, os.getpid())
    try:
        if len(data) > _LIMIT or len(os.listdir(folder)) >= _MOST:
            return
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as stream:
                stream.write(data)
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
        return stream.read(_LIMIT)


def _beginning(source):
    return "%s-%s." % (_sha256(source)[:32], sys.implementation.cache_tag)


def _name(begin, data):
    return "%s%s%s" % (begin, _sha256(data), SUFFIX)


def _sha256(data):
    import hashlib  # what has a payload to import will need it anyway, and nothing else should load OpenSSL

    return hashlib.sha256(data).hexdigest()
