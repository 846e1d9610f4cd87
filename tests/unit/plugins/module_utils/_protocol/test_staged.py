# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import json
import os

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import staged as _staged
from ansible_collections.background.jobs.plugins.module_utils._verbs import launcher

from ..conftest import Batch, payload


def digest_of(content):
    return hashlib.sha256(content).hexdigest()


def step(*files, **more):
    """A step whose files are (name, content) or (name, content, mode)."""
    staged = [[name, digest_of(content), *(mode or [0o600])] for name, content, *mode in files]
    return dict({"calls": [], "staged": staged}, **more)


def plan_of(*jobs, **more):
    return dict({"jobs": list(jobs), "staging_token": "/token"}, **more)


def in_plan(*contents):
    return {digest_of(content): base64.b64encode(content).decode() for content in contents}


def tree(path):
    """{path below: (content, mode)} of all files"""
    found = {}
    for folder, dummy, files in os.walk(str(path)):
        assert os.stat(folder).st_mode & 0o777 == 0o700 or folder == str(path)
        for name in files:
            full = os.path.join(folder, name)
            with open(full, "rb") as stream:
                found[os.path.relpath(full, str(path))] = (stream.read(), os.stat(full).st_mode & 0o777)
    return found


@pytest.fixture
def strange_umask():
    before = os.umask(0o377)
    yield
    os.umask(before)


def test_files_are_written_for_each_job_whatever_the_umask(tmp_path, strange_umask):
    plan = plan_of(
        {"body": [step(("0/a", b"x"), ("1/run", b"y", 0o700))]},
        {"body": []},
        {"body": [{"block": [step(("2/b", b"x"))], "rescue": [step(("3/c", b"z"))], "always": [step(("4/d", b"z"))]}]},
        files=in_plan(b"x", b"y", b"z"),
    )
    _staged.write(plan, str(tmp_path))
    assert tree(tmp_path) == {
        "staged/0/0/a": (b"x", 0o600),
        "staged/0/1/run": (b"y", 0o700),
        "staged/2/2/b": (b"x", 0o600),
        "staged/2/3/c": (b"z", 0o600),
        "staged/2/4/d": (b"z", 0o600),
    }
    assert "files" not in plan


def test_without_files_nothing_is_made(tmp_path):
    _staged.write({"jobs": [{"body": [{"calls": []}]}]}, str(tmp_path))
    assert os.listdir(str(tmp_path)) == []


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "bundle"
    path.write_bytes(b"first" + b"x" * 3000000)
    return path


def test_large_files_come_in_a_bundle(tmp_path, bundle):
    large = b"x" * 3000000
    files = {digest_of(b"first"): [0, 5], digest_of(large): [5, len(large)]}
    batch = tmp_path / "batch"
    batch.mkdir()
    plan = plan_of({"body": [step(("0/a", b"first"), ("1/b", large))]}, files=files, bundle=str(bundle))
    _staged.write(plan, str(batch))
    assert tree(batch) == {"staged/0/0/a": (b"first", 0o600), "staged/0/1/b": (large, 0o600)}


@pytest.mark.parametrize("place", [[0, 4], [1, 5], [3000000, 5000]])
def test_what_has_arrived_damaged_is_not_used(tmp_path, bundle, place):
    plan = plan_of({"body": [step(("0/a", b"first"))]}, files={digest_of(b"first"): place}, bundle=str(bundle))
    with pytest.raises(OSError, match="damaged"):
        _staged.write(plan, str(tmp_path))


def test_a_bundle_that_is_a_link_is_not_read(tmp_path, bundle):
    link = tmp_path / "link"
    link.symlink_to(bundle)
    plan = plan_of({"body": [step(("0/a", b"first"))]}, files={digest_of(b"first"): [0, 5]}, bundle=str(link))
    with pytest.raises(OSError, match="symbolic links"):
        _staged.write(plan, str(tmp_path))


@pytest.mark.parametrize("name", ["a", "/a", "../a", "0/../a", "0/..", "0/", "x/a", "0/a\0b"])
def test_a_name_never_leads_out_of_the_folder(tmp_path, name):
    plan = plan_of({"body": [step((name, b"x"))]}, files=in_plan(b"x"))
    with pytest.raises(ValueError, match="not the name"):
        _staged.write(plan, str(tmp_path))


@pytest.mark.parametrize(("job", "inner"), [({"retries": 2}, {}), ({}, {"retries": 1})])
def test_each_attempt_gets_its_own_copy(tmp_path, job, inner):
    one = step(("0/a", b"x"), ("1/run", b"y", 0o700), **inner)
    job = dict(job, body=[one])
    _staged.write(plan_of(job, files=in_plan(b"x", b"y")), str(tmp_path))
    folder = tmp_path / "staged" / "0"
    for dummy in range(3):
        _staged.prepare(str(tmp_path), 0, job, one)
        assert {name: value for name, value in tree(folder).items() if not name.startswith("again")} == {
            "0/a": (b"x", 0o600),
            "1/run": (b"y", 0o700),
        }
        os.rename(str(folder / "0" / "a"), str(tmp_path / "taken"))
        (folder / "1" / "run").write_text("spoiled")
        with open(str(tmp_path / "taken"), "a", encoding="utf-8") as stream:
            stream.write("more")


