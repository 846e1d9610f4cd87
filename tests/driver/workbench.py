# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tools for development: a short check, a single test of any kind, a shell with a host."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import lines
import machine
import parts
from leftovers import Scratch
from machine import CACHE, ROOT
from runner import Part, Runner

# Quick targets that together launch, wait and refuse.
QUICK_TARGETS = ("async_batch_graph", "async_run", "bad_input")
QUICK_LINTERS = ("files", "mypy", "ruff")
HOST = ROOT / "tests" / "docker" / "host.sh"


def check() -> list[Part]:
    """What to run before each commit: minutes, and no Docker."""
    core = machine.newest_core()
    wanted = [f"lint:{name}" for name in QUICK_LINTERS]
    return [
        Part("unit-check", "check", partial(parts.unit, core, quick=True), limit=900),
        Part("integration-check", "check", partial(parts.integration, core, targets=QUICK_TARGETS), limit=900),
        *(part for part in parts.parts() if part.name in wanted),
    ]


def one(words: Sequence[str]) -> int:
    """Run one test file or function, integration target, molecule scenario or playbook; CORE=2.19 selects the core."""
    if not words:
        print("name a test, an integration target, a molecule scenario or a playbook", file=sys.stderr)
        return 2
    core = machine.chosen_core()
    command, env, cwd = _command(core, *words)
    scratch = Scratch()
    temporary = {"TMPDIR": str(scratch.folder())}
    with lines.handing_over(core, **temporary):
        status = subprocess.run(command, check=False, cwd=cwd, env=env | temporary).returncode
    scratch.close()
    return status


def _command(core: str, what: str, *more: str) -> parts.Command:
    path = Path(what.partition("::")[0])
    if path.is_relative_to("extensions/molecule"):  # a target may have the same name
        return parts.molecule_command(core, path.name, *more)
    if (parts.TARGETS / what).is_dir():
        return parts.integration_command(core, what, *more)
    if what in parts.scenarios():
        return parts.molecule_command(core, what, *more)
    for folder, command in (("tests/faults", parts.faults_command), ("tests/awx", parts.awx_command)):
        if path.is_relative_to(folder):
            return command(core, what, *more)
    environment = machine.core_environment(core, "unit", "unit")
    if path.suffix in (".yml", ".yaml"):
        local = ("-i", "localhost,", "-c", "local")
        return [environment.bin / "ansible-playbook", *local, what, *more], environment.env, ROOT
    if path.is_relative_to("tests/unit"):
        return [environment.bin / "pytest", what, *more], environment.env, ROOT
    raise machine.Skip(f"{what} is no test, integration target, molecule scenario or playbook of this checkout")


INVENTORY = """\
all:
  hosts:
    {suite}:
      ansible_host: 127.0.0.1
      ansible_port: {port}
      ansible_user: root
      ansible_python_interpreter: /usr/bin/python3
      ansible_ssh_private_key_file: {key}
      ansible_ssh_common_args: -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR
"""

WELCOME = """\
A shell with ansible-core {core}, pytest, molecule and nox, in which this checkout is the collection background.jobs.
{hosts}
  pytest tests/unit/plugins/filter                    one test
  ansible-playbook playbooks/patterns/throttle.yml    a playbook
  make one WHAT=async_wait                            an integration target; so with a scenario or a fault test
"""


def shell() -> int:
    """Run a shell in which everything is at hand."""
    core = machine.newest_core()
    environment = machine.core_environment(core, "shell", "unit", "molecule", "nox")
    scratch = Scratch()
    with _host() as inventory:
        env = environment.env
        env |= {"TMPDIR": str(scratch.folder()), "ANSIBLE_COLLECTIONS_PATH": str(parts.test_collections())}
        env["PATH"] += f"{os.pathsep}{machine.uv().parent}"
        hosts = "There is no host but localhost."
        if inventory:
            env["ANSIBLE_INVENTORY"] = str(inventory)
            hosts = f"Its inventory has a host in a container ({inventory}), which goes with the shell:\n\n  ansible all -m ping"
        print(WELCOME.format(core=core, hosts=hosts), flush=True)
        status = subprocess.run([os.environ.get("SHELL") or "sh"], check=False, cwd=ROOT, env=env).returncode
    scratch.close()
    return status


@contextmanager
def _host() -> Iterator[Path | None]:
    """The inventory of a container that runs meanwhile; none with SKIP_DOCKER=1."""
    if parts.docker_is_left_out():
        yield None
        return
    if Runner([part for part in parts.parts() if part.name == "hosts"], 1).run().failed:
        raise machine.Skip("there is no host: SKIP_DOCKER=1 gives a shell without one")
    suite = os.environ.get("SUITE", "trixie")
    folder = CACHE / "shell"
    folder.mkdir(exist_ok=True)
    name = f"bgj-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}-shell-{suite}"
    key, inventory = _key(folder / "key"), folder / "inventory.yml"
    port = subprocess.run(
        [HOST, "up", name, suite, key.with_suffix(".pub")], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    try:
        inventory.write_text(INVENTORY.format(suite=suite, port=port, key=key))
        yield inventory
    finally:
        subprocess.run([HOST, "down", name], check=False, stdout=subprocess.DEVNULL)


def _key(path: Path) -> Path:
    if not path.exists():
        machine.run_quietly(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "background.jobs tests", "-f", path])
    return path
