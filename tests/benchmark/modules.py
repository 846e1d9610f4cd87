# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of many small tasks with several modules: as a job, as the plain play, and that under Mitogen, on the same host."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
import typing as t
from pathlib import Path

RUNS = 5
FOLDER = "/tmp/benchmark-modules"  # of a host that goes with the benchmark
FILE = f"{FOLDER}/lines"
Task = dict[str, t.Any]

# What each module is told, in an order in which each finds what it needs.
MODULES: dict[str, Task] = {
    "file": {"path": FOLDER, "state": "directory", "mode": "0755"},
    "lineinfile": {"path": FILE, "line": "a line", "create": True, "mode": "0644"},
    "copy": {"src": FILE, "dest": f"{FOLDER}/copy", "remote_src": True, "mode": "0644"},
    "stat": {"path": FILE},
    "command": {"argv": ["true"]},
    "replace": {"path": FILE, "regexp": "nowhere", "replace": "x", "mode": "0644"},
    "blockinfile": {"path": FILE, "block": "a block", "mode": "0644"},
    "slurp": {"src": FILE},
    "find": {"paths": [FOLDER], "patterns": ["lines", "copy"]},  # not all that `tempfile` has left in earlier runs
    "getent": {"database": "passwd", "key": "root"},
    "group": {"name": "root"},
    "user": {"name": "root"},
    "ping": {},
    "assemble": {"src": FOLDER, "dest": "/tmp/benchmark-assembled", "remote_src": True, "mode": "0644"},
    "tempfile": {"path": FOLDER},
}


class Host(t.Protocol):
    """What this needs of a host: see run.py."""

    folder: Path

    def play(self, playbook: str, *options: str, **variables: object) -> tuple[float, str]: ...

    def clean(self) -> None: ...


def tasks_of(count: int, modules: int) -> list[Task]:
    """Return so many tasks with so many modules, in turn."""
    chosen = list(MODULES)[:modules]
    named = [chosen[number % modules] for number in range(count)]
    return [
        {"name": f"Task {number} with {name}", f"ansible.builtin.{name}": MODULES[name]}
        for number, name in enumerate(named)
    ]


def _playbook(host: Host, name: str, tasks: list[Task]) -> str:
    path = host.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"name": name, "hosts": "all", "gather_facts": False, "tasks": tasks}]))
    return str(path)


def _job(task: Task) -> list[Task]:
    run = {"task": task, "wait": True, "poll": 0}
    return [{"name": "Run it", "background.jobs.async_run": run, "register": "result"}]


def under_mitogen(host: Host, playbook: str, **variables: object) -> float | None:
    """Return the seconds that a play takes under Mitogen; None where that is not here."""
    folder = os.environ.get("BENCHMARK_MITOGEN")
    if not folder:
        return None
    (strategies,) = Path(folder).parent.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy")
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(host.folder / "ansible.cfg"),
        "ANSIBLE_STRATEGY_PLUGINS": str(strategies),
        "ANSIBLE_STRATEGY": "mitogen_linear",
    }
    command = [
        f"{folder}/ansible-playbook",
        "-i",
        str(host.folder / "inventory.ini"),
        playbook,
        "-e",
        json.dumps(variables),
    ]
    before = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{playbook} failed under Mitogen:\n{done.stdout[-3000:]}\n{done.stderr[-1000:]}")
    return time.monotonic() - before


def _beside(host: Host, plain: str, job: str) -> dict[str, float]:
    """Return the median seconds of a plain play, of the same as a job, and of the plain play under Mitogen."""
    found: dict[str, list[float]] = {"plain": [], "background.jobs": [], "mitogen": []}
    host.play(job)  # whatever is done only once on a host
    for dummy in range(RUNS):
        found["plain"].append(host.play(plain)[0])
        found["background.jobs"].append(host.play(job)[0])
        host.clean()
        under = under_mitogen(host, plain)
        if under is not None:
            found["mitogen"].append(under)
    return {what: round(statistics.median(times), 2) for what, times in found.items() if times}


def _on_host(host: Host, modules: int) -> float:
    """Return the median milliseconds that a job of 15 tasks with so many modules takes on the host."""
    block = {"name": "block", "block": tasks_of(len(MODULES), modules)}
    show = {"msg": "took {{ result.jobs[0].duration }} s"}
    tasks = [*_job(block), {"name": "Say how long it took on the host", "ansible.builtin.debug": show}]
    playbook, times = _playbook(host, f"of-{modules}.yml", tasks), []
    for dummy in range(RUNS):
        times.append(float(re.search(r"took ([0-9.]+) s", host.play(playbook)[1])[1]) * 1000)  # type: ignore[index]
        host.clean()
    return statistics.median(times)


def several_modules(host: Host, figures: dict[str, object]) -> None:
    block = tasks_of(31, 5)
    found: dict[str, object] = {
        "31 tasks, 5 modules, a block": _beside(
            host, _playbook(host, "block.yml", block), _playbook(host, "job.yml", _job({"name": "b", "block": block}))
        )
    }
    role = host.folder / "roles" / "many" / "tasks" / "main.yml"
    role.parent.mkdir(parents=True)
    role.write_text(json.dumps(tasks_of(60, 15)))
    include = {"name": "The role", "ansible.builtin.include_role": {"name": "many"}}
    found["60 tasks, 15 modules, a role"] = _beside(
        host, _playbook(host, "include.yml", [include]), _playbook(host, "role.yml", _job(include))
    )
    one, all_of_them = _on_host(host, 1), _on_host(host, len(MODULES))
    found["a further distinct module, ms"] = round((all_of_them - one) / (len(MODULES) - 1), 1)
    for what, told in found.items():
        print(f"{what}: {told}", flush=True)
    figures["several_modules"] = found


MEASURES = {"several_modules": several_modules}
