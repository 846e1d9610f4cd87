# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entry point of `make`: `python tests/driver test`, or names of groups of parts, or of parts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import lines
import machine
import pictures
import sessions
import workbench
from parts import left_out, parts
from runner import Part, Runner


def main(words: list[str]) -> int:
    by_itself = {
        "demo": demo,
        "benchmark": benchmark,
        "soak": soak,
        "clean": clean,
        "format": sessions.mend,
        "pictures": pictures.draw,
        "shell": workbench.shell,
    }
    if len(words) == 1 and words[0] in by_itself:
        return by_itself[words[0]]()
    if words[0] == "one":
        return workbench.one(words[1:])
    if words[0] == "coverage":
        return lines.measure(words[1:] or lines.default_parts())
    chosen = workbench.check() if words == ["check"] else choose(words)
    if not chosen:
        print(f"no such part: {' '.join(words)}; there are: {' '.join(part.name for part in parts())}", file=sys.stderr)
        return 2
    introduce(chosen)
    lanes = int(os.environ.get("LANES", "2"))
    return 1 if Runner(chosen, lanes).run().failed else 0


def choose(words: list[str]) -> list[Part]:
    """The parts that the words name: `test` is all of them; a group, or a part, includes what it needs."""
    everything = parts()
    if words == ["test"]:
        return everything
    chosen = [part for part in everything if part.group in words or part.name in words]
    needed = {part.needs for part in chosen}
    return [part for part in everything if part in chosen or part.name in needed]


def introduce(chosen: list[Part]) -> None:
    missing = [version for version in machine.KNOWN_PYTHONS if version not in machine.pythons()]
    print(f"Pythons: {' '.join(machine.pythons())}; not here: {' '.join(missing) or 'none'}", flush=True)
    for part in chosen:
        if what := left_out(part):
            print(f"{part.name} leaves out {what}", flush=True)


def demo() -> int:
    environment = machine.core_environment(machine.newest_core(), "core")
    # A person watches it, so it may be in colour.
    env = {key: value for key, value in environment.env.items() if key != "NO_COLOR"}
    # It runs on this machine alone, without an inventory: no warnings about that.
    env |= {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}
    return subprocess.run(
        [environment.bin / "ansible-playbook", "background.jobs.demo"], check=False, cwd=machine.ROOT, env=env
    ).returncode


def benchmark() -> int:
    """No check: it measures how fast, not whether."""
    if main(["hosts"]):
        return 1
    # The oldest core runs under the Python of many a distribution, which is optimised, and under it Mitogen runs too.
    environment = machine.core_environment(machine.chosen_core(), "core")
    script = machine.ROOT / "tests" / "benchmark" / "run.py"
    # Mitogen works only with an older ansible-core
    env = {**environment.env, "BENCHMARK_MITOGEN": str(machine.core_environment("2.19", "mitogen", "mitogen").bin)}
    return subprocess.run([environment.bin / "python", script], check=False, env=env).returncode


def soak() -> int:
    """The full fault tests and comparisons of jobs with plain tasks, in a new driver, whose modules see FAULTS on import."""
    env = {**os.environ, "FAULTS": "full"}
    oldest, newest = min(machine.CORES), max(machine.CORES)
    wanted = ("faults", f"molecule-{newest}:differential", *(f"molecule-{core}:blocks" for core in (oldest, newest)))
    status = subprocess.run([sys.executable, machine.ROOT / "tests" / "driver", *wanted], check=False, env=env)
    log = machine.CACHE / "logs" / "faults.log"
    if log.exists():
        # the last section of pytest's output, before its verdict
        dummy, rule, figures = log.read_text(errors="replace").rpartition(" figures ")
        print(f"{rule}{figures}".strip())
    return status.returncode


def clean() -> int:
    shutil.rmtree(machine.CACHE, ignore_errors=True)
    shutil.rmtree(machine.ROOT / "build", ignore_errors=True)
    return 0


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(main(sys.argv[1:] or ["test"]))
    except machine.Skip as exc:
        sys.exit(f"error: {exc}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
