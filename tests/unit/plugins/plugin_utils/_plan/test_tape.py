# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._plan import tape as _tape
from ansible_collections.background.jobs.plugins.plugin_utils._plan.tape import (
    ABSENT,
    DIRECTORY,
    SAME,
    Call,
    Command,
    Settings,
    Store,
    Tape,
    Transfer,
    Work,
    World,
)

STAT = Call("ansible.legacy.stat", {"path": "/d"})
COPY = Call("ansible.legacy.copy", {"dest": "/d"})
FILE = Call("ansible.legacy.file", {"dest": "/d", "state": "file"})
SENT = Transfer("0/.source", "sha256", "sha1")


def tape(*events: t.Any, result: dict[str, t.Any] | None = None) -> Tape:
    return Tape(World(), list(events), result or {})


@pytest.fixture
def store(tmp_path: Path) -> t.Iterator[Store]:
    made = Store(str(tmp_path))
    yield made
    made.close()
    assert list(tmp_path.glob("tmp*")) == []


def write(tmp_path: Path, name: str, content: bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


def test_the_same_content_is_sent_once(store: Store, tmp_path: Path) -> None:
    for number, content in enumerate((b"one", b"two", b"one", b"", b"three")):
        sent = store.transfer(write(tmp_path, "x", content), f"{store.token}/{number}/name")
        assert sent == Transfer(
            f"{number}/name", hashlib.sha256(content).hexdigest(), hashlib.sha1(content).hexdigest()
        )
    made = store.in_plan()
    assert sorted(base64.b64decode(text) for text in made["files"].values()) == [b"", b"one", b"three", b"two"]
    assert (made["staging_token"], store.size, "bundle" in made) == (store.token, 11, False)
    for digest, text in made["files"].items():
        assert hashlib.sha256(base64.b64decode(text)).hexdigest() == digest


def test_a_bundle_tells_where_each_content_is(store: Store, tmp_path: Path) -> None:
    for content in (b"one", b"three", b"three"):
        store.transfer(write(tmp_path, "x", content), f"{store.token}/0/x")
    made = store.in_plan("/remote/files")
    data = Path(store.path).read_bytes()
    assert {data[start : start + size] for start, size in made["files"].values()} == {b"one", b"three"}
    assert (made["bundle"], data) == ("/remote/files", b"onethree")


def test_without_files_the_plan_says_nothing(store: Store) -> None:
    assert store.in_plan() == {} and store.size == 0


@pytest.mark.parametrize("remote", ["/etc/passwd", "TOKEN", "TOKEN/", "/x/TOKEN/0/a"])
def test_a_file_for_another_place_is_refused(store: Store, tmp_path: Path, remote: str) -> None:
    with pytest.raises(Refused, match="not that of ansible-core"):
        store.transfer(write(tmp_path, "x", b""), remote.replace("TOKEN", store.token))


def test_tokens_differ() -> None:
    assert len({Store("/").token for dummy in range(20)}) == 20


def test_a_world_answers_in_turn() -> None:
    made = Tape(World(stats=(DIRECTORY, ABSENT), codes=(1, 0)))
    assert [made.answer(STAT)["stat"] for dummy in range(3)] == [DIRECTORY, ABSENT, ABSENT]
    assert [made.run(Command(("x",))) for dummy in range(3)] == [1, 0, 0]
    assert made.answer(Call("ansible.legacy.file", {"_diff_peek": True}))["state"] == "file"
    assert made.answer(Call("a.b.slurp", {}))["encoding"] == "base64"
    assert made.answer(COPY) == {"changed": True}
    assert len(made.events) == 9


def test_the_checksum_of_the_same_file_equals_any() -> None:
    made = Tape(World(stats=(SAME,)))
    first, second = (made.answer(STAT)["stat"]["checksum"] for dummy in range(2))
    assert isinstance(first, str)
    # as core compares them
    assert ["da39" != first, "beef" == second] == [False, True]  # noqa: SIM300
    assert made.compared == ["da39", "beef"]


def test_calls_that_are_the_same_have_one_index() -> None:
    work = Work()
    assert [work.add(call) for call in (STAT, COPY, Call("ansible.legacy.stat", {"path": "/d"}), FILE)] == [0, 1, 0, 2]


def test_one_module_needs_no_recipe() -> None:
    made = _tape.plain_call(tape(COPY))
    assert made is not None and made.calls == [COPY] and made.recipe is None
    for events in ((STAT,), (STAT, COPY), (), (Command(("x",)),)):
        assert _tape.plain_call(tape(*events)) is None


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
        _tape.copy(tape(*absent), tape(*same), None, Settings())
    with pytest.raises(Refused, match="not that of ansible-core"):
        _tape.assemble(tape(*absent), tape(*same), Settings())


@pytest.mark.parametrize(
    "make",
    [
        lambda: _tape.unarchive(tape(STAT), tape(), None, Settings()),
        lambda: _tape.unarchive(tape(SENT), tape(), None, Settings()),
        lambda: _tape.unarchive(tape(STAT, SENT, COPY), tape(), None, Settings()),
        lambda: _tape.script(tape(Command(("x",))), None, None, Settings()),
        lambda: _tape.script(tape(SENT), None, None, Settings()),
        lambda: _tape.script(tape(SENT, Command(("x",)), COPY), None, None, Settings()),
        lambda: _tape.script(tape(SENT), None, None, Settings(check_mode=True)),
        lambda: _tape.script(tape(SENT, Command(("x",))), tape(), None, Settings()),
    ],
)
def test_so_are_others(make: t.Callable[[], Work]) -> None:
    with pytest.raises(Refused, match="not that of ansible-core"):
        make()


def test_a_result_that_was_recorded_tells_no_arguments() -> None:
    missing = tape(STAT, result={"failed": True, "msg": "no", "invocation": {"content": "secret"}})
    made = _tape.unarchive(tape(STAT, SENT, Call("unarchive", {})), missing, None, Settings())
    assert made.recipe is not None and made.recipe["missing"] == {"failed": True, "msg": "no"}


def test_whether_there_is_one_place() -> None:
    assert _tape.is_single(tape(STAT, SENT, COPY))
    assert not _tape.is_single(tape(Call("a.stat", {"path": "/d/x"}), SENT, COPY))
    assert not _tape.is_single(tape(STAT, SENT, COPY, STAT, SENT, COPY))


def test_a_recipe_is_plain_json() -> None:
    class Tagged(str):
        __slots__ = ()

    made = _tape.copy(
        tape(Call("stat", {"path": Tagged("/d")}), SENT, COPY), tape(STAT, FILE), None, Settings(most_shown=7)
    )
    assert made.recipe is not None
    assert not isinstance(made.recipe["files"][0]["path"], Tagged)
    assert (made.recipe["most_shown"], made.recipe["check_mode"], made.staged) == (
        7,
        False,
        [["0/.source", "sha256", 0o600]],
    )
