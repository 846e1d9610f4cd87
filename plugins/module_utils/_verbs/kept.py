# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Modules that a host keeps, so that a playbook sends each of them once and not with every call.

ansible-core sends a module as a program with a zip in it: the module, and all of module_utils that it imports. The first
call of a module in a run of ansible-playbook is that. The module then keeps its zip, compiled, in the folder `modules`
beside the batches, and tells where. In place of the later calls the controller sends short_program.py, which looks whether
what was kept is still that, and runs it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import marshal
import os
import sys
import time
import zipfile

from ansible_collections.background.jobs.plugins.module_utils._protocol import place
from ansible_collections.background.jobs.plugins.module_utils._system import files

FOLDER = "modules"
_LIMIT = 16 * 1024 * 1024  # bytes of a zip
_MOST = 12  # zips of other versions, modules and Pythons that stay
_IN_USE = 600.0  # seconds since its last use in which a call that uses it may still go on
_OF_THIS_CALL = "sitecustomize.py"  # ansible-core's wrapper puts it there, with the path of the zip
# A compiled file whose source nobody looks at: PEP 552.
_UNCHECKED = (1).to_bytes(4, "little")


def own_zip():
    """Return the path of the zip that this module runs from; None where it runs from files."""
    return getattr(__loader__, "archive", None)


def find(async_dir, archive):
    """Return {path, sha256} of what is kept of the zip `archive` in async_dir; {} where nothing is, {path} of itself."""
    return _look(async_dir, archive, _kept)


def keep(async_dir, archive):
    """Return what `find` does, after keeping it where it is not; {} where that can't be. Nothing is made where no batch was
    ever recorded."""
    return _look(async_dir, archive, lambda *one: _kept(*one) or _write(*one))


def _look(async_dir, archive, get):
    if not archive:
        return {}
    try:
        folder = place.at(os.path.abspath(os.path.expanduser(async_dir))).batches.make(FOLDER)
        if os.path.dirname(os.path.realpath(archive)) == os.path.realpath(folder.path):
            os.utime(archive)
            return {"path": archive}  # as the controller knows
        sources = _sources(archive)
        name = "%s-%s.zip" % (_digest(sources)[:32], sys.implementation.cache_tag)
        data = get(folder, name, sources)
        if data is None:
            return {}
        return {"path": os.path.join(os.path.realpath(folder.path), name), "sha256": hashlib.sha256(data).hexdigest()}
    except (files.UnsafePath, OSError, zipfile.BadZipFile):
        return {}


def _sources(archive):
    with open(archive, "rb") as stream:
        sent = stream.read(_LIMIT)
    with zipfile.ZipFile(io.BytesIO(sent)) as contents:
        return {name: contents.read(name) for name in sorted(contents.namelist()) if name != _OF_THIS_CALL}


def forget(async_dir, unused_for):
    """Remove what is kept in async_dir and was not used for so many seconds, None for any; as much as can be removed.

    What was used just now stays: another call may be importing from it.
    """
    unused_for = max(unused_for or 0.0, _IN_USE)
    try:
        batches = place.at(async_dir).batches
        folder = batches.enter(FOLDER)
        for name in folder.names():
            found = folder.look(name)
            if found and found.st_mtime < time.time() - unused_for:
                files.remove(name, folder)
        if not folder.names():
            files.remove_tree(FOLDER, batches)
    except (files.UnsafePath, OSError):
        pass  # on a disk that is read-only, say: it is a matter of room


def _digest(sources):
    """Return a hash of names and contents, the same for each zip of the same files."""
    found = hashlib.sha256()
    for name, source in sources.items():
        found.update(b"%d %d " % (len(name.encode("utf-8")), len(source)) + name.encode("utf-8") + source)
    return found.hexdigest()


def _kept(folder, name, sources):
    """Return the zip that is there with these sources; None where there is none, or another."""
    try:
        data = files.read_own(name, _LIMIT, folder=folder)
        with zipfile.ZipFile(io.BytesIO(data)) as contents:
            if contents.testzip() or any(contents.read(source) != sources[source] for source in sources):
                return None
    except (FileNotFoundError, KeyError, files.UnsafePath, zipfile.BadZipFile):
        return None
    os.utime(name, dir_fd=folder.fd)
    return data


def _write(folder, name, sources):
    """Write a zip of the sources and what they compile to; return its bytes."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as contents:
        for source, text in sources.items():
            contents.writestr(source, text)
            if source.endswith(".py"):
                contents.writestr(source + "c", _compiled(source, text))
    data = written.getvalue()
    _make_room(folder)
    files.write_atomically(name, data, durable=False, folder=folder, temporary=(folder, "%s.%d" % (name, os.getpid())))
    return data


def _compiled(source, text):
    code = compile(text, source, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + importlib.util.source_hash(text) + marshal.dumps(code)


def _make_room(folder):
    """Remove those that were not used for the longest time, and what killed writers have left."""
    ages = {name: folder.look(name) for name in folder.names()}
    kept = sorted((found.st_mtime, name) for name, found in ages.items() if found and name.endswith(".zip"))
    for dummy, name in kept[: max(0, len(kept) - _MOST + 1)]:
        files.remove(name, folder)
    for name, found in ages.items():
        if found and not name.endswith(".zip") and found.st_mtime < time.time() - 3600:
            files.remove(name, folder)
