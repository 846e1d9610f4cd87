# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._plan import recipes
from ansible_collections.background.jobs.plugins.plugin_utils._plan.recipes import Settings, Work
from ansible_collections.background.jobs.plugins.plugin_utils._plan.staging import Transfer
from ansible_collections.background.jobs.plugins.plugin_utils._plan.tape import Command, HostState, ModuleCall, Tape

STAT = ModuleCall("ansible.legacy.stat", {"path": "/d"})
COPY = ModuleCall("ansible.legacy.copy", {"dest": "/d"})
FILE = ModuleCall("ansible.legacy.file", {"dest": "/d", "state": "file"})
SENT = Transfer("0/.source", "sha256", "sha1")


def tape(*events: t.Any, result: dict[str, t.Any] | None = None) -> Tape:
    return Tape(HostState(), list(events), result or {})


def test_calls_that_are_the_same_have_one_index() -> None:
    work = Work()
    assert [work.add(call) for call in (STAT, COPY, ModuleCall("ansible.legacy.stat", {"path": "/d"}), FILE)] == [
        0,
        1,
        0,
        2,
    ]


def test_one_module_needs_no_recipe() -> None:
    made = recipes.plain_call(tape(COPY))
    assert made is not None and made.calls == [COPY] and made.recipe is None
    for events in ((STAT,), (STAT, COPY), (), (Command(("x",)),)):
        assert recipes.plain_call(tape(*events)) is None


@pytest.mark.parametrize(
    ("absent", "same"),
    [
        ((STAT, COPY), (STAT, FILE)),  # nothing was transferred
        ((STAT, SENT), (STAT, FILE)),  # and not used
        ((STAT, SENT, COPY, COPY), (STAT, FILE)),
        ((STAT, SENT, COPY, Command(("rm",))), (STAT, FILE)),
        ((STAT, SENT, COPY), (FILE,)),
        ((SENT, COPY), (STAT, FILE)),
    ],
)
def test_another_action_plugin_than_cores_is_refused(absent: tuple[t.Any, ...], same: tuple[t.Any, ...]) -> None:
    with pytest.raises(Refused, match="not that of ansible-core"):
        recipes.copy(tape(*absent), tape(*same), None, Settings())
    with pytest.raises(Refused, match="not that of ansible-core"):
        recipes.assemble(tape(*absent), tape(*same), Settings())


@pytest.mark.parametrize(
    "make",
    [
        lambda: recipes.unarchive(tape(STAT), tape(), None, Settings()),
        lambda: recipes.unarchive(tape(SENT), tape(), None, Settings()),
        lambda: recipes.unarchive(tape(STAT, SENT, COPY), tape(), None, Settings()),
        lambda: recipes.script(tape(Command(("x",))), None, None, Settings()),
        lambda: recipes.script(tape(SENT), None, None, Settings()),
        lambda: recipes.script(tape(SENT, Command(("x",)), COPY), None, None, Settings()),
        lambda: recipes.script(tape(SENT), None, None, Settings(check_mode=True)),
        lambda: recipes.script(tape(SENT, Command(("x",))), tape(), None, Settings()),
    ],
)
def test_so_are_others(make: t.Callable[[], Work]) -> None:
    with pytest.raises(Refused, match="not that of ansible-core"):
        make()


def test_a_result_that_was_recorded_tells_no_arguments() -> None:
    missing = tape(STAT, result={"failed": True, "msg": "no", "invocation": {"content": "secret"}})
    made = recipes.unarchive(tape(STAT, SENT, ModuleCall("unarchive", {})), missing, None, Settings())
    assert made.recipe is not None and made.recipe["missing"] == {"failed": True, "msg": "no"}


def test_whether_there_is_one_place() -> None:
    assert recipes.is_single(tape(STAT, SENT, COPY))
    assert not recipes.is_single(tape(ModuleCall("a.stat", {"path": "/d/x"}), SENT, COPY))
    assert not recipes.is_single(tape(STAT, SENT, COPY, STAT, SENT, COPY))


def test_a_recipe_is_plain_json() -> None:
    class Tagged(str):
        __slots__ = ()

    made = recipes.copy(
        tape(ModuleCall("stat", {"path": Tagged("/d")}), SENT, COPY), tape(STAT, FILE), None, Settings(most_shown=7)
    )
    assert made.recipe is not None
    assert not isinstance(made.recipe["files"][0]["path"], Tagged)
    assert (made.recipe["most_shown"], made.recipe["check_mode"], made.staged) == (
        7,
        False,
        [["0/.source", "sha256", 0o600]],
    )
