# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import files


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_a_private_directory_is_made_for_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        files.private_directory(str(tmp_path / "new"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o700


def test_a_private_directory_that_others_can_read_is_closed(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    files.private_directory(str(tmp_path / "open"))
    assert mode(tmp_path / "open") == 0o700


@pytest.mark.parametrize("kind", ["link", "file", "fifo"])
def test_a_private_directory_is_nothing_else(tmp_path, kind):
    path = tmp_path / "place"
    (tmp_path / "target").mkdir(mode=0o755)
    if kind == "link":
        path.symlink_to(tmp_path / "target")
    elif kind == "file":
        path.write_text("x")
    else:
        os.mkfifo(path)
    with pytest.raises(files.UnsafePath, match="not a directory"):
        files.private_directory(str(path))
    assert mode(tmp_path / "target") == 0o755


def test_async_dir_is_made_with_its_parents_and_comes_back_absolute(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.job_directory("~/a/b") == str(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_a_link_for_async_dir_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(files.UnsafePath, match="symbolic link; set ansible_async_dir"):
        files.job_directory(str(tmp_path / "link"))


def test_an_async_dir_that_everybody_can_write_is_refused_unless_it_is_sticky(tmp_path):
    (tmp_path / "d").mkdir()
    os.chmod(tmp_path / "d", 0o777)
    with pytest.raises(files.UnsafePath, match="every user"):
        files.job_directory(str(tmp_path / "d"))
    os.chmod(tmp_path / "d", 0o1777)
    assert files.job_directory(str(tmp_path / "d")) == str(tmp_path / "d")


def test_written_files_are_private_whole_and_leave_nothing_beside_them(tmp_path):
    path = tmp_path / "f"
    files.write_atomically(str(path), b"one")
    files.write_atomically(str(path), b"two", durable=False)
    assert path.read_bytes() == b"two"
    assert mode(path) == 0o600
    assert os.listdir(tmp_path) == ["f"]


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"safe")
    (tmp_path / "f.tmp").symlink_to(tmp_path / "victim")
    files.write_atomically(str(tmp_path / "f"), b"data")
    assert (tmp_path / "victim").read_bytes() == b"safe"
    assert (tmp_path / "f").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("kind", "message"),
    [("link", "symbolic link"), ("fifo", "regular"), ("directory", "regular"), ("large", "more than")],
)
def test_only_small_regular_files_are_read(tmp_path, kind, message):
    path = tmp_path / "f"
    if kind == "link":
        (tmp_path / "t").write_text("x")
        path.symlink_to(tmp_path / "t")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"x" * 11)
    with pytest.raises(files.UnsafePath, match=message):
        files.read_own(str(path), 10)
