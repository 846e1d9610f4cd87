# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide to AWX: its playbooks under ansible-runner, and its execution environment as far as that goes without a registry."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "docsite" / "rst" / "guide_awx.rst"
# What the backup of the guide does here: it tells its process, and ends when it is let go.
BACKUP = 'sh -c \'echo $$ > "$0/pid"; read line < "$0/gate"; echo "$line"\' {folder}'
PATIENCE = 60

Event = dict[str, Any]


def blocks() -> list[Any]:
    found = re.findall(r"^\.\. code-block:: yaml.*\n\n((?:    .*\n|\n)+)", GUIDE.read_text(), re.MULTILINE)
    return [yaml.safe_load(block) for block in found]


def play(name: str) -> list[dict[str, Any]]:
    return next(block for block in blocks() if isinstance(block, list) and block[0]["name"] == name)


class Runner:
    """A folder as AWX makes it for a run, and what runs in it: a playbook, with the events that it sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate = folder / "gate"

    def run(
        self, name: str, at_progress: Callable[[], bool] = lambda: False, **variables: Any
    ) -> tuple[str, list[Event]]:
        """Run a play of the guide; cancel the run where `at_progress`, called with the first line of progress, says so."""
        events: list[Event] = []
        answers: list[bool] = []

        def take(event: Event) -> bool:
            events.append(event)
            if is_progress(event) and not answers:
                answers.append(at_progress())
            return True  # it belongs into the artifacts

        done = ansible_runner.run(
            private_data_dir=str(self.folder),
            playbook=play(name),
            inventory="localhost ansible_connection=local",
            extravars={"ansible_python_interpreter": sys.executable, **variables},
            envvars={"ANSIBLE_ASYNC_DIR": str(self.folder / "async"), "ANSIBLE_LOCALHOST_WARNING": "false"},
            event_handler=take,
            cancel_callback=lambda: any(answers),
            quiet=True,
            timeout=PATIENCE,
        )
        return done.status, events

    def let_go(self, text: str) -> None:
        with self.gate.open("w") as gate:  # which waits for its reader
            gate.write(f"{text}\n")


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner(tmp_path)
    subprocess.run(["mkfifo", made.gate], check=True)
    yield made
    # so that a test that fails leaves no job behind
    for pid in tmp_path.glob("pid"):
        subprocess.run(["kill", f"-{signal.SIGKILL.value}", pid.read_text().strip()], check=False, capture_output=True)


def of(events: list[Event], kind: str, key: str = "res") -> list[Any]:
    return [event["event_data"].get(key) for event in events if event["event"] == kind]


def is_progress(event: Event) -> bool:
    return event["event"] == "verbose" and "0/1 finished, 1 running (nightly backup" in event["stdout"]


def test_a_job_of_one_run_outlives_a_cancelled_one_and_is_waited_for_by_the_next(runner: Runner) -> None:
    command = BACKUP.format(folder=runner.folder)

    status, events = runner.run("Start the backups", backup_command=command)
    launched = of(events, "runner_on_ok")[0]
    handed = of(events, "playbook_on_stats", "artifact_data")[0]
    assert status == "successful"
    assert handed == {"backups": {"localhost": launched["ansible_job_id"]}}

    status, events = runner.run("Collect the backups", at_progress=lambda: True)
    assert status == "canceled"
    assert not of(events, "runner_on_ok")
    pid = int((runner.folder / "pid").read_text())
    assert Path(f"/proc/{pid}").exists()

    # It is the same job that goes on, and ends once the next run has told that it waits for it.
    def let_go() -> bool:
        assert Path(f"/proc/{pid}").exists()
        runner.let_go("all saved")
        return False

    status, events = runner.run("Collect the backups of this workflow", at_progress=let_go, **handed)
    done = of(events, "runner_on_ok")[0]
    assert status == "successful"
    assert [(job["ansible_job_id"], job["state"]) for job in done["jobs"]] == [
        (launched["ansible_job_id"], "succeeded")
    ]
    assert done["jobs"][0]["result"]["stdout"] == "all saved"
    assert any(map(is_progress, events))
    polled = of(events, "runner_on_async_poll")
    assert {one["ansible_job_id"] for one in polled} == {launched["ansible_job_id"]}
    assert not Path(f"/proc/{pid}").exists()
    _want_in_artifacts(runner.folder, done)


def _want_in_artifacts(folder: Path, done: dict[str, Any]) -> None:
    """What events said is kept in files, of the last run too."""
    files = folder.glob("artifacts/*/job_events/*-*.json")
    kept = [json.loads(path.read_text())["event_data"].get("res") for path in files]
    assert done in kept


def test_the_execution_environment_can_be_built_but_for_its_image(tmp_path: Path) -> None:
    definition = next(block for block in blocks() if isinstance(block, dict) and "images" in block)
    (tmp_path / "execution-environment.yml").write_text(yaml.safe_dump(definition))

    _builder(tmp_path, "create", "--context", "context")
    assert (
        yaml.safe_load((tmp_path / "context" / "_build" / "requirements.yml").read_text())
        == definition["dependencies"]["galaxy"]
    )


def test_the_collection_adds_nothing_to_an_execution_environment(tmp_path: Path) -> None:
    namespace = tmp_path / "ansible_collections" / "background"
    namespace.mkdir(parents=True)
    (namespace / "jobs").symlink_to(ROOT)

    assert yaml.safe_load(_builder(tmp_path, "introspect", ".")) == {"python": [], "system": []}
    _builder(tmp_path, "create", "--file", str(ROOT / "meta" / "execution-environment.yml"), "--context", "context")


def _builder(folder: Path, *words: str) -> str:
    command = [str(Path(sys.executable).parent / "ansible-builder"), *words]
    done = subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True)
    return done.stdout


def test_the_project_asks_for_this_collection() -> None:
    wanted = [
        block["collections"][0]["name"] for block in blocks() if isinstance(block, dict) and "collections" in block
    ]
    assert wanted == ["background.jobs", "git+https://github.com/ansible-collections/background.jobs"]
