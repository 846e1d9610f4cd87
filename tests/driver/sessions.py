# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks of nox: noxfile.py and antsibull-nox.toml define sessions, this groups them into parts."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import machine
from machine import CACHE, CORES, REQUIREMENTS, ROOT, Environment
from runner import Counts, Failed, Job

# Sessions are run together, because nox takes nearly two seconds to start.
LINTERS = {
    "ansible-lint": ("ansible-lint",),
    "docs": ("docs-check", "readme", "changelog"),
    "files": ("yamllint", "license-check", "extra-checks", "antsibull-nox-config", "shellcheck"),
    "mypy": ("typing", "typing-driver"),
    "ruff": ("formatters", "codeqa"),
}


def linters() -> dict[str, Callable[[Job], Counts]]:
    return {name: partial(check, sessions) for name, sessions in LINTERS.items()}


def check(sessions: Sequence[str], job: Job) -> Counts:
    """Run sessions of nox, which only check and change nothing."""
    run(sessions, job)
    return Counts(len(sessions))


def run(sessions: Sequence[str], job: Job) -> str:
    """Run sessions of nox; return their output."""
    command, env = nox("--session", *sessions)
    wanted = _hash(*((ROOT / name).read_text() for name in ("noxfile.py", "antsibull-nox.toml")))
    marks = [Path(command[2]) / f"{session}.installed-{wanted}" for session in sessions]
    if all(mark.exists() for mark in marks):
        command.append("--no-install")
    status, output = job.call(*command, env=env | {"CI": "true"})
    done = set(re.findall(r"^nox > Session (\S+) was successful", output, re.MULTILINE))
    for mark in marks:
        if mark.stem in done:
            mark.touch()
    if status:
        failed = [session for session in sessions if session not in done]
        raise Failed(f"nox failed: {', '.join(failed)}", Counts(len(done), max(1, len(failed))))
    return output


def mend() -> int:
    """Let ruff fix what it can, and format."""
    for arguments in ("--session", "codeqa", "--", "--fix"), ("--session", "formatters"):
        command, env = nox(*arguments)
        status = subprocess.run(command, check=False, cwd=ROOT, env=env | {"CI": "false"}).returncode
    return status


def nox(*arguments: str) -> tuple[list[str | Path], dict[str, str]]:
    """A command of nox and its environment. Its sessions get the same pins and Python as everything else here."""
    environment = nox_environment()
    env = environment.env | {
        # No other collections: those that the user has installed must not matter.
        "ANSIBLE_COLLECTIONS_PATH": str(CACHE / "no-collections"),
        "UV_COMPILE_BYTECODE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    env["PATH"] += f":{machine.uv().parent}"
    return [environment.bin / "nox", "--envdir", _folder(environment), *arguments], env


def nox_environment() -> Environment:
    return Environment("nox", machine.pick(CORES[machine.newest_core()][1]), ("nox",)).ready()


def _folder(environment: Environment) -> Path:
    """The folder for the environments of nox's sessions: a new one if pins change."""
    return CACHE / "nox" / _hash(environment.path.name, (REQUIREMENTS / "nox-sessions.txt").read_text())


def _hash(*texts: str) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:8]
