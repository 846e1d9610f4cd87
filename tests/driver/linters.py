# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks of `make lint`, each a part."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import machine
from machine import CACHE, ROOT, Skip, tool_environment
from runner import Job

TYPED = ("plugin_utils", "action", "filter")
MYPY_OPTIONS = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(CACHE / "mypy-cache"))


def _linter(*command: str) -> Callable[[Job], None]:
    def check(job: Job) -> None:
        environment = tool_environment("lint")
        env = environment.env
        # Nothing beside what is checked: the collections of whoever runs this don't count.
        env["ANSIBLE_COLLECTIONS_PATH"] = str(CACHE / "no-collections")
        job.check(environment.bin / command[0], *command[1:], env=env)

    return check


def mypy(job: Job) -> None:
    """From a folder that holds only the link: in site-packages mypy doesn't check, it only follows."""
    environment = tool_environment("lint")
    folder = CACHE / "mypy"
    plugins = machine.link_collection(folder).relative_to(folder) / "plugins"
    typed = [plugins / name for name in TYPED if list((ROOT / "plugins" / name).glob("*.py"))]
    if not typed:
        raise Skip("no Python in the folders of plugins/ that are to be typed")
    job.check(environment.bin / "mypy", *MYPY_OPTIONS, *typed, env=environment.env, cwd=folder)


def mypy_driver(job: Job) -> None:
    environment = tool_environment("lint")
    job.check(environment.bin / "mypy", *MYPY_OPTIONS, ".", env=environment.env, cwd=ROOT / "tests" / "driver")


def shellcheck(job: Job) -> None:
    scripts = [name for name in machine.tracked_files() if _is_shell(ROOT / name)]
    _linter("shellcheck", "--severity=style", *scripts)(job)


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return re.match(rb"#!.*\b(ba|da)?sh\b", file.readline()) is not None


def licences(job: Job) -> None:
    _linter("reuse", "lint-file", *machine.tracked_files())(job)


def readme(job: Job) -> None:
    environment = tool_environment("lint")
    documents = [name for name in machine.tracked_files() if name.endswith(".md")]
    job.check(environment.bin / "python", ROOT / "tests" / "driver" / "readme.py", *documents, env=environment.env)


LINTERS: dict[str, Callable[[Job], None]] = {
    "ansible-lint": _linter("ansible-lint", "--offline", "--strict", "--profile", "production"),
    "ruff": _linter("ruff", "check", "."),
    "format": _linter("ruff", "format", "--check", "--diff", "."),
    "yamllint": _linter("yamllint", "--strict", "."),
    "mypy": mypy,
    "mypy-driver": mypy_driver,
    "plugin-docs": _linter(
        "antsibull-docs",
        "lint-collection-docs",
        "--plugin-docs",
        "--skip-rstcheck",
        "--validate-collection-refs=all",
        "--disallow-unknown-collection-refs",
        ".",
    ),
    "changelog": _linter("antsibull-changelog", "lint"),
    "licences": licences,
    "readme": readme,
    "shellcheck": shellcheck,
}
