# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib.util
import marshal
import pathlib
import sys
import zipfile
import zipimport
import zlib

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import code_file, compiled

SOURCE = b"VALUE = 'compiled anew'\n"


def archive(path):
    with zipfile.ZipFile(str(path), "w") as target:
        target.writestr("once/part.py", SOURCE)
    return str(path)


def imported(path):
    """Return the value of the module in a zip, and the file that its code says it comes from."""
    loader = zipimport.zipimporter(path)
    names = {"__name__": "once.part"}
    code = zipimport.zipimporter(path + "/once").get_code("part")
    exec(code, names)  # pylint: disable=exec-used
    assert loader.archive == path
    return names["VALUE"], code.co_filename


@pytest.fixture
def sent(tmp_path):
    return archive(tmp_path / "sent.zip")


COMPILED = marshal.dumps(compile("VALUE = 'compiled before'", "elsewhere", "exec"))


def before(tmp_path, source=SOURCE, code=COMPILED):
    path, files = tmp_path / "before.code", {}
    if code is not None:
        header = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source)
        files["once/part.pyc"] = header + code
    path.write_bytes(code_file.pack(files, compile("", "importer", "exec")))
    return str(path)


def test_code_of_the_same_source_is_taken(tmp_path, sent):
    with compiled.used(compiled.load(before(tmp_path))):
        assert imported(sent) == ("compiled before", sent + "/once/part.py")
    assert imported(sent)[0] == "compiled anew"


@pytest.mark.parametrize("path", [None, "/none.zip"])
def test_where_there_is_none_it_is_compiled(sent, path):
    with compiled.used(compiled.load(path)):
        assert imported(sent)[0] == "compiled anew"


@pytest.mark.parametrize("code", [b"", b"torn", None])
def test_code_that_cannot_be_read_is_compiled(tmp_path, sent, code):
    with compiled.used(compiled.load(before(tmp_path, SOURCE, code))):
        assert imported(sent)[0] == "compiled anew"


def test_a_file_that_cannot_be_unpacked_is_compiled(tmp_path, sent):
    path = pathlib.Path(before(tmp_path))
    data = path.read_bytes()
    begin = data.index(b"x\x9c")  # of the only file in it
    path.write_bytes(data[:begin] + b"\xff" * 8 + data[begin + 8 :])
    with pytest.raises(zlib.error):
        compiled.load(str(path)).get("once/part.pyc")
    with compiled.used(compiled.load(str(path))):
        assert imported(sent)[0] == "compiled anew"


@pytest.mark.parametrize("size", [0, 3, 4, 30, -1, -19, -25])
def test_a_file_that_is_half_there_is_none(tmp_path, size):
    path = pathlib.Path(before(tmp_path))
    path.write_bytes(path.read_bytes()[:size])
    assert compiled.load(str(path)) is None


def test_what_was_compiled_anew_is_kept_for_the_next_time(tmp_path, sent, monkeypatch):
    path = before(tmp_path, code=None)
    with compiled.used(compiled.load(path)):
        assert imported(sent) == ("compiled anew", sent + "/once/part.py")
    again = archive(tmp_path / "again.zip")

    def compile_source(pathname, source):
        raise AssertionError("compiled once more")

    monkeypatch.setattr(zipimport, "_compile_source", compile_source)
    with compiled.used(compiled.load(path)):
        assert imported(again) == ("compiled anew", again + "/once/part.py")


def test_code_of_another_source_is_not_taken(tmp_path, sent):
    with compiled.used(compiled.load(before(tmp_path, b"VALUE = 1\n"))):
        assert imported(sent)[0] == "compiled anew"


def test_code_of_another_python_is_not_taken(tmp_path, monkeypatch):
    path = before(tmp_path)
    monkeypatch.setattr(code_file, "MAGIC", b"none")
    assert compiled.load(path) is None


def test_it_is_there_for_this_python():
    assert sys.implementation.name != "cpython" or hasattr(zipimport, "_compile_source")
