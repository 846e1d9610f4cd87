# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Batches whose supervisor and template processes run from what a host keeps."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import kept_code
from ansible_collections.background.jobs.plugins.module_utils._protocol import packing
from ansible_collections.background.jobs.plugins.module_utils._verbs import kept, launcher

from .._late.test_processes import ARCHIVE, EVALUATOR
from ..conftest import _PROBE, Batch, payload, wait_for_supervisor

ROOM = "ansible_collections/background/jobs/plugins/module_utils"
OTHER = _PROBE.replace('"changed": False', '"changed": False, "kept": True')


@pytest.fixture
def async_dir(tmp_path):
    folder = tmp_path / "async"
    (folder / ".background_jobs").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    return folder


@pytest.fixture
def compiled(tmp_path, async_dir):
    """The path of what a host keeps of a module that launches."""
    sent, own = tmp_path / "sent.zip", Path(kept.__file__).parents[1]
    with zipfile.ZipFile(str(sent), "w") as target:
        for count in range(1, ROOM.count("/") + 2):
            target.writestr("%s/__init__.py" % "/".join(ROOM.split("/")[:count]), "")
        for path in own.rglob("*.py"):
            target.write(str(path), "%s/%s" % (ROOM, path.relative_to(own)))
    return kept.keep(str(async_dir), str(sent))["path"]


def launched(async_dir, compiled):
    """Return the results of two jobs with different modules, so that a zygote forks their templates."""
    payloads = {"p": payload(), "q": payload(name="AnsiballZ_other.py")}
    # the evaluator, which few launches have, is imported last
    plan = {"evaluator": EVALUATOR, "archive": ARCHIVE}
    batch = Batch(async_dir, ["result['ran'] = __file__", "pass"], payloads=payloads, plan=plan)
    batch.plan["jobs"][1]["body"][0]["calls"][0]["payload"] = "q"
    batch.reply = launcher.launch(packing.pack(batch.plan), batch.async_dir, compiled=compiled)
    results = batch.results()
    wait_for_supervisor(batch)
    assert not os.path.exists(batch.path("supervisor.log")) or not Path(batch.path("supervisor.log")).read_text()
    return results


def kept_of(async_dir, source):
    begin = hashlib.sha256(source.encode()).hexdigest()[:32]
    return [path for path in (async_dir / ".background_jobs" / "modules").iterdir() if path.name.startswith(begin)]


def test_a_supervisor_runs_from_it(async_dir, compiled):
    Path(compiled).rename(compiled + ".away")
    with pytest.raises(launcher.LaunchError, match="No such file"):
        launched(async_dir, compiled)
    Path(compiled + ".away").rename(compiled)
    assert launched(async_dir, compiled)[0]["changed"] is False


def test_the_module_of_a_job_is_compiled_once(async_dir, compiled):
    first = launched(async_dir, compiled)
    assert first[0]["ran"].endswith(".zip/ansible/modules/probe.py")
    (file,) = kept_of(async_dir, _PROBE)
    assert "kept" not in launched(async_dir, compiled)[0]
    assert kept_of(async_dir, _PROBE) == [file]
    kept_code.write(str(file.parent), _PROBE.encode(), compile(OTHER, "elsewhere", "exec"))
    again = launched(async_dir, compiled)
    assert [result["kept"] for result in again] == [True, True]
    assert again[0]["ran"].endswith(".zip/ansible/modules/probe.py")
    file.write_bytes(b"torn")
    assert "kept" not in launched(async_dir, compiled)[0]
    assert kept_of(async_dir, _PROBE) == [file]
    assert file.read_bytes() != b"torn"
