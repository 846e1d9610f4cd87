# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import marshal
import os

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import kept_code

SOURCE = b"VALUE = 'kept'\n"
CODE = compile(SOURCE, "elsewhere", "exec")


def value_of(code):
    names = {}
    exec(code, names)  # pylint: disable=exec-used
    return names["VALUE"]


def begin_of(name, data):
    return hashlib.sha256(name.encode() + data).digest()


@pytest.fixture
def file(tmp_path):
    """The only file in the folder."""
    kept_code.write(str(tmp_path), SOURCE, CODE)
    (found,) = tmp_path.iterdir()
    return found


def test_what_was_written_is_read_and_marked_as_used(tmp_path, file):
    assert file.stat().st_mode & 0o777 == 0o600
    os.utime(str(file), (1, 1))
    assert value_of(kept_code.read(str(tmp_path), SOURCE)) == "kept"
    assert file.stat().st_mtime > 1


def test_what_was_not_written_is_not_read(tmp_path, file):
    assert kept_code.read(str(tmp_path), SOURCE + b"#") is None
    assert kept_code.read(str(tmp_path / "none"), SOURCE) is None


def test_what_another_python_has_written_is_not_read(tmp_path, file, monkeypatch):
    monkeypatch.setattr(kept_code.sys.implementation, "cache_tag", "other-313")
    assert kept_code.read(str(tmp_path), SOURCE) is None


@pytest.mark.parametrize("content", [b"", b"torn", marshal.dumps(compile("VALUE = 'changed'", "elsewhere", "exec"))])
def test_what_was_changed_is_not_read(tmp_path, file, content):
    file.write_bytes(content)
    assert kept_code.read(str(tmp_path), SOURCE) is None


def test_what_is_no_code_is_not_read(tmp_path, file):
    file.write_bytes(begin_of(file.name, b"torn") + b"torn")
    assert kept_code.read(str(tmp_path), SOURCE) is None


def test_what_is_of_another_source_is_not_read(tmp_path, file):
    kept_code.write(str(tmp_path), b"VALUE = 1", compile("VALUE = 1", "elsewhere", "exec"))
    (other,) = [path for path in tmp_path.iterdir() if path != file]
    other.rename(file)
    assert kept_code.read(str(tmp_path), SOURCE) is None


def test_what_others_can_write_is_not_read(tmp_path, file):
    file.chmod(0o620)
    assert kept_code.read(str(tmp_path), SOURCE) is None


def test_a_link_is_not_followed(tmp_path, file):
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert kept_code.read(str(tmp_path), SOURCE) is None


def test_a_fifo_is_not_waited_for(tmp_path, file):
    file.unlink()
    os.mkfifo(str(file))
    assert kept_code.read(str(tmp_path), SOURCE) is None


def test_what_is_written_twice_is_there_once(tmp_path, file):
    kept_code.write(str(tmp_path), SOURCE, CODE)
    assert list(tmp_path.iterdir()) == [file]


def test_a_source_has_one_file_whatever_was_written(tmp_path, file):
    """marshal writes the same code in more than one way; and what was damaged is replaced."""
    kept_code.write(str(tmp_path), SOURCE, compile("VALUE = 'other'", "elsewhere", "exec"))
    assert list(tmp_path.iterdir()) == [file]
    assert value_of(kept_code.read(str(tmp_path), SOURCE)) == "other"


def test_nothing_is_added_to_many_files(tmp_path):
    for number in range(200):
        (tmp_path / str(number)).touch()
    kept_code.write(str(tmp_path), SOURCE, CODE)
    assert len(list(tmp_path.iterdir())) == 200
    assert kept_code.read(str(tmp_path), SOURCE) is None


def test_what_was_damaged_is_replaced_among_many_files_too(tmp_path, file):
    file.write_bytes(b"torn")
    for number in range(199):
        (tmp_path / str(number)).touch()
    kept_code.write(str(tmp_path), SOURCE, CODE)
    assert value_of(kept_code.read(str(tmp_path), SOURCE)) == "kept"
    assert len(list(tmp_path.iterdir())) == 200


def test_where_nothing_can_be_written_nothing_is_left(tmp_path, monkeypatch):
    kept_code.write(str(tmp_path / "none"), SOURCE, CODE)

    def rename(old, new):
        raise OSError("full")

    monkeypatch.setattr(kept_code.os, "rename", rename)
    kept_code.write(str(tmp_path), SOURCE, CODE)
    assert not list(tmp_path.iterdir())
