# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._core import own_task
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused


def action(module: str = "somewhere", windows: bool = False, verb: str = "async_run", seconds: int = 0) -> t.Any:
    shell = types.SimpleNamespace(_IS_WINDOWS=windows)
    kind = type("Action", (), {"__module__": module})
    made: t.Any = kind()
    made._connection = types.SimpleNamespace(_shell=shell)
    made._task = types.SimpleNamespace(action=f"background.jobs.{verb}", async_val=seconds)
    return made


def test_windows_and_mitogen_are_refused() -> None:
    own_task.refuse_unsupported_controller(action())
    with pytest.raises(Refused, match="Windows"):
        own_task.refuse_unsupported_controller(action(windows=True))
    with pytest.raises(Refused, match="Mitogen"):
        own_task.refuse_unsupported_controller(action("ansible_mitogen.mixins"))


@pytest.mark.parametrize(
    ("verb", "instead"),
    [
        ("async_run", "launches in the background already.*'wait: true'"),
        ("async_batch", "launches in the background already.*'timeout' limits the jobs"),
        ("async_wait", "only waits.*'timeout' limits the wait"),
        ("async_cancel", "Leave out 'async'"),
        ("async_info", "Leave out 'async'"),
        ("async_prune", "Leave out 'async'"),
        ("async_update", "Leave out 'async'"),
    ],
)
def test_async_on_our_own_tasks_is_refused_and_told_what_to_do(verb: str, instead: str) -> None:
    with pytest.raises(Refused, match=f"'async' on a task of {verb}.*{instead}"):
        own_task.refuse_unsupported_controller(action(verb=verb, seconds=60))
    own_task.refuse_unsupported_controller(action(verb=verb))
