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


def test_a_tree_is_removed_with_its_links_and_without_what_they_lead_to(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").write_text("safe")
    (tmp_path / "tree" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / "tree" / "deep" / "fifo")
    files.remove_tree(str(tmp_path / "tree"))
    assert sorted(os.listdir(tmp_path)) == ["victim"]
    assert (tmp_path / "victim" / "file").read_text() == "safe"
