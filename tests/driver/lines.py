# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which lines of plugins/ the tests run, on the controller, on hosts and in jobs: `make coverage`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import machine
from machine import CACHE, ROOT, Environment

PLUGINS = ROOT / "plugins"
TOOLS = ROOT / "tests" / "coverage"
FOLDER = CACHE / "coverage"
# Interpreters read a site's .pth files at start, except those with -S, such as a supervisor's: for them, what has to
# run first is put before their program.
PYTHON = """\
#!/bin/bash
if [ "$1 $2 $3" = "-I -S -c" ]; then
  code="import sys; sys.path.append('{tools}'); import collect; del sys.path[-1]
$4"
  exec -a "$0" {real} -I -S -c "$code" "${{@:5}}"
fi
exec -a "$0" {real} "$@"
"""


def measure(parts: Sequence[str]) -> int:
    """Run parts in environments that record lines, in a new driver, which sees that in its environment; then report."""
    environment = _ready()
    _index()
    env = {**os.environ, "BGJ_LINES": str(FOLDER)}
    status = subprocess.run([sys.executable, ROOT / "tests" / "driver", *parts], check=False, env=env).returncode
    report = [environment.bin / "python", TOOLS / "report.py", FOLDER, PLUGINS]
    subprocess.run(report, check=True, env=environment.env)
    return status


def default_parts() -> list[str]:
    return [f"{name}-{machine.newest_core()}" for name in ("unit", "integration")]


def test_environment(core: str) -> Environment:
    """The environment that tests run in, which records lines on request."""
    if os.environ.get("BGJ_LINES") and core == machine.newest_core():
        return _ready()
    return machine.core_environment(core, "unit", "unit")


def target_environment(core: str) -> Environment:
    """The one that modules run in on localhost: of a Python of the distribution, if it has one, as on most hosts."""
    environment = test_environment(core)
    versions = () if os.environ.get("BGJ_LINES") else machine.TARGET_PYTHONS[core]
    distributed = [version for version in versions if machine.is_of_distribution(version)]
    if not distributed or machine.is_of_distribution(environment.python):
        return environment
    return Environment(f"target-{distributed[0]}", distributed[0], ()).ready()


@contextlib.contextmanager
def handing_over(core: str, **variables: str) -> Iterator[None]:
    """Have the interpreters of both environments set these variables meanwhile."""
    with contextlib.ExitStack() as stack:
        for environment in dict.fromkeys((test_environment(core), target_environment(core))):
            stack.enter_context(environment.handing_over(**variables))
        yield


def _ready() -> Environment:
    environment = machine.core_environment(machine.newest_core(), "coverage", "unit", "coverage")
    (environment.purelib / "background_jobs_lines.pth").write_text(
        f"import sys; sys.path.append({str(TOOLS)!r}); import collect; sys.path.remove({str(TOOLS)!r})\n"
    )
    python = environment.bin / "python"
    if python.is_symlink():
        real = python.resolve()
        python.unlink()
        python.write_text(PYTHON.format(tools=TOOLS, real=real))
        python.chmod(0o755)
    return environment


def _index() -> None:
    """Prepare a zero byte for each line."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    entries, offset = [f"{PLUGINS}/"], 0
    for path in sorted(PLUGINS.rglob("*.py")):
        name = path.relative_to(PLUGINS)
        if name.parts[0] != "doc_fragments" and path.stat().st_size:
            entries.append(f"{offset} {name}")
            offset += path.read_bytes().count(b"\n") + 2
    (FOLDER / "index").write_text("\n".join(entries) + "\n")
    (FOLDER / "lines").write_bytes(bytes(offset))
    (FOLDER / "lines").chmod(0o666)  # jobs of other users record theirs too
