# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules that a host keeps, and the program that runs them: real zips, run by an interpreter of their own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import code_file
from ansible_collections.background.jobs.plugins.module_utils._protocol import store
from ansible_collections.background.jobs.plugins.module_utils._verbs import kept

PROGRAM = Path(kept.__file__).with_name("short_program.py")
STAND_IN = Path(kept.__file__).with_name("stand_in.py")
MODULE = """
import sys
from ansible.module_utils.basic import AnsibleModule

def main():
    module = AnsibleModule(argument_spec={"x": dict(type="int"), "y": dict(default=2)}, supports_check_mode=True)
    module.exit_json(params=module.params, here=[path for path in sys.path if path in ("", ".")])
"""
MODULE_THAT_TELLS_ITS_LIMIT = """
import resource
from ansible.module_utils.basic import AnsibleModule

def main():
    module = AnsibleModule(argument_spec={"x": dict(type="int")}, supports_check_mode=True)
    module.exit_json(limit=resource.getrlimit(resource.RLIMIT_NOFILE))
"""
RETURNED = {"params": {"x": 1, "y": 2}, "here": []}
_ROOM = "ansible_collections/background/jobs/plugins/module_utils/_verbs"
SENT_ON = _ROOM.replace("_verbs", "_fork_server") + "/loader.py"
FILES = {
    "ansible/__init__.py": "raise SystemExit('it takes too long')",
    "a/__init__.py": "",
    "a/module.py": MODULE,
    _ROOM + "/stand_in.py": STAND_IN.read_text(),
    _ROOM.replace("_verbs", "_fork_server") + "/code_file.py": Path(code_file.__file__).read_text(),
    **{"%s/__init__.py" % "/".join(_ROOM.split("/")[:count]): "" for count in range(1, 7)},
}


@pytest.fixture
def async_dir(tmp_path):
    (tmp_path / "async").mkdir(mode=0o700)
    (tmp_path / "async" / ".background_jobs").mkdir(mode=0o700)
    return tmp_path / "async"


def archive(path, files=None, **more):
    """Write a zip as ansible-core sends it."""
    with zipfile.ZipFile(path, "w") as target:
        for name, text in dict(files or FILES, **more).items():
            target.writestr(name, text)
    return str(path)


def kept_in(async_dir, tmp_path, name="payload.zip", **more):
    return kept.keep(str(async_dir), archive(tmp_path / name, **more))


def run(told, folder, files=0, **more):
    """Run the short program of what is told to be kept, in `folder`; return what it prints."""
    told = dict(told, **more)
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"x": 1, "_ansible_no_log": True}})
    text = PROGRAM.read_text() + "\nrun(%r, %r, 'a.module', %r, %d)\n" % (
        told["path"],
        told["sha256"],
        arguments,
        files,
    )
    done = subprocess.run(
        [sys.executable], input=text, capture_output=True, text=True, check=True, cwd=str(folder), timeout=60
    )
    return json.loads(done.stdout)


