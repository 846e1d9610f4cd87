# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib.util
import json
import marshal
import pathlib
import sys

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import code_file, compiled, forking, loader
from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_client

TEXT = "def main(): return 'from its text'\n"
BEFORE = "def main(): return 'compiled before'\n"
ROOM = "ansible_collections/background/jobs/plugins/module_utils/_fork_server"


def kept_of(folder, text=TEXT, code=None, name="main"):
    """Return the path of a file that says to have `text` compiled, but has BEFORE."""
    code = marshal.dumps(compile(BEFORE, "elsewhere", "exec")) if code is None else code
    header = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(text.encode())
    path = folder / "kept.code"
    path.write_bytes(code_file.pack({"%s/%s.pyc" % (ROOM, name): header + code}, compile("", "importer", "exec")))
    return str(path)


def ours():
    return {name: module for name, module in sys.modules.items() if name.startswith("ansible_collections")}


def loaded(path):
    """Return what the main function of a program returns, and the file that its code says it comes from."""
    before = ours()
    parts = {"main": TEXT}
    for part in (code_file, compiled):
        name = part.__name__.rpartition(".")[2]
        parts[name] = pathlib.Path(part.__file__).read_text(encoding="utf-8")
    main = loader.load(json.dumps({"parts": parts, "compiled": path}))
    assert ours() == before
    return main(), main.__code__.co_filename


def test_a_part_that_is_there_compiled_is_not_compiled_again(tmp_path):
    assert loaded(kept_of(tmp_path)) == ("compiled before", "background.jobs main")


@pytest.mark.parametrize("path", [None, "/none.code"])
def test_without_such_a_file_it_is_compiled(path):
    assert loaded(path) == ("from its text", "background.jobs main")


@pytest.mark.parametrize("changes", [{"text": "x = 1\n"}, {"code": b""}, {"code": b"torn"}])
def test_code_of_another_text_and_damaged_code_are_not_used(tmp_path, changes):
    assert loaded(kept_of(tmp_path, **changes))[0] == "from its text"


def test_a_damaged_file_is_not_used(tmp_path):
    path = tmp_path / "kept.code"
    path.write_bytes(b"PK")
    assert loaded(str(path))[0] == "from its text"


def test_what_keeps_output_is_not_compiled_again_either(tmp_path):
    known = compiled.load(kept_of(tmp_path, name="capture"))
    assert forking.load_capture({"capture": TEXT}, known)["main"]() == "compiled before"
    assert forking.load_capture({"capture": TEXT}, None)["main"]() == "from its text"


def test_the_supervisor_sends_what_is_loaded(tmp_path):
    sent = fork_client.program({"loader": "", "parts": {"main": TEXT}}, kept_of(tmp_path))
    assert json.loads(sent[20:]) == {"parts": {"main": TEXT}, "compiled": str(tmp_path / "kept.code")}
