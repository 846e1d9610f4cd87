# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import code_file, compiled

FILES = {
    "room/__init__.py": "NAME = __name__, __package__, __path__\n",
    "room/inner/__init__.py": "",
    "room/inner/part.py": "from room import NAME\n\ndef where():\n    raise ValueError(NAME)\n",
}
OWN = {**FILES, "json.py": "raise SystemExit('the own one was found first')\n"}


def kept(folder, files):
    """Write a file of compiled modules, and return its path."""
    found = {name + "c": compiled.packed(name, text.encode()) for name, text in files.items()}
    found["data.txt"] = b"as it is"
    importer = compile(pathlib.Path(code_file.__file__).read_bytes(), "importer", "exec", dont_inherit=True)
    path = folder / "kept.code"
    path.write_bytes(code_file.pack(found, importer))
    return str(path)


def run(path, program):
    """Run a program in an interpreter that has nothing but the file to import it from; return what it prints as JSON."""
    text = "import sys\n%s%s" % (code_file.START % path, program)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", text], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_a_bare_interpreter_imports_from_it(tmp_path):
    path = kept(tmp_path, FILES)
    program = (
        "import json, traceback\nimport room.inner.part as part\n"
        "try:\n    part.where()\nexcept ValueError as exc:\n    frames = traceback.extract_tb(exc.__traceback__)\n"
        "loader = part.__loader__\n"
        "print(json.dumps([sys.modules['room'].NAME, part.__file__, frames[-1][:3], part.__package__, loader.archive,\n"
        "                  loader.get_data(path + '/data.txt').decode()]))"
    )
    name, file, frame, package, archive, data = run(path, program)
    assert name == ["room", "room", [path + "/room"]]
    assert file == path + "/room/inner/part.pyc"
    assert frame == [file, 4, "where"]
    assert (package, archive, data) == ("room.inner", path, "as it is")


def test_what_it_has_comes_first_and_the_rest_is_found_elsewhere(tmp_path):
    path = kept(tmp_path, OWN)
    program = "kept.leave()\nsys.modules.pop('json')\nimport json\nprint(json.dumps(json.__file__))"
    assert run(path, program).startswith(str(pathlib.Path(json.__file__).parent))
    program = "sys.modules.pop('json')\ntry:\n    import json\nexcept SystemExit as exc:\n    print('\"%s\"' % exc)"
    assert run(path, program) == "the own one was found first"


def test_what_is_not_in_it_is_not_found(tmp_path):
    path = kept(tmp_path, FILES)
    one = code_file.CodeFile(path, pathlib.Path(path).read_bytes())
    assert one.get("room/other.pyc") is None
    assert one.find_spec("room.other") is None
    with pytest.raises(FileNotFoundError, match="room/other"):
        one.get_data(path + "/room/other.pyc")


def test_it_leaves_nothing_in_memory(tmp_path):
    program = (
        "import json, room\nkept.leave()\nprint(json.dumps([kept in sys.meta_path, len(kept._data), len(kept._index)]))"
    )
    assert run(kept(tmp_path, FILES), program) == [False, 0, 0]


def test_a_file_of_another_python_is_refused(tmp_path):
    path = kept(tmp_path, FILES)
    with pytest.raises(ImportError, match="not compiled by this Python"):
        code_file.CodeFile(path, b"none" + pathlib.Path(path).read_bytes()[4:])
