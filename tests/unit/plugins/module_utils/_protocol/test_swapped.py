# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody moves an async directory away in the middle and puts a link in its place: what the link leads to is left alone."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_lock,
    batch_writer,
    ids,
    output,
    records,
    results,
    staged,
)
from ansible_collections.background.jobs.plugins.module_utils._supervisor import module_call
from ansible_collections.background.jobs.plugins.module_utils._system import processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import asked_jobs, prune

BATCH = "b123456789012345"
CONTENT = b"staged"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def everything(folder):
    found = {}
    for path, folders, names in os.walk(str(folder)):
        for name in folders + names:
            about = os.lstat(os.path.join(path, name))
            found[os.path.relpath(os.path.join(path, name), str(folder))] = (about.st_mode, about.st_size, about.st_ino)
    return found


class Swapped:
    """A batch of two jobs, and a folder of somebody's with all that a batch has."""

    def __init__(self, tmp_path):
        self.path, self.away, self.victim = tmp_path / "async", tmp_path / "away", tmp_path / "victim"
        self.path.mkdir(0o700)
        self.writer = batch_writer.BatchWriter(str(self.path), BATCH)
        supervisor = dict(processes.identity(os.getpid()), pid=1 << 22)
        header = {"launched_at": 1.0, "supervisor": supervisor, "jobs": [{"name": "job"}] * 2}
        self.step = {"calls": [], "staged": [["0/file", DIGEST, 0o600]], "retries": 1}
        self.job = {"body": [self.step]}
        plan = {"jobs": [self.job], "files": {DIGEST: base64.b64encode(CONTENT).decode()}, "staging_token": "/t"}
        jids = [ids.jid_of(BATCH, index) for index in range(2)]
        self.writer.create(header, jids, lambda: staged.write(plan, self.writer.folder))
        for name in ("run/0.stdout", "run/0.stderr", "output/0.stdout.0", "supervisor.log"):
            with open(os.path.join(self.writer.path, name), "w", encoding="ascii") as stream:
                stream.write("printed")
        shutil.copytree(str(self.path), str(self.victim), ignore=lambda path, names: {"control"} & set(names))
        self.before = everything(self.victim)

    def swap(self):
        self.path.rename(self.away)
        self.path.symlink_to(self.victim)

    def batch(self, *parts):
        return self.away.joinpath(batch_lock.FOLDER, BATCH, *parts)


@pytest.fixture
def swapped(tmp_path):
    one = Swapped(tmp_path)
    yield one
    assert everything(one.victim) == one.before


def test_a_supervisor_goes_on_in_the_folder_that_it_has_made(swapped):
    run = module_call.ModuleCall(os.path.join(swapped.writer.run_path, "0"), 0.0, swapped.writer.run)
    swapped.swap()
    writer = swapped.writer
    assert run.read() == [b"printed", b"printed"]
    staged.prepare(writer.folder, 0, swapped.job, swapped.step)
    assert swapped.batch("staged", "0", "0", "file").read_bytes() == CONTENT
    writer.note(job=0, state="running", at=1.0, attempt=1)
    writer.write_tasks(0, "{}")
    writer.write_result(0, results.of({"rc": 0, "started": 1}), state="succeeded")
    writer.note(True, job=0, state="succeeded", at=2.0)
    output.add(writer.folder, 1, (b"printed", b""), 4096)
    assert swapped.batch("output", "1.stdout.0").read_bytes() == b"printed"
    output.remove(writer.folder, 1, 4096)
    output.remove(writer.folder, 0, 4096)
    staged.remove(writer.folder, 0)
    assert writer.flush()
    writer.close()
    jid = ids.jid_of(BATCH, 0)
    assert json.loads((swapped.away / jid).read_text()) == {"rc": 0}
    left = {"batch.json", "journal", "results", "tasks", "supervisor.log"}
    assert set(os.listdir(str(swapped.batch()))) == left


def test_a_reader_concludes_and_removes_in_the_folder_that_it_has_opened(swapped):
    reader = records.BatchReader(str(swapped.path), BATCH)
    swapped.swap()
    reader.refresh()
    reader.declare_lost("its supervisor was gone")
    assert [job["state"] for job in reader.jobs] == ["lost", "lost"]
    assert not swapped.batch("staged").exists()
    assert [reader.forget(index) for index in range(2)] == [True, True]
    assert reader.remove_if_empty()
    assert os.listdir(str(swapped.away)) == [batch_lock.FOLDER]


def test_leftovers_are_removed_in_the_folder_that_they_were_found_in(swapped):
    (swapped.path / batch_lock.FOLDER / "b000000000000007").mkdir(0o700)
    for index in range(2):
        swapped.writer.note(job=index, state="failed", at=1.0)
    swapped.writer.flush()
    where = dict.fromkeys(("names", "batch_ids", "states", "older_than", "newer_than"))
    asked = asked_jobs.AskedJobs({"jobs": []}, str(swapped.path), all_batches=True)
    asked.refresh(look_for_processes=True)
    with prune._found(asked, where) as found:
        assert found
        swapped.swap()
        for leftover in found:
            prune._is_removed(asked, leftover)
    assert asked.troubles == []
    assert not swapped.batch().parent.joinpath("b000000000000007").exists()
    assert not swapped.batch("staged").exists(), "what only a running batch needs went too"


def test_a_launch_does_not_clear_what_was_swapped(swapped, monkeypatch):
    os.unlink(str(swapped.path / batch_lock.FOLDER / BATCH / "batch.json"))
    parse = ids.parse_jid

    def swap_first(name):
        if not swapped.path.is_symlink():
            swapped.swap()
        return parse(name)

    monkeypatch.setattr(batch_lock.ids, "parse_jid", swap_first)
    batch_lock.clear(str(swapped.path), BATCH)
    assert os.listdir(str(swapped.away)) == [batch_lock.FOLDER]
