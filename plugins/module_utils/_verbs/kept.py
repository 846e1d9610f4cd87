# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Modules that a host keeps, so that a controller sends each of them once and not with every call.

ansible-core sends a module as a program with a zip in it: the module, and all of module_utils that it imports. The first call
of a module is sent like that. The module then keeps that, compiled, in the folder `modules` beside the batches
(_protocol/store.py), and reports where. In place of the later calls, of this run of ansible-playbook and the
next ones, the controller sends short_program.py, which checks that the file is still the same and runs the module from it.
"""

from __future__ import annotations

import io
import os
import struct
import sys

from ansible_collections.background.jobs.plugins.module_utils._protocol import store
from ansible_collections.background.jobs.plugins.module_utils._system import files, hashing

_OF_THIS_CALL = "sitecustomize.py"  # ansible-core's wrapper puts it there, with the path of the zip
_READ_AS_TEXT = "/_fork_server/"  # launcher.py sends these files on
_IMPORTER = __name__.replace(".", "/").replace("_verbs/kept", "_fork_server/code_file.py")
_SUFFIX = ".code"
_LOCAL_HEADER = 30  # bytes in front of the name of a file in a zip, with the lengths of that and of more at 26


def own_archive():
    """Return the path of the zip, or of the kept file, that this module runs from; None if it runs from a folder."""
    return getattr(__loader__, "archive", None)


def find(async_dir, archive):
    """Return {path, sha256} of the kept copy of the zip `archive`; {} if there is none; {path} if it is the kept copy itself."""
    return _look(async_dir, archive, _find)


def keep(async_dir, archive):
    """Return what `find` does, after keeping the zip if it is not kept; {} if that can't be done, or no batch was ever
    recorded here."""
    return _look(async_dir, archive, lambda *one: _find(*one) or _write(*one))


def _carried():
    """Never called: the import makes ansible-core put into the zip what is later run from it."""
    from ansible_collections.background.jobs.plugins.module_utils._verbs import stand_in  # noqa: F401


def _look(async_dir, archive, get):
    if not archive:
        return {}
    try:
        if archive.endswith(_SUFFIX):  # this module runs from there, maybe beside another async directory
            if os.access(archive, os.W_OK):
                os.utime(archive)
            return {"path": archive}  # the controller knows the hash
        kept = store.Store(os.path.abspath(os.path.expanduser(async_dir)))
        with open(archive, "rb") as stream:
            return _look_for(stream.read(store.LIMIT), kept, get)
    except (files.UnsafePath, OSError):
        return {}


def _look_for(sent, kept, get):
    import zipfile  # importing it takes a while, and kept modules do not need it

    try:
        with zipfile.ZipFile(io.BytesIO(sent)) as contents:
            return get(kept, sent, contents)
    except zipfile.BadZipFile:
        return {}


def _find(kept, sent, contents):
    begin = _beginning(sent, contents)
    for name in kept.names():
        digest = name[len(begin) : -len(_SUFFIX)]
        if name == _name(begin, digest) and kept.read(name, digest) is not None:
            return _told(kept, name, digest)
    return {}


def _write(kept, sent, contents):
    data = _compiled(contents)
    digest = store.sha256(data)
    name = _name(_beginning(sent, contents), digest)
    return _told(kept, name, digest) if kept.write(name, data) else {}


def _told(kept, name, digest):
    return {"path": os.path.join(kept.path, name), "sha256": digest}


def _name(begin, digest):
    return "%s%s%s" % (begin, digest, _SUFFIX)


def _beginning(sent, contents):
    """Return the beginning of the name of a kept zip: the same for all calls that bring the same files."""
    found = hashing.sha256()
    for info in _files_of(contents):
        begin = info.header_offset + _LOCAL_HEADER + sum(struct.unpack_from("<HH", sent, info.header_offset + 26))
        name, packed = info.filename.encode("utf-8"), sent[begin : begin + info.compress_size]
        found.update(b"%d %d " % (len(name), len(packed)) + name + packed)
    return "%s-%s." % (found.hexdigest()[:32], sys.implementation.cache_tag)


def _files_of(contents):
    found = [info for info in contents.infolist() if info.filename != _OF_THIS_CALL]
    return sorted(found, key=lambda info: info.filename)


def _compiled(contents):
    """Return the bytes of a file of the compiled code (code_file.py), which depend on nothing but the files.

    It has no source that nobody reads: each call hashes the whole file.
    """
    from ansible_collections.background.jobs.plugins.module_utils._fork_server import code_file, compiled

    found = {}
    for info in _files_of(contents):
        source, name = contents.read(info), info.filename
        if name.endswith(".py"):
            found[name + "c"] = compiled.packed(name, source)
        if name + "c" not in found or _READ_AS_TEXT in name:
            found[name] = source
    importer = compile(contents.read(_IMPORTER), _IMPORTER, "exec", dont_inherit=True)
    return code_file.pack(found, importer)
