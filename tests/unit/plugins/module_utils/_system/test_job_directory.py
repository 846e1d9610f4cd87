# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
import stat

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import access, files, job_directory


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_a_private_directory_is_made_for_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        job_directory.make_private(str(tmp_path / "new"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o700


def test_a_private_directory_that_others_can_read_is_closed(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    job_directory.make_private(str(tmp_path / "open"))
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
        job_directory.make_private(str(path))
    assert mode(tmp_path / "target") == 0o755


def test_async_dir_is_made_with_its_parents_and_comes_back_absolute(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert job_directory.make("~/a/b") == str(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_a_link_for_async_dir_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(files.UnsafePath, match="symbolic link; set ansible_async_dir"):
        job_directory.make(str(tmp_path / "link"))


def test_an_async_dir_that_everybody_can_write_is_refused_unless_it_is_sticky(tmp_path):
    (tmp_path / "d").mkdir()
    os.chmod(tmp_path / "d", 0o777)
    with pytest.raises(files.UnsafePath, match="every user"):
        job_directory.make(str(tmp_path / "d"))
    os.chmod(tmp_path / "d", 0o1777)
    assert job_directory.make(str(tmp_path / "d")) == str(tmp_path / "d")


def test_missing_parents_are_not_for_others_to_write_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        job_directory.make(str(tmp_path / "a" / "b" / "c"))
    finally:
        os.umask(before)
    assert [mode(tmp_path / path) for path in ("a", "a/b", "a/b/c")] == [0o755, 0o755, 0o700]


# How the way to an async directory is made; what is said of it, None where it is fine.
WAYS = [
    ("home of another", lambda home: os.chown(home, 12345, 0), "uid 12345, to whom .*/home belongs"),
    ("written by its group", lambda home: os.chmod(home, 0o775), "the group of gid 0, who may write in .*/home"),
    ("written by all", lambda home: os.chmod(home, 0o757), "every user of the host, who may write in .*/home"),
    ("sticky, of root", lambda home: os.chmod(home, 0o1777), None),
    ("sticky, of another", lambda home: (os.chmod(home, 0o1777), os.chown(home, 12345, 0)), "uid 12345"),
    ("closed", lambda home: os.chmod(home, 0o700), None),
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")


@as_root
@pytest.mark.parametrize(("made", "message"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
@pytest.mark.parametrize("through", ["home/jobs", "link/jobs"])
def test_who_can_put_another_directory_in_the_place_is_refused(tmp_path, made, message, through):
    (tmp_path / "home" / "jobs").mkdir(0o700, parents=True)
    (tmp_path / "link").symlink_to("home")
    made(str(tmp_path / "home"))
    path = str(tmp_path / through)
    if message is None:
        assert job_directory.make(path) == path
    else:
        with pytest.raises(files.UnsafePath, match="another directory can be put in its place by %s" % message):
            job_directory.make(path)


@as_root
def test_a_link_on_the_way_that_another_can_change_is_refused(tmp_path):
    (tmp_path / "home" / "jobs").mkdir(0o700, parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    os.chown(str(tmp_path / "link"), 12345, 12345, follow_symlinks=False)
    with pytest.raises(files.UnsafePath, match=r"uid 12345, to whom .*/link belongs"):
        job_directory.make(str(tmp_path / "link" / "jobs"))


def test_links_that_lead_round_and_round_are_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises((files.UnsafePath, OSError), match="symbolic links"):
        job_directory._check_parents(str(tmp_path / "a" / "jobs"))


@pytest.mark.parametrize("place", ["async", "async/inner"])
def test_what_a_group_may_write_is_refused(tmp_path, place, monkeypatch):
    (tmp_path / "async" / "inner").mkdir(0o700, parents=True)
    os.chmod(tmp_path / place, 0o770)
    monkeypatch.setattr(access, "_is_private_group", lambda path, gid: False)
    with pytest.raises(files.UnsafePath, match="can be written by the group of gid"):
        if place == "async":
            job_directory.make(str(tmp_path / "async"))
        else:
            files.Folder(str(tmp_path / "async")).enter("inner")


@pytest.mark.parametrize(
    ("uid", "uid_map", "outside"),
    [
        (65534, "0 1000 1\n", True),
        (65534, "0 0 4294967295\n", False),
        (1000, "0 1000 1\n", False),
    ],
)
def test_owners_outside_of_a_user_namespace_are_known_by_its_map(monkeypatch, uid, uid_map, outside):
    monkeypatch.setattr("builtins.open", lambda path, **settings: files_of(uid_map))
    assert job_directory._is_from_outside(uid) is outside


def files_of(text):
    return io.StringIO(text)
