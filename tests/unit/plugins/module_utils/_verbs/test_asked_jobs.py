# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs that are asked for, and are not there."""

from __future__ import annotations

import time

import pytest

from ..conftest import ask as serve
from ..conftest import named


def ask(async_dir, jids, **settings):
    return serve(async_dir, "wait", **dict(named(*jids), **settings))["jobs"]


@pytest.mark.parametrize(
    ("jid", "error"), [("../../etc/passwd", "invalid"), ("j1.2", "not_found"), ("j123456789012345.0", "not_found")]
)
def test_a_job_that_is_not_there_says_who_looked_where_and_holds_nobody_up(tmp_path, jid, error):
    before = time.monotonic()
    answer = ask(tmp_path, [jid])[0]
    assert answer["error"] == error
    assert time.monotonic() - before < 5
    if error == "not_found":
        assert str(tmp_path) in answer["msg"]
        assert "searched as user" in answer["msg"]


def test_a_missing_directory_is_not_made(tmp_path):
    assert ask(tmp_path / "no", ["j1.2"])[0]["error"] == "not_found"
    assert not (tmp_path / "no").exists()
