# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""A file of compiled modules, and the importer of what is in it.

zipimport, which is written in Python, reads the directory of a zip entry by entry, and opens the zip for each module: for all
that a launch imports, this takes a third of the time.

The file: the magic number of the Python that compiled it; the code of this module, marshalled, so that a program that has
nothing else can import from the file (see `START`); the compressed files; {name: [begin, size]} as JSON; and in 20 digits
where that begins.
"""

from __future__ import annotations

import _frozen_importlib
import _frozen_importlib_external
import _imp
import json
import marshal
import sys
import zlib

MAGIC = _frozen_importlib_external.MAGIC_NUMBER
_CODE = 16  # bytes in front of the code of a compiled file (PEP 552)
_FOOT = 20

# A program that has nothing else imports from the file of this path with these lines, if its own Python has compiled that.
START = """\
import marshal
path = %r
data = open(path, "rb").read()
names = {"__name__": "background.jobs code_file"}
exec(marshal.loads(memoryview(data)[4:]), names)
kept = names["CodeFile"](path, data)
kept.install()
del data
"""


def pack(files, importer):
    """Return the bytes of a file of {name: bytes}. importer: the code of this module."""
    head = MAGIC + marshal.dumps(importer)
    pieces, index, at = [head], {}, len(head)
    for name, data in files.items():
        piece = zlib.compress(data)
        pieces.append(piece)
        index[name] = [at, len(piece)]
        at += len(piece)
    return b"".join([*pieces, json.dumps(index).encode("ascii"), b"%0*d" % (_FOOT, at)])


class CodeFile:
    """The files; a finder and loader in one."""

    def __init__(self, path, data):
        """ImportError if `data` is of another Python; ValueError if it is no such file."""
        if data[:4] != MAGIC:
            raise ImportError("%s is not compiled by this Python" % path)
        self.archive = path
        self._data = data
        self._index = json.loads(data[int(data[-_FOOT:]) : -_FOOT].decode("ascii"))

    def get(self, name):
        """Return the bytes of a file, None if there is none of this name. zlib.error if it is damaged."""
        if name not in self._index:
            return None
        begin, size = self._index[name]
        return zlib.decompress(self._data[begin : begin + size])

    def install(self):
        sys.meta_path.insert(0, self)

    def leave(self):
        """Import nothing more from it, and keep nothing of it in memory."""
        sys.meta_path.remove(self)
        self._index, self._data = {}, b""

    def find_spec(self, fullname, path=None, target=None):
        within = fullname.replace(".", "/")
        for name, is_package in ((within + "/__init__.pyc", True), (within + ".pyc", False)):
            if name in self._index:
                origin = "%s/%s" % (self.archive, name)
                spec = _frozen_importlib.ModuleSpec(fullname, self, origin=origin, is_package=is_package)
                spec.has_location = True
                if is_package:
                    spec.submodule_search_locations.append("%s/%s" % (self.archive, within))
                return spec
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        file = module.__spec__.origin
        code = marshal.loads(self.get_data(file)[_CODE:])  # noqa: S302  # written by this user's own module
        _imp._fix_co_filename(code, file)
        exec(code, module.__dict__)  # pylint: disable=exec-used

    def get_data(self, path):
        """Return the bytes of a file by its path, which begins with that of this one. OSError if there is none."""
        data = self.get(path[len(self.archive) + 1 :])
        if data is None:
            raise FileNotFoundError(path)
        return data
