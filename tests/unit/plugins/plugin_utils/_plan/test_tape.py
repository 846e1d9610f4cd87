# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.background.jobs.plugins.plugin_utils._plan.tape import (
    ABSENT,
    DIRECTORY,
    SAME,
    Command,
    HostState,
    ModuleCall,
    Tape,
)

STAT = ModuleCall("ansible.legacy.stat", {"path": "/d"})
COPY = ModuleCall("ansible.legacy.copy", {"dest": "/d"})


def test_a_host_in_some_state_answers_in_turn() -> None:
    made = Tape(HostState(stats=(DIRECTORY, ABSENT), codes=(1, 0)))
    assert [made.answer(STAT)["stat"] for dummy in range(3)] == [DIRECTORY, ABSENT, ABSENT]
    assert [made.run(Command(("x",))) for dummy in range(3)] == [1, 0, 0]
    assert made.answer(ModuleCall("ansible.legacy.file", {"_diff_peek": True}))["state"] == "file"
    assert made.answer(ModuleCall("a.b.slurp", {}))["encoding"] == "base64"
    assert made.answer(COPY) == {"changed": True}
    assert len(made.events) == 9


def test_the_checksum_of_the_same_file_equals_any() -> None:
    made = Tape(HostState(stats=(SAME,)))
    first, second = (made.answer(STAT)["stat"]["checksum"] for dummy in range(2))
    assert isinstance(first, str)
    # as core compares them
    assert ["da39" != first, "beef" == second] == [False, True]  # noqa: SIM300
    assert made.compared == ["da39", "beef"]
