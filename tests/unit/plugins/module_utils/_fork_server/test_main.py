# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from ansible_collections.background.jobs.plugins.module_utils._fork_server import main


def test_of_folders_those_of_killed_templates_go_and_one_may_vanish_meanwhile(tmp_path, monkeypatch):
    ended, alive, other = "background-jobs.4194399.a", "background-jobs.%d.b" % os.getpid(), "somebody.4194399.c"
    for name in (ended, alive, other):
        (tmp_path / name).mkdir()
    found = ["background-jobs.4194398.gone", *os.listdir(tmp_path)]
    monkeypatch.setattr(main.os, "listdir", lambda parent: found)

    main._sweep(str(tmp_path))

    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path)) == sorted([alive, other])
