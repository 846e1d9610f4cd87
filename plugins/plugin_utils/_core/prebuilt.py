# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Has modules built once, and not once for each run of ansible-playbook, which takes much of the time of a launch.

ansible-core keeps what it has built until the end of a run, one file for each module in its folder of temporary files. Such
files are copied to Ansible's home, and back in a later run if the module's sources have not changed. Modules that use
utilities of other collections than their own are left to core: nobody looks whether those have changed.

The private names of ansible-core that this needs are listed in core.py.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import re
import typing as t
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ansible import constants
from ansible.executor import module_common
from ansible.plugins import action as core_action

from ansible_collections.background.jobs.plugins.plugin_utils._core import home, sources

_IMPORT = re.compile(rb"^[ \t]*(?:from|import)[ \t]+(ansible_collections\.\w+\.\w+)", re.MULTILINE)


@contextlib.contextmanager
def used(folder: Path | None = None) -> Iterator[None]:
    """While this lasts, ansible-core finds what was built before, and what it builds is kept. folder: where, instead of in
    Ansible's home."""
    really, built = core_action.modify_module, _Built(folder or home.lasting())

    def modify_module(**options: t.Any) -> t.Any:
        with built.lent(str(options.get("module_path")), str(options.get("module_compression"))):
            return really(**options)

    core_action.modify_module = modify_module
    try:
        yield
    finally:
        core_action.modify_module = really


class _Built:
    """What is kept of modules in a folder; None: nothing is."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._sources = sources.Sources()

    @contextlib.contextmanager
    def lent(self, module: str, compression: str) -> Iterator[None]:
        """Give ansible-core a module, by the path of its source, or take it from there afterwards."""
        of_core = _of_core(module, compression)
        if self._folder is None or of_core is None or of_core.exists():
            yield
            return
        fingerprint = self._sources.fingerprint(Path(module)).encode()
        kept = self._folder / _name(of_core, module)
        with contextlib.suppress(OSError):
            _copy(kept, of_core, fingerprint)
        was_kept = of_core.exists()
        try:
            yield
        finally:  # ansible-core stops after it has built a module if the interpreter is still to be discovered
            if not was_kept and of_core.exists() and _is_on_its_own(of_core, sources.collection_of(Path(module))):
                built = of_core.read_bytes()
                home.write(kept, _heading(fingerprint, built) + built)


def _of_core(module: str, compression: str) -> Path | None:
    """Return the file in which ansible-core keeps a module that it has built; None if its name does not tell which module."""
    try:
        name = module_common._get_ansible_module_fqn(module)
    except ValueError:
        return None
    folder = Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache"  # type: ignore[attr-defined]
    return folder / f"{name}-{compression}-none"


def _name(of_core: Path, module: str) -> str:
    """Return a name for what is kept of a module. Several installations of Ansible may share a home."""
    about = f"{of_core.name} {module} {sources.INSTALLATION}"
    return f"{hashlib.sha256(about.encode()).hexdigest()}.built"


def _copy(kept: Path, of_core: Path, fingerprint: bytes) -> None:
    """Give ansible-core what was kept, if its sources have not changed and it is whole."""
    heading, line, built = kept.read_bytes().partition(b"\n")
    if heading + line != _heading(fingerprint, built):
        return
    of_core.parent.mkdir(exist_ok=True)
    home.replace(of_core, built)


def _heading(fingerprint: bytes, built: bytes) -> bytes:
    return fingerprint + b" " + hashlib.sha256(built).hexdigest().encode() + b"\n"


def _is_on_its_own(of_core: Path, collection: Path | None) -> bool:
    """Whether no source of a built module imports anything of another collection."""
    own = {".".join(collection.parts[-3:]).encode()} if collection else set()
    built = module_common._CachedModule.load(str(of_core))
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(built.zip_data))) as contents:
        return all(own.issuperset(_IMPORT.findall(contents.read(name))) for name in contents.namelist())
