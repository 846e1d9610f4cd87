# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._core import sources


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    for name in ("modules/async_run.py", "modules/async_wait.py", "module_utils/_room/thing.py", "module_utils/a.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("pass")
    return tmp_path


def test_it_stays_where_nothing_has_changed(plugins: Path) -> None:
    before = sources.fingerprint("async_run", plugins)
    cache = plugins / "module_utils" / "_room" / "__pycache__"
    cache.mkdir()
    (cache / "thing.cpython-313.py").write_text("compiled")
    (plugins / "module_utils" / "README.md").write_text("no code")
    (plugins / "modules" / "async_wait.py").write_text("another module")
    assert sources.fingerprint("async_run", plugins) == before
    assert sources.fingerprint("async_wait", plugins) != before


@pytest.mark.parametrize("what", ["own", "utility", "touched", "new", "gone"])
def test_it_changes_with_what_a_module_is_built_from(plugins: Path, what: str) -> None:
    before = sources.fingerprint("async_run", plugins)
    utility = plugins / "module_utils" / "_room" / "thing.py"
    if what == "own":
        (plugins / "modules" / "async_run.py").write_text("changed")
    elif what == "utility":
        utility.write_text("changed")
    elif what == "touched":  # as long as before, and of the same age
        times = utility.stat().st_atime_ns, utility.stat().st_mtime_ns
        utility.write_text("PASS")
        os.utime(utility, ns=times)
    elif what == "new":
        (plugins / "module_utils" / "new.py").write_text("")
    else:
        (plugins / "module_utils" / "a.py").unlink()
    assert sources.fingerprint("async_run", plugins) != before


def test_it_changes_with_what_stands_in_for_a_utility_of_core(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.module_utils_loader, "_get_paths", lambda subdirs: [str(tmp_path / "mine")])
    before = sources.fingerprint("async_run", plugins)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "basic.py").write_text("")
    assert sources.fingerprint("async_run", plugins) != before
