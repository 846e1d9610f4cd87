# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib.util
import marshal
import sys
import zipfile
import zipimport
import zlib

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import compiled

SOURCE = b"VALUE = 'compiled anew'\n"


def archive(path, source=SOURCE, code=None):
    with zipfile.ZipFile(str(path), "w") as target:
        target.writestr("once/part.py", source)
        if code is not None:
            header = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source)
            target.writestr("once/part.pyc", header + code)
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


def before(tmp_path, source=SOURCE, text="VALUE = 'compiled before'"):
    return archive(tmp_path / "before.zip", source, marshal.dumps(compile(text, "elsewhere", "exec")))


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
    with compiled.used(compiled.load(archive(tmp_path / "before.zip", SOURCE, code))):
        assert imported(sent)[0] == "compiled anew"


def test_a_file_that_cannot_be_unpacked_is_compiled(tmp_path, sent):
    path = tmp_path / "before.zip"
    header = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(SOURCE)
    with zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("once/part.pyc", header + marshal.dumps(compile("VALUE = 1", "elsewhere", "exec")))
        (info,) = target.infolist()
    data = bytearray(path.read_bytes())
    begin = info.header_offset + 30 + len(info.filename)
    data[begin : begin + 8] = b"\xff" * 8
    path.write_bytes(bytes(data))
    with pytest.raises(zlib.error), zipfile.ZipFile(str(path)) as damaged:
        damaged.read("once/part.pyc")
    with compiled.used(compiled.load(str(path))):
        assert imported(sent)[0] == "compiled anew"


def test_code_of_another_source_is_not_taken(tmp_path, sent):
    with compiled.used(compiled.load(before(tmp_path, b"VALUE = 1\n"))):
        assert imported(sent)[0] == "compiled anew"


def test_code_of_another_python_is_not_taken(tmp_path, sent, monkeypatch):
    path = before(tmp_path)
    monkeypatch.setattr(importlib.util, "MAGIC_NUMBER", b"none")
    with compiled.used(compiled.load(path)):
        assert imported(sent)[0] == "compiled anew"


def test_it_is_there_for_this_python():
    assert sys.implementation.name != "cpython" or hasattr(zipimport, "_compile_source")