def test_without_retries_there_is_nothing_to_prepare(tmp_path):
    one = step(("0/a", b"x"))
    job = {"body": [one]}
    _staged.write(plan_of(job, files=in_plan(b"x")), str(tmp_path))
    _staged.prepare(str(tmp_path), 0, job, one)
    _staged.prepare(str(tmp_path), 0, {"retries": 1}, {"calls": []})
    assert list(tree(tmp_path)) == ["staged/0/0/a"]


@pytest.mark.parametrize("what", ["link", "folder", "gone", "foreign"])
def test_an_original_that_was_swapped_is_not_copied(tmp_path, monkeypatch, what):
    one = step(("0/a", b"x"), retries=1)
    job = {"body": [one]}
    _staged.write(plan_of(job, files=in_plan(b"x")), str(tmp_path))
    original = tmp_path / "staged" / "0" / "again" / "0" / "a"
    if what == "foreign":
        monkeypatch.setattr(_staged.os, "geteuid", lambda: os.getuid() + 1)
    else:
        original.unlink()
    if what == "link":
        (tmp_path / "secret").write_text("secret")
        original.symlink_to(tmp_path / "secret")
    elif what == "folder":
        original.mkdir()
    with pytest.raises(OSError):
        _staged.prepare(str(tmp_path), 0, job, one)
    assert not (tmp_path / "staged" / "0" / "0" / "a").exists()


def test_a_link_in_the_place_of_a_copy_is_replaced_not_followed(tmp_path):
    one = step(("0/a", b"x"), retries=1)
    job = {"body": [one]}
    _staged.write(plan_of(job, files=in_plan(b"x")), str(tmp_path))
    other = tmp_path / "other"
    other.write_text("untouched")
    (tmp_path / "staged" / "0" / "0").mkdir()
    (tmp_path / "staged" / "0" / "0" / "a").symlink_to(other)
    _staged.prepare(str(tmp_path), 0, job, one)
    assert other.read_text() == "untouched"
    assert (tmp_path / "staged" / "0" / "0" / "a").read_bytes() == b"x"


def test_the_folder_of_a_job_goes_with_it(tmp_path):
    plan = plan_of({"body": [step(("0/a", b"x"))]}, {"body": [step(("1/b", b"x"))]}, files=in_plan(b"x"))
    _staged.write(plan, str(tmp_path))
    _staged.remove(str(tmp_path), 0)
    assert list(tree(tmp_path)) == ["staged/1/1/b"]
    _staged.remove(str(tmp_path), 1)
    assert os.listdir(str(tmp_path)) == []
    _staged.remove(str(tmp_path), 1)


def test_the_token_becomes_the_folder_in_json():
    params = json.dumps({"src": "/token/0/a", "other": "token"})
    folder = _staged.folder_of('/a "quoted" \\ ø path', 7)
    assert json.loads(_staged.fill_in(params, "/token", folder)) == {
        "src": '/a "quoted" \\ ø path/staged/7/0/a',
        "other": "token",
    }


def staging(batch, content, params, style):
    """Make the only job of a batch one whose call reads a staged file."""
    batch.plan["files"] = in_plan(content)
    batch.plan["staging_token"] = "/token"
    batch.plan["payloads"]["command"] = {"style": "command", "interpreter": [], "name": "command"}
    (one,) = _staged.steps_of(batch.plan["jobs"][0])
    one["staged"] = [["0/run", digest_of(content), 0o700]]
    one["calls"] = [{"module": "x", "payload": style, "params": json.dumps(params)}]
    return batch


def test_a_command_line_runs_a_staged_script(tmp_path):
    batch = Batch(tmp_path / "async", ["unused"], environment={"WORD": "w"})
    script = b'#!/bin/sh\necho "$WORD $1"; printf \'{"a": 1}\\377\'; echo err >&2; exit 3\n'
    staging(batch, script, {"command": ["/bin/sh", "-c", "/token/0/run 'two  words'"]}, "command")
    (one,) = _staged.steps_of(batch.plan["jobs"][0])
    one["recipe"] = {"kind": "script", "unless": [], "run": 0}
    (result,) = batch.launch().results()
    assert (result["rc"], result["stdout"], result["stderr"]) == (3, 'w two  words\n{"a": 1}\ufffd', "err\n")
    assert result["msg"] == "non-zero return code"
    assert not os.path.exists(batch.path("staged"))


def test_a_command_line_that_there_is_not(tmp_path):
    batch = Batch(tmp_path / "async", ["unused"])
    staging(batch, b"x", {"command": ["/none/such"]}, "command")
    _staged.steps_of(batch.plan["jobs"][0])[0]["recipe"] = {"kind": "script", "unless": [], "run": 0}
    (result,) = batch.launch().results()
    assert (result["rc"], result["failed"]) == (127, True) and "cannot execute it" in result["stderr"]


def test_a_launch_whose_files_cannot_be_written_leaves_nothing(tmp_path):
    batch = Batch(tmp_path / "async", ["unused"], payloads={"p": payload()})
    staging(batch, b"x", {}, "p")
    batch.plan["files"] = {digest_of(b"x"): base64.b64encode(b"y").decode()}
    with pytest.raises(launcher.LaunchError, match="damaged"):
        batch.launch()
    assert os.listdir(batch.async_dir) == [".background_jobs"]
    assert os.listdir(os.path.join(batch.async_dir, ".background_jobs")) == ["lock"]
