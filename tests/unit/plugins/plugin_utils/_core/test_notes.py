# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import types
import typing as t
from pathlib import Path

import pytest
from ansible import constants

from ansible_collections.background.jobs.plugins.plugin_utils._core import notes

MODULE = {"path": "/d/a.zip", "sha256": "0" * 64, "shebang": "#!/python", "made_of": "x"}


class FakeConnection:
    transport = "ssh"
    become = None

    @staticmethod
    def get_options() -> dict[str, str]:
        return {"host": "a"}


def of(host: str = "a", folder: Path | None = None) -> notes.Notes:
    action: t.Any = types.SimpleNamespace(
        _connection=FakeConnection(),
        _task=types.SimpleNamespace(delegate_to=None),
        _templar=types.SimpleNamespace(template=lambda value: value),
    )
    return notes.Notes(action, {"inventory_hostname": host}, folder)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ansible's home, which outlives the run, and the temporary folder of this run beside it."""
    home, run = tmp_path / "home", tmp_path / "run"
    home.mkdir(mode=0o755)
    run.mkdir()
    monkeypatch.setattr(constants.config, "get_config_value", lambda name: str(home))
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(run))
    return home


def test_what_is_noted_is_there_for_the_next_run(home: Path) -> None:
    of().write(notes.Known({"async_run": MODULE}, {"/d": ["b"]}))
    (found,) = (home / "background_jobs").iterdir()
    assert found.suffix == ".json"
    assert of().read() == notes.Known({"async_run": MODULE}, {"/d": ["b"]})
    assert of("another").read() == notes.Known({}, {})


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o555])
@pytest.mark.parametrize("which", ["home", "folder"])
def test_notes_that_others_could_write_last_for_the_run(home: Path, mode: int, which: str) -> None:
    folder = home / "background_jobs"
    folder.mkdir()
    (home if which == "home" else folder).chmod(mode)
    of().write(notes.Known({"async_run": MODULE}, {}))
    assert not list(folder.iterdir())
    assert len(list((home.parent / "run" / "background_jobs").iterdir())) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "7",
        "[[], {}]",
        '[{"async_run": {"path": "/d"}}, {}]',
        '[{"async_run": 7}, {}]',
        '[{}, {"/d": 7}]',
        "[{}]",
    ],
)
def test_what_are_no_notes_are_none(home: Path, text: str) -> None:
    of().write(notes.Known({"async_run": MODULE}, {}))
    (found,) = (home / "background_jobs").iterdir()
    found.write_text(text)
    assert of().read() == notes.Known({}, {})


def test_parts_of_launches_are_noted_by_the_folder_they_are_kept_in(tmp_path: Path) -> None:
    of(folder=tmp_path).write(notes.Known({"async_run": MODULE}, {}))
    of(folder=tmp_path).note_shared("/d", {"a", "b"})
    assert (of(folder=tmp_path).shared("/d"), of(folder=tmp_path).shared("/e")) == ({"a", "b"}, set())
    of(folder=tmp_path).note_shared("/d", {"b"})
    assert of(folder=tmp_path).shared("/d") == {"b"}
    assert of(folder=tmp_path).read().modules == {"async_run": MODULE}


def test_of_very_many_parts_the_newest_are_noted(tmp_path: Path) -> None:
    before = {f"old {number}" for number in range(1000)}
    of(folder=tmp_path).note_shared("/d", {"new", "newer"}, before)
    found = of(folder=tmp_path).shared("/d")
    assert {"new", "newer"} <= found <= {"new", "newer"} | before
    assert len(found) == 500


def test_old_notes_go_when_a_host_is_met_for_the_first_time(home: Path) -> None:
    for host in ("a", "b"):
        of(host).write(notes.Known({}, {}))
    old, recent = sorted((home / "background_jobs").iterdir())
    tree = home / "background_jobs" / "tree"
    (tree / "inner").mkdir(parents=True)
    for one in (old, tree):
        os.utime(one, (1e9, 1e9))
    of("b").write(notes.Known({}, {}))
    assert old.exists() and tree.exists()
    of("c").write(notes.Known({}, {}))
    assert not old.exists() and not tree.exists()
    assert recent.exists()


def test_a_disk_that_takes_no_notes_is_no_error(home: Path) -> None:
    of().write(notes.Known({"async_run": MODULE}, {}))
    (found,) = (home / "background_jobs").iterdir()
    found.unlink()
    found.mkdir()  # so that it can neither be read nor replaced, by root either
    of().write(notes.Known({"async_run": MODULE}, {}))
    assert of().read() == notes.Known({}, {})
