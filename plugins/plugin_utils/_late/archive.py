# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The archive of Jinja2 with which hosts evaluate late values: the controller's own pure-Python files."""

from __future__ import annotations

import base64
import functools
import importlib.util
import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.background.jobs.plugins.module_utils._late import names
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused

_ALWAYS = ("jinja2", "markupsafe")
_YAML = "yaml"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold: the same files always make the same bytes
# Files that rendering never imports: async rendering, finding undeclared variables, the bindings to libyaml.
_LEFT_OUT = frozenset(("jinja2/asyncsupport.py", "jinja2/ext.py.orig", "jinja2/meta.py", "yaml/cyaml.py"))


@functools.cache
def archive(with_yaml: bool = False) -> str:
    """Return Jinja2 and MarkupSafe, and on request PyYAML, in the form for plan["archive"]."""
    return _zipped(_files((*_ALWAYS, _YAML) if with_yaml else _ALWAYS))


@functools.cache
def evaluator() -> str:
    """Return the evaluator for hosts, the folder _late of module_utils, in the form for plan["evaluator"]."""
    folder = Path(names.__file__).parent
    return _zipped((path.name, path) for path in folder.glob("*.py") if path.name != "__init__.py")


def _zipped(files: Iterable[tuple[str, Path]]) -> str:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name, path in sorted(files):
            target.writestr(_entry(name), path.read_bytes())
    return base64.b64encode(data.getvalue()).decode("ascii")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _files(packages: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for package in packages:
        folder = _folder(package)
        for path in folder.rglob("*.py"):
            name = f"{package}/{path.relative_to(folder).as_posix()}"
            if name not in _LEFT_OUT:
                yield name, path


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.origin:
        raise Refused(f"Values that only the host knows need the Python package {package} on the controller.")
    folder = Path(spec.origin).parent
    if not (folder / "__init__.py").is_file():
        raise Refused(f"The Python package {package} of the controller is not installed as files: {spec.origin}.")
    return folder
