# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of jobs."""

from __future__ import annotations

from ..conftest import ask as serve
from ..conftest import named
from .conftest import finish


def ask(async_dir, jids, **settings):
    return serve(async_dir, "wait", **dict(named(*jids), **settings))["jobs"]


def test_results_beyond_the_limit_are_deferred_and_a_large_one_comes_alone(tmp_path):
    for name in ("j1.1", "j1.2", "j1.3"):
        finish(tmp_path / name, {"stdout": "x" * 1000})
    answers = ask(tmp_path, ["j1.1", "j1.2", "j1.3"], max_bytes=1500)
    assert ["result" in answer for answer in answers] == [True, True, False]
    assert [answer.get("deferred", False) for answer in answers] == [False, False, True]
    assert "result" in ask(tmp_path, ["j1.3"], max_bytes=1)[0]
