# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for what changes in folders and files."""

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import inotify


def move_in(path):
    temporary = path.with_name(path.name + ".x")
    temporary.write_text("{}")
    temporary.rename(path)


@pytest.fixture(params=["inotify", "looking again"])
def watcher(request, monkeypatch):
    watcher = inotify.Watcher()
    if request.param == "looking again":
        watcher.close()
    yield watcher
    watcher.close()


def test_a_watcher_tells_of_what_is_appended_and_moved_in(tmp_path, watcher):
    (tmp_path / "journal").write_text("")
    watcher.add(str(tmp_path / "journal"))
    watcher.add(str(tmp_path))
    threading.Timer(0.2, move_in, [tmp_path / "j1.1"]).start()
    before = time.monotonic()
    while not (tmp_path / "j1.1").exists() and time.monotonic() - before < 20:
        watcher.wait(20)
    assert (tmp_path / "j1.1").exists()
    assert time.monotonic() - before < 10


def test_a_watcher_returns_when_the_time_is_up(tmp_path, watcher):
    watcher.add(str(tmp_path))
    before = time.monotonic()
    watcher.wait(0.05)
    assert time.monotonic() - before < 5
