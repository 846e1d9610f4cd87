# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._core import sources


def fingerprint(module: str, plugins: Path) -> str:
    return sources.Sources().fingerprint(plugins / "modules" / f"{module}.py")


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """The plugins of a collection."""
    tmp_path /= "plugins"
    for name in ("modules/async_run.py", "modules/async_wait.py", "module_utils/_room/thing.py", "module_utils/a.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("pass")
    return tmp_path


def test_it_stays_where_nothing_has_changed(plugins: Path) -> None:
    before = fingerprint("async_run", plugins)
    cache = plugins / "module_utils" / "_room" / "__pycache__"
    cache.mkdir()
    (cache / "thing.cpython-313.py").write_text("compiled")
    (plugins / "module_utils" / "README.md").write_text("no code")
    (plugins / "modules" / "async_wait.py").write_text("another module")
    assert fingerprint("async_run", plugins) == before
    assert fingerprint("async_wait", plugins) != before


@pytest.mark.parametrize("what", ["own", "utility", "touched", "new", "gone", "routes"])
def test_it_changes_with_what_a_module_is_built_from(plugins: Path, what: str) -> None:
    before = fingerprint("async_run", plugins)
    utility = plugins / "module_utils" / "_room" / "thing.py"
    if what == "own":
        (plugins / "modules" / "async_run.py").write_text("changed")
    elif what == "utility":
        utility.write_text("changed")
    elif what == "touched":  # as long as before, and of the same age
        times = utility.stat().st_atime_ns, utility.stat().st_mtime_ns
        utility.write_text("PASS")
        os.utime(utility, ns=times)
    elif what == "routes":  # to other utilities
        (plugins.parent / "meta").mkdir()
        (plugins.parent / "meta" / "runtime.yml").write_text("plugin_routing: {}")
    elif what == "new":
        (plugins / "module_utils" / "new.py").write_text("")
    else:
        (plugins / "module_utils" / "a.py").unlink()
    assert fingerprint("async_run", plugins) != before


def test_it_changes_with_what_stands_in_for_a_utility_of_core(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.module_utils_loader, "_get_paths", lambda subdirs: [str(tmp_path / "mine")])
    before = fingerprint("async_run", plugins)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "basic.py").write_text("")
    assert fingerprint("async_run", plugins) != before


def test_a_module_of_core_is_not_built_from_collections(plugins: Path, tmp_path: Path) -> None:
    module = tmp_path / "ansible" / "modules" / "ping.py"
    module.parent.mkdir(parents=True)
    module.write_text("pass")
    before = sources.Sources().fingerprint(module)
    (plugins / "module_utils" / "new.py").write_text("")
    assert sources.Sources().fingerprint(module) == before
    module.write_text("changed")
    assert sources.Sources().fingerprint(module) != before


def test_it_is_that_of_this_collection() -> None:
    assert sources.of_own("async_run") == sources.of_own("async_run") != sources.of_own("async_wait")