def test_what_is_kept_runs_as_what_was_sent(async_dir, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('the folder of another user was looked at')\n")
    told = kept_in(async_dir, tmp_path)
    assert os.stat(told["path"]).st_mode & 0o777 == 0o600
    assert run(told, tmp_path) == RETURNED


def test_it_is_kept_compiled(async_dir, tmp_path):
    told = kept_in(async_dir, tmp_path, **{SENT_ON: "# a program", "a/data.json": "{}"})
    kept_file = code_file.CodeFile(told["path"], Path(told["path"]).read_bytes())
    assert kept_file.get("a/data.json") == b"{}"
    assert kept_file.get(SENT_ON) == b"# a program"
    assert all(kept_file.get(name + "c") for name in [*FILES, SENT_ON])
    assert kept_file.get("a/module.py") is None
    assert run(told, tmp_path) == RETURNED


@pytest.mark.parametrize("most", [0, 100, 1 << 30])
def test_it_opens_as_many_files_as_it_may(async_dir, tmp_path, most):
    told = kept_in(async_dir, tmp_path, **{"a/module.py": MODULE_THAT_TELLS_ITS_LIMIT})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert run(told, tmp_path, most) == {"limit": [min(hard, most) if most else soft, hard]}


def test_what_another_python_has_compiled_is_not_run(async_dir, tmp_path):
    told = kept_in(async_dir, tmp_path)
    data = Path(told["path"]).read_bytes()
    Path(told["path"]).write_bytes(b"none" + data[4:])
    sha256 = store.sha256(b"none" + data[4:])
    assert "compiled by another Python" in run(told, tmp_path, sha256=sha256)["not_kept"]


def test_it_is_in_use_from_the_start_of_a_call(async_dir, tmp_path):
    told = kept_in(async_dir, tmp_path)
    os.utime(told["path"], (1, 1))
    assert run(told, tmp_path) == RETURNED
    store.forget(str(async_dir), None)
    assert os.path.exists(told["path"])


def test_the_same_module_is_kept_once(async_dir, tmp_path):
    first = kept_in(async_dir, tmp_path)
    written = os.stat(first["path"]).st_ino
    # core's wrapper puts the path of each call's zip into it
    second = kept_in(async_dir, tmp_path, "second.zip", **{"sitecustomize.py": "# second"})
    assert second == first
    assert os.stat(first["path"]).st_ino == written
    other = kept_in(async_dir, tmp_path, "other.zip", **{"a/other.py": ""})
    assert other["path"] != first["path"]


def test_what_is_kept_is_found(async_dir, tmp_path):
    sent = archive(tmp_path / "sent.zip")
    assert kept.find(str(async_dir), sent) == {}
    assert not (async_dir / ".background_jobs" / "modules").exists(), "it was only looked for"
    told = kept.keep(str(async_dir), sent)
    assert kept.find(str(async_dir), sent) == told
    Path(told["path"]).write_bytes(b"PK")
    assert kept.find(str(async_dir), sent) == {}


def test_what_an_earlier_run_has_kept_is_found_without_unpacking_it(async_dir, tmp_path, monkeypatch):
    told = kept_in(async_dir, tmp_path)
    files = {zipfile.ZipInfo(name, (2033, 1, 1, 0, 0, 0)): text for name, text in FILES.items()}
    again = archive(tmp_path / "again.zip", files)  # another run builds the module at another time

    def refuse(*dummy, **more):
        raise AssertionError("unpacked")

    monkeypatch.setattr(zipfile.ZipFile, "open", refuse)
    assert kept.find(str(async_dir), again) == told


@pytest.mark.parametrize("change", ["cut", "changed", "another"])
def test_what_was_tampered_with_is_neither_run_nor_told_of(async_dir, tmp_path, change):
    told = kept_in(async_dir, tmp_path)
    data = Path(told["path"]).read_bytes()
    if change == "another":
        archive(told["path"], **{"a/module.py": "print('evil')"})
    else:
        Path(told["path"]).write_bytes(data[:-9] if change == "cut" else data[:50] + b"x" + data[51:])
    assert "was changed" in run(told, tmp_path)["not_kept"]
    # the next call that brings the module mends it
    again = kept_in(async_dir, tmp_path)
    assert again["path"] == told["path"]
    assert run(again, tmp_path) == RETURNED


def test_what_is_gone_is_told(async_dir, tmp_path):
    told = kept_in(async_dir, tmp_path)
    os.unlink(told["path"])
    assert "No such file" in run(told, tmp_path)["not_kept"]


@pytest.mark.parametrize("what", ["file", "folder", "parent"])
def test_what_others_may_change_is_not_run(async_dir, tmp_path, what):
    told = kept_in(async_dir, tmp_path)
    at = {"file": Path(told["path"]), "folder": Path(told["path"]).parent, "parent": async_dir}[what]
    at.chmod(at.stat().st_mode | 0o020)
    assert "can be written by others" in run(told, tmp_path)["not_kept"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_not_run(async_dir, tmp_path):
    told = kept_in(async_dir, tmp_path)
    os.chown(told["path"], 1234, -1)
    assert "belongs to uid 1234" in run(told, tmp_path)["not_kept"]


def test_a_link_is_not_followed(async_dir, tmp_path):
    told = kept_in(async_dir, tmp_path)
    os.rename(told["path"], told["path"] + ".moved")
    os.symlink(told["path"] + ".moved", told["path"])
    assert "another kind" in run(told, tmp_path)["not_kept"]


def test_nothing_is_made_where_no_batch_was_recorded(tmp_path):
    assert kept_in(tmp_path / "none", tmp_path) == {}
    assert not (tmp_path / "none").exists()
    (tmp_path / "core").mkdir(mode=0o700)
    assert kept_in(tmp_path / "core", tmp_path) == {}
    assert not list((tmp_path / "core").iterdir())


def test_a_module_that_is_no_zip_or_kept_already_is_not_kept(async_dir, tmp_path):
    assert kept.keep(str(async_dir), None) == {}
    told = kept_in(async_dir, tmp_path)
    assert kept.keep(str(async_dir), told["path"]) == {"path": told["path"]}
    assert kept.find(str(tmp_path / "another"), told["path"]) == {"path": told["path"]}
    (tmp_path / "torn.zip").write_bytes(b"PK")
    assert kept.keep(str(async_dir), str(tmp_path / "torn.zip")) == {}


def test_forgetting(async_dir, tmp_path):
    old = kept_in(async_dir, tmp_path)["path"]
    os.utime(old, (1, 1))
    young = kept_in(async_dir, tmp_path, **{"a/young.py": ""})["path"]
    store.forget(str(async_dir), 3600)
    assert [os.path.exists(path) for path in (old, young)] == [False, True]
    store.forget(str(async_dir), None)
    assert os.path.exists(young), "a call may be importing from it"
    os.utime(young, (1, 1))
    store.forget(str(async_dir), None)
    assert not os.path.exists(os.path.dirname(young))
    store.forget(str(async_dir), None)
