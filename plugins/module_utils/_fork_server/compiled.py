# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Saves compiling again what was compiled before when a payload is imported: zipimport itself keeps nothing.

A payload holds ansible-core's module_utils. So do all others, and the zip of the module that launches, which the host
keeps compiled (_verbs/kept.py). Code of the same source is taken from there.
"""

from __future__ import annotations

import _imp
import contextlib
import importlib.util
import marshal
import sys
import zipfile
import zipimport

# The code is preceded by 16 bytes (PEP 552): the magic number, flags, and a hash of the source.
_HEADER = 16
_UNCHECKED = (1).to_bytes(4, "little")  # a compiled file that is never checked against its source


def packed(name, source):
    """Return the bytes of a compiled file."""
    code = compile(source, name, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code)


@contextlib.contextmanager
def opened(path):
    """Give a function of the path of a file in a payload and of its source, which returns code from the zip `path`.

    None if that has none. path: may be None.
    """
    known = _open(path) if path and not sys.flags.optimize else None
    if known is None:
        yield lambda name, source: None
        return
    with known:
        yield lambda name, source: _look_up(known, name + "c", source)


@contextlib.contextmanager
def used(path):
    """While this lasts, zipimport takes code from the zip `path` if that has it of the same source. path: may be None."""
    really = getattr(zipimport, "_compile_source", None)  # CPython 3.8 to 3.14
    known = _open(path) if path and really and not sys.flags.optimize else None
    if known is None:
        yield
        return

    def compile_source(pathname, source):
        code = _look_up(known, pathname.partition(".zip/")[2] + "c", source)
        if code is None:
            return really(pathname, source)
        _imp._fix_co_filename(code, pathname)
        return code

    zipimport._compile_source = compile_source
    try:
        yield
    finally:
        zipimport._compile_source = really
        known.close()


def _open(path):
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile):  # for example removed since
        return None


def _look_up(known, name, source):
    """Return the code of a source; None if it is missing, of another source, or of another Python."""
    try:
        data = known.read(name)
        if data[:4] != importlib.util.MAGIC_NUMBER or data[8:_HEADER] != importlib.util.source_hash(source):
            return None
        return marshal.loads(data[_HEADER:])  # noqa: S302  # written by this user's own module
    except (KeyError, OSError, zipfile.BadZipFile, EOFError, ValueError, TypeError):
        return None
