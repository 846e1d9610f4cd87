# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Keeps the results of the tasks of a long block until its end, on the disk and not in the supervisor's memory."""

from __future__ import annotations

import functools
import json
import os

from ansible_collections.background.jobs.plugins.module_utils._protocol import records
from ansible_collections.background.jobs.plugins.module_utils._system import files

_SMALL = 8192  # characters that are not worth a file


def name_of(index):
    """Return the name of the file for a job."""
    return "%d.tasks" % index


class Spool:
    """Texts in one file, which is open only while it is written to or read."""

    def __init__(self, folder, name):
        """folder: the Folder that the file of this name is in."""
        self._folder = folder
        self._name = name

    def put(self, text):
        """Keep a text, and return a function that returns it."""
        if len(text) < _SMALL:
            return lambda: text
        data = text.encode("utf-8", "surrogateescape")
        try:
            begin = self._append(data)
        except OSError:  # a full disk, say
            return lambda: text
        return functools.partial(self._read, begin, len(data))

    def _append(self, data):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._name, flags, 0o600, dir_fd=self._folder.fd)
        try:
            begin = os.fstat(fd).st_size
            files.write_all(fd, data)
        finally:
            os.close(fd)
        return begin

    def _read(self, begin, size):
        try:
            with open(self._name, "rb", opener=self._folder.opener) as stream:
                stream.seek(begin)
                data = stream.read(size)
        except OSError:
            data = b""
        if len(data) < size:  # somebody has removed it
            return json.dumps({"changed": False, "msg": records.NO_ROOM})
        return data.decode("utf-8", "surrogateescape")

    def remove(self):
        """Forget all of it."""
        files.remove(self._name, self._folder)
