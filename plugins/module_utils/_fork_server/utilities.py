# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What all modules have in common: `ansible.module_utils.basic` and what that imports, once for the templates of a zygote.

It is imported from the payload of one of them. Each template then makes it its own: it gets the names of files, loaders
and packages that it would have if it had been imported there. A template cannot use it if its payload brings another
`basic`, or another version of any file that was imported.
"""

from __future__ import annotations

import _imp
import base64
import importlib
import importlib.machinery
import io
import pkgutil
import sys
import zipfile

from ansible_collections.background.jobs.plugins.module_utils._fork_server import compiled

_BASIC = "ansible.module_utils.basic"
_ZIP_DATA = "zip_data="
_DIRECTORY = 32768  # characters of base64, a multiple of 4, at the end of a zip, in which its directory usually is
# Stands for the path of a payload's zip: a text that no module has in its variables for another reason.
_NOWHERE = "/background.jobs zygote"
_OWN = ("__file__", "__cached__")  # that an import sets


def zip_in(tail):
    """Return the indexes where the text of a zip, between its quotes, begins and ends in the tail of a payload, None if there
    is none. Not with a regular expression, which would look at each of its characters."""
    at = tail.find(_ZIP_DATA)
    begin = at + len(_ZIP_DATA) + 1
    quote = tail[begin - 1 : begin]
    if at < 0 or quote not in ("'", '"'):
        return None
    end = tail.find(quote, begin)
    is_literal = end > begin and tail.find("\\", begin, end) < 0 and tail.find("\n", begin, end) < 0
    return (begin, end) if is_literal else None


def _zip_of(payload):
    """Return the ZipFile that a payload carries, None if there is none."""
    return _opened(_text_of(payload))


def _directory_of(payload):
    """Return what `_zip_of` does, but only the names, sizes and checksums in it can be read: a zip ends with its directory."""
    text = _text_of(payload)
    return _opened(text[-_DIRECTORY:]) or _opened(text)


def _text_of(payload):
    tail = payload.get("tail", "")
    found = zip_in(tail)
    return tail[slice(*found)] if found else ""


def _opened(text):
    try:
        return zipfile.ZipFile(io.BytesIO(base64.b64decode(text)))
    except (ValueError, zipfile.BadZipFile):
        return None


class Utilities:
    """Imports what templates have in common; a finder and loader in one."""

    def __init__(self):
        self.compiled = None  # the CodeFile of compiled.load
        self._codes = {}  # path in the zip: code
        self._names = {}  # name of a module that was imported: path in the zip
        self._marks = {}  # path in the zip: (size, checksum)
        self._imported = []  # (module, path in the zip, names of the variables that were derived from that of a file)
        self.capture = None  # what capture.py defines, if output is kept: forking.load_capture

    def take(self, payload):
        """Import it from a payload. ImportError if that carries none."""
        self._archive = _zip_of(payload)
        if self._archive is None:
            raise ImportError("the payload carries no zip")
        self.compiled = compiled.load(payload.get("compiled"))
        sys.meta_path.insert(0, self)
        try:
            importlib.import_module(_BASIC)
        finally:
            sys.meta_path.remove(self)
            self._archive.close()
            self._archive = None
        for name, within in self._names.items():
            module = sys.modules.get(name)
            if module is not None and module.__spec__.name == name:  # distro puts another module in its place
                self._imported.append((module, within, _derived(module)))

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "ansible":
            return None
        base = name.replace(".", "/")
        for within, is_package in ((base + "/__init__.py", True), (base + ".py", False)):
            if within in self._archive.NameToInfo:
                spec = importlib.machinery.ModuleSpec(name, self, origin=_at(_NOWHERE, within), is_package=is_package)
                spec.has_location = True
                if is_package:
                    spec.submodule_search_locations.append(_at(_NOWHERE, base))
                self._names[name] = within
                return spec
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        within = self._names[module.__name__]
        info = self._archive.getinfo(within)
        self._marks[within] = info.file_size, info.CRC
        source = self._archive.read(within)
        code = compiled.look_up(self.compiled, within, source)
        if code is None:
            code = compile(source, module.__spec__.origin, "exec", dont_inherit=True)
        else:
            _imp._fix_co_filename(code, module.__spec__.origin)
        self._codes[within] = code
        exec(code, module.__dict__)  # pylint: disable=exec-used

    def fits(self, payload):
        """Say whether a payload brings the same version of all that was imported."""
        archive = _directory_of(payload)
        if archive is None:
            return False
        with archive:
            found = {within: archive.NameToInfo.get(within) for within in self._marks}
        return all(info and (info.file_size, info.CRC) == self._marks[within] for within, info in found.items())

    def adopt(self):
        """Make it belong to the payload whose zip is the first on sys.path. ImportError if there is none."""
        archive = getattr(pkgutil.get_importer(sys.path[0]), "archive", None)
        if archive is None:
            raise ImportError("the payload was not unpacked as it is known")
        for within, code in self._codes.items():
            _imp._fix_co_filename(code, _at(archive, within))
        for module, within, derived in self._imported:
            _adopt(module, archive, within)
            for name in derived:
                value = getattr(module, name)
                setattr(module, name, type(value)(archive + str(value)[len(_NOWHERE) :]))


def _adopt(module, archive, within):
    """Give a module the attributes that an import from the zip would give it. Not by zipimport, which would compile it."""
    path, before = _at(archive, within), module.__spec__
    folder, dummy, base = path.rpartition("/")
    is_package = base == "__init__.py"
    loader = pkgutil.get_importer(folder.rpartition("/")[0] if is_package else folder)
    spec = importlib.machinery.ModuleSpec(module.__name__, loader, origin=path, is_package=is_package)
    spec.has_location = True
    if is_package:
        # in place of those that it was given; but six has set its own
        spec.submodule_search_locations = _moved(before.submodule_search_locations, archive)
        is_same = module.__path__ is before.submodule_search_locations
        module.__path__ = spec.submodule_search_locations if is_same else _moved(module.__path__, archive)
    module.__spec__, module.__loader__, module.__file__ = spec, loader, path
    if hasattr(module, "__cached__"):
        # None before Python 3.10
        module.__cached__ = _cached(spec, before, archive) if hasattr(loader, "exec_module") else None


def _cached(spec, before, archive):
    """Return spec.cached, without working it out anew where that can be told from the spec before."""
    cached = before.cached or ""
    return archive + cached[len(_NOWHERE) :] if cached.startswith(_NOWHERE) else spec.cached


class Adopting:
    """Has a template adopt the shared modules just before it imports something of the unpacked payload."""

    def __init__(self, shared):
        self._shared = shared

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "ansible":
            return None
        self.adopt()
        package = name.rpartition(".")[0]
        return importlib.machinery.PathFinder.find_spec(name, sys.modules[package].__path__ if package else None)

    def adopt(self):
        """Adopt them now, unless that was done."""
        if self._shared is not None:
            shared, self._shared = self._shared, None
            sys.meta_path.remove(self)
            shared.adopt()


def _at(archive, within):
    return "%s/%s" % (archive, within)


def _moved(paths, archive):
    return [archive + path[len(_NOWHERE) :] if path.startswith(_NOWHERE) else path for path in paths]


def _derived(module):
    """Return the names of the variables that were derived from the path of a file."""
    pure_path = getattr(sys.modules.get("pathlib"), "PurePath", str)
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, (str, pure_path)) and name not in _OWN and str(value).startswith(_NOWHERE)
    ]
