# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ansible-core and the evaluation on hosts make of the same expression with the same variables."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible.errors import AnsibleValueOmittedError
from ansible.module_utils._internal._datatag import AnsibleTagHelper
from ansible.parsing.dataloader import DataLoader
from ansible.release import __version__
from ansible.template import Templar, trust_as_template

from ansible_collections.background.jobs.plugins.module_utils._late import templating, values
from ansible_collections.background.jobs.plugins.plugin_utils._late.archive import archive

from .host import answer, shown

CORE = ".".join(__version__.split(".")[:2])
ROOT = Path(__file__).resolve().parents[5]
# The oldest and the newest Python of hosts.
HOSTS = ("3.8", "3.13")
OMITTED = shown(values.OMIT)

Answer = dict[str, str]


@dataclass(frozen=True)
class Template:
    """A text of a playbook; any other text is data."""

    text: str


NOPE = Template("{{ nope }}")


def for_core(value: t.Any) -> t.Any:
    if isinstance(value, Template):
        return trust_as_template(value.text)
    if isinstance(value, dict):
        return {key: for_core(item) for key, item in value.items()}
    return [for_core(item) for item in value] if isinstance(value, list) else value


def for_host(value: t.Any) -> t.Any:
    if isinstance(value, Template):
        return {"$template": value.text}
    if isinstance(value, dict):
        converted = {key: for_host(item) for key, item in value.items()}
        return {"$literal": converted} if set(converted) & set(values.KEYS) and len(converted) == 1 else converted
    return [for_host(item) for item in value] if isinstance(value, list) else value


def plain(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return AnsibleTagHelper.as_native_type(value)


def of_core(text: str, variables: dict[str, t.Any], how: str = "render") -> Answer:
    templar = Templar(DataLoader(), variables=for_core(variables))
    ask = templar.template if how == "render" else templar.evaluate_conditional
    try:
        return {"value": shown(plain(ask(trust_as_template(text))))}
    except AnsibleValueOmittedError as exc:
        return {"value": OMITTED} if how == "render" else {"refused": str(exc)}
    except Exception as exc:  # whatever core refuses it with
        return {"refused": str(exc)}


def request(text: str, variables: dict[str, t.Any], how: str = "render") -> dict[str, t.Any]:
    key = "$template" if how == "render" else "$expr"
    converted = {name: for_host(value) for name, value in variables.items()}
    return {"how": how, "value": {key: text}, "variables": converted}


class Here:
    """The evaluation in this process."""

    name = "this Python"

    def __init__(self) -> None:
        self.engine = templating.Engine(CORE)

    def ask(self, asked: dict[str, t.Any]) -> Answer:
        return answer(self.engine, templating, values, asked)


class Host:
    """The evaluation in a bare interpreter, as on a host: with nothing but the archive."""

    def __init__(self, version: str, python: Path, folder: Path) -> None:
        self.name = f"Python {version}"
        link = folder / "ansible_collections" / "background" / "jobs"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(ROOT)
        packed = folder / "archive"
        packed.write_text(archive(with_yaml=True))
        command = [python, "-I", "-S", Path(__file__).with_name("host.py"), folder, packed, CORE]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, asked: dict[str, t.Any]) -> Answer:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{self.name} has ended over {asked}"
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def interpreters(*versions: str) -> dict[str, Path]:
    """Those of the given Pythons that this machine has."""
    spec = importlib.util.spec_from_file_location("machine", ROOT / "tests" / "driver" / "machine.py")
    assert spec and spec.loader
    machine = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("machine", machine)
    spec.loader.exec_module(machine)
    found = machine.pythons()
    return {version: found[version] for version in versions if version in found}
