# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[5] / "plugins"
NEEDED = ("action/__init__.py", "plugin_utils/_core/__init__.py", "plugin_utils/_core/bytecode.py")

# As ansible-playbook imports an action plugin; tells what a module holds, and whether that was compiled.
RUN = """
import importlib, sys
from ansible.plugins.loader import init_plugin_loader

init_plugin_loader([])
plugins = "ansible_collections.background.jobs.plugins."
importlib.import_module(plugins + "action")

compiled = []

def told(event, arguments):
    if event == "compile":
        compiled.append(arguments)

sys.addaudithook(told)
module = importlib.import_module(plugins + "plugin_utils._tried.inner")
print(module.VALUE, module.__name__.count("."), "compiled" if compiled else "read")
"""


class Installed:
    """A few files of this collection where ansible-core finds them, and a home of Ansible's."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(mode=0o755)
        self.plugins = folder / "ansible_collections" / "background" / "jobs" / "plugins"
        for name in (*NEEDED, "plugin_utils/_core/home.py"):
            (self.plugins / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PLUGINS / name, self.plugins / name)
        self.source = self.plugins / "plugin_utils" / "_tried" / "inner.py"
        self.source.parent.mkdir()
        (self.source.parent / "__init__.py").write_text("")
        self.source.write_text("VALUE = 1\n")
        self.kept = self.home / "background_jobs" / "bytecode"

    def run(self, **env: str) -> str:
        """Return what a run of Ansible finds."""
        mine = {"ANSIBLE_HOME": str(self.home), "ANSIBLE_COLLECTIONS_PATH": str(self.plugins.parents[3])}
        others = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
        command = [sys.executable, "-c", RUN]
        done = subprocess.run(command, env=others | mine | env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def files(self) -> list[Path]:
        return sorted(self.kept.rglob("inner.*.pyc"))


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


def test_a_second_run_reads_what_the_first_has_compiled(installed: Installed) -> None:
    assert installed.run() == "1 6 compiled"
    assert installed.run() == "1 6 read"
    assert not list(installed.plugins.rglob("__pycache__")), "nothing appears beside the sources"
    assert installed.kept.stat().st_mode & 0o777 == 0o700


def test_another_source_is_compiled_even_if_it_has_the_same_size_and_time(installed: Installed) -> None:
    before = installed.source.stat()
    installed.run()
    other = installed.source.with_name("other.py")
    other.write_text("VALUE = 2\n")
    other.replace(installed.source)
    os.utime(installed.source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert installed.run() == "2 6 compiled"
    assert installed.run() == "2 6 read"


@pytest.mark.parametrize("damage", [0, 10, 16, 20, -1], ids=lambda size: f"cut off at {size}")
def test_what_is_kept_of_a_module_and_damaged_is_not_used(installed: Installed, damage: int) -> None:
    installed.run()
    (kept,) = installed.files()
    kept.write_bytes(kept.read_bytes()[:damage])
    assert installed.run() == "1 6 compiled"
    installed.run()
    assert installed.run() == "1 6 read", "what is damaged is replaced"


@pytest.mark.parametrize("mode", [0o770, 0o755, 0o707])
def test_a_folder_that_others_can_look_into_is_not_used(installed: Installed, mode: int) -> None:
    installed.run()
    installed.kept.chmod(mode)
    (kept,) = installed.files()
    kept.write_bytes(b"planted")
    assert installed.run() == "1 6 compiled"
    assert kept.read_bytes() == b"planted"


@pytest.mark.parametrize("kind", ["link", "file"])
def test_something_else_in_the_place_of_the_folder_is_not_used(installed: Installed, kind: str) -> None:
    installed.kept.parent.mkdir(mode=0o700)
    victim = installed.home / "victim"
    victim.mkdir(mode=0o700)
    if kind == "link":
        installed.kept.symlink_to(victim)
    else:
        installed.kept.write_text("")
    assert installed.run() == "1 6 compiled"
    assert not list(victim.iterdir())


def test_a_home_that_others_can_write_is_not_used(installed: Installed) -> None:
    installed.home.chmod(0o777)
    assert installed.run() == "1 6 compiled"
    assert not installed.kept.exists()


def test_a_caller_who_wants_no_bytecode_gets_none(installed: Installed) -> None:
    assert installed.run(PYTHONDONTWRITEBYTECODE="1") == "1 6 compiled"
    assert not installed.files()


def test_a_prefix_of_the_callers_is_for_other_modules(installed: Installed, tmp_path: Path) -> None:
    installed.run(PYTHONPYCACHEPREFIX=str(tmp_path / "prefix"))
    assert len(installed.files()) == 1
    assert not list((tmp_path / "prefix").rglob("inner.*"))
