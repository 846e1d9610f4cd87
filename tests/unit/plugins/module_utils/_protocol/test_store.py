# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host keeps from one call to the next: real files, and whatever may become of them."""

from __future__ import annotations

import os

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import store

DATA = b"a program"
DIGEST = store.sha256(DATA)


@pytest.fixture
def async_dir(tmp_path):
    (tmp_path / "async").mkdir(mode=0o700)
    (tmp_path / "async" / ".background_jobs").mkdir(mode=0o700)
    return tmp_path / "async"


@pytest.fixture
def folder(async_dir):
    return async_dir / ".background_jobs" / "modules"


def keep(async_dir, name="a", data=DATA):
    return store.Store(str(async_dir)).write(name, data)


def read(async_dir, name="a"):
    return store.Store(str(async_dir)).read(name, DIGEST)


def test_what_was_written_is_read(async_dir, folder):
    assert read(async_dir) is None
    assert not folder.exists(), "it was only looked for"
    assert keep(async_dir)
    assert read(async_dir) == DATA
    assert [path.stat().st_mode & 0o7777 for path in (folder, folder / "a")] == [0o700, 0o600]


def test_nothing_is_made_where_no_batch_was_recorded(tmp_path):
    (tmp_path / "core").mkdir(mode=0o700)
    with pytest.raises(FileNotFoundError):
        store.Store(str(tmp_path / "core"))
    assert not list((tmp_path / "core").iterdir())


@pytest.mark.parametrize(
    "change", ["gone", "half", "changed", "link", "folder", "fifo", "foreign", "folder of another"]
)
def test_what_is_not_what_it_was_is_not_read_and_can_be_written_again(async_dir, folder, change):
    keep(async_dir)
    path = folder / "a"
    if change == "gone":
        path.unlink()
    elif change == "half":
        path.write_bytes(DATA[:4])
    elif change == "changed":
        path.write_bytes(DATA.upper())
    elif change == "link":
        path.rename(folder / "b")
        path.symlink_to(folder / "b")
    elif change == "folder":
        path.unlink()
        path.mkdir()
    elif change == "fifo":
        path.unlink()
        os.mkfifo(path)
    elif os.geteuid() != 0:
        pytest.skip("only root can give files away")
    else:
        os.chown(path if change == "foreign" else folder, 1234, -1)
    assert read(async_dir) is None
    if change in ("folder", "folder of another"):
        assert not keep(async_dir), "what is not ours is left alone"
    else:
        assert keep(async_dir)
        assert read(async_dir) == DATA


def test_a_full_disk_is_no_error(async_dir, monkeypatch):
    def refuse(*dummy, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.files, "write_atomically", refuse)
    assert not keep(async_dir)
    assert read(async_dir) is None


def test_what_is_too_large_is_not_kept(async_dir, folder, monkeypatch):
    monkeypatch.setattr(store, "LIMIT", 8)
    assert not keep(async_dir)
    assert not folder.exists()


def aged(folder, name, mtime):
    os.utime(folder / name, (mtime, mtime))


@pytest.mark.parametrize("bound", ["_MOST", "_ROOM"])
def test_those_that_nobody_uses_make_room(async_dir, folder, monkeypatch, bound):
    monkeypatch.setattr(store, bound, {"_MOST": 3, "_ROOM": 3 * len(DATA)}[bound])
    for number in range(3):
        keep(async_dir, str(number))
        aged(folder, str(number), number + 1)
    (folder / "x.77.tmp").write_bytes(b"")  # of a writer that was killed long ago
    aged(folder, "x.77.tmp", 1)
    assert read(async_dir, "0") == DATA  # which is a use
    assert keep(async_dir, "3")
    assert sorted(os.listdir(folder)) == ["0", "2", "3"]
    aged(folder, "2", os.stat(folder / "0").st_mtime)
    assert not keep(async_dir, "4"), "all of them are in use"
    assert sorted(os.listdir(folder)) == ["0", "2", "3"]


def test_forgetting(async_dir, folder):
    keep(async_dir, "old")
    keep(async_dir, "young")
    aged(folder, "old", 1)
    store.forget(str(async_dir), 3600)
    assert os.listdir(folder) == ["young"]
    store.forget(str(async_dir), None)
    assert os.listdir(folder) == ["young"], "a call may be importing from it"
    aged(folder, "young", 1)
    store.forget(str(async_dir), None)
    assert not folder.exists()
    store.forget(str(async_dir), None)


def test_what_cannot_be_forgotten_stays(async_dir, folder, monkeypatch):
    def refuse(*dummy):
        raise OSError(30, "Read-only file system")

    keep(async_dir)
    aged(folder, "a", 1)
    monkeypatch.setattr(store.files, "remove", refuse)
    store.forget(str(async_dir), None)
    assert (folder / "a").exists()
