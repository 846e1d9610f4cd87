# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entrance of `make`: `python tests/driver test`, or the name of a group of parts, or of parts."""

from __future__ import annotations

import os
import shutil
import sys

import machine
from parts import parts
from runner import Part, Runner

# Not a check: it says how fast, not whether.
ONLY_ON_REQUEST = ("benchmark",)


def main(words: list[str]) -> int:
    if words == ["demo"]:
        return demo()
    if words == ["clean"]:
        shutil.rmtree(machine.CACHE, ignore_errors=True)
        shutil.rmtree(machine.ROOT / "build", ignore_errors=True)
        return 0
    chosen = choose(words)
    if not chosen:
        print(f"no such part: {' '.join(words)}; there are: {' '.join(part.name for part in parts())}", file=sys.stderr)
        return 2
    introduce()
    lanes = int(os.environ.get("LANES", "2"))
    return 1 if Runner(chosen, lanes).run().failed else 0


def choose(words: list[str]) -> list[Part]:
    """The parts that the words name: `test` is all of them; a group, or a part, brings what it needs."""
    everything = parts()
    if words == ["test"]:
        return [part for part in everything if part.group not in ONLY_ON_REQUEST]
    chosen = [part for part in everything if part.group in words or part.name in words]
    needed = {part.needs for part in chosen}
    return [part for part in everything if part in chosen or part.name in needed]


def introduce() -> None:
    missing = [version for version in machine.KNOWN_PYTHONS if version not in machine.pythons()]
    print(f"Pythons: {' '.join(machine.pythons())}; not here: {' '.join(missing) or 'none'}", flush=True)


def demo() -> int:
    environment = machine.core_environment(machine.newest_core(), "demo")
    os.chdir(machine.ROOT)
    env = environment.env
    env.pop("NO_COLOR")
    os.execve(environment.bin / "ansible-playbook", ["ansible-playbook", "background.jobs.demo"], env)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:] or ["test"]))
    except machine.Skip as exc:
        sys.exit(f"error: {exc}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
