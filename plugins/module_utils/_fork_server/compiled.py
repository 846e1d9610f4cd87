# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Saves compiling again what was compiled before when a payload is imported: zipimport itself keeps nothing.

A payload holds ansible-core's module_utils. So do all others, and the module that launches, which the host keeps compiled
(_verbs/kept.py). Code of the same source is taken from there. The rest, the payload's module above all, is kept beside it.
"""

from __future__ import annotations

import _imp
import contextlib
import importlib.util
import marshal
import os
import sys
import zipimport
import zlib

from ansible_collections.background.jobs.plugins.module_utils._fork_server import code_file, kept_code

# The code is preceded by 16 bytes (PEP 552): the magic number, flags, and a hash of the source.
_HEADER = 16
_UNCHECKED = (1).to_bytes(4, "little")  # a compiled file that is never checked against its source


def packed(name, source):
    """Return the bytes of a compiled file."""
    code = compile(source, name, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code)


def load(path):
    """Return the CodeFile of a path; None if there is none of this Python. path: may be None."""
    if not path or sys.flags.optimize:
        return None
    try:
        with open(path, "rb") as stream:
            return code_file.CodeFile(path, stream.read())
    except (OSError, ImportError, ValueError):  # for example removed since
        return None


def look_up(known, within, source):
    """Return the code of a file of a payload from such a CodeFile; None if it is missing or of another source.

    known: may be None; within: the path in the payload; source: bytes.
    """
    try:
        data = known.get(within + "c") if known else None
        if data is None or data[8:_HEADER] != importlib.util.source_hash(source):
            return None
        return marshal.loads(data[_HEADER:])  # noqa: S302  # written by this user's own module
    except (zlib.error, EOFError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def used(known):
    """While this lasts, zipimport takes code of the same source from such a CodeFile, or from the files beside it; what is in
    neither is compiled and kept beside it. known: may be None."""
    really = getattr(zipimport, "_compile_source", None)  # CPython 3.8 to 3.14
    if known is None or really is None:
        yield
        return
    folder = os.path.dirname(known.archive)

    def compile_source(pathname, source):
        code = look_up(known, pathname.partition(".zip/")[2], source)
        if code is None:
            code = kept_code.read(folder, source)
        if code is None:
            code = really(pathname, source)
            kept_code.write(folder, source, code)
            return code
        _imp._fix_co_filename(code, pathname)
        return code

    zipimport._compile_source = compile_source
    try:
        yield
    finally:
        zipimport._compile_source = really
