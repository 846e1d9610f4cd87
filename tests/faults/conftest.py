# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts to break, playbooks to run against them, and figures to report.

    make faults                            the short form, as in `make test`
    make soak                              the full figures
    FAULTS_SEED=123 make faults            with the random choices of an earlier run

A test takes the fixtures `host`, `play`, `rounds`, `rng` and `report`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOST_SCRIPT = ROOT / "tests" / "docker" / "host.sh"
PREFIX = os.environ.get("BGJ_CONTAINER_PREFIX", f"bgj-faults-{os.getpid()}-")
PREFIX += os.environ.get("PYTEST_XDIST_WORKER", "")
FULL = os.environ.get("FAULTS", "short") == "full"
SEED = int(os.environ.get("FAULTS_SEED") or random.randrange(10**9))
os.environ["FAULTS_SEED"] = str(SEED)  # for the workers of xdist too
PATIENCE = 60  # seconds for a condition to become true; on an idle machine it takes only a moment
ANSIBLE = {
    "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl",
    "ANSIBLE_HOST_KEY_CHECKING": "false",
    "ANSIBLE_RETRY_FILES_ENABLED": "false",
    "ANSIBLE_PIPELINING": "true",
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null",
    "ANSIBLE_DEPRECATION_WARNINGS": "false",
    "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
    "ANSIBLE_FORKS": "20",
}
_FIGURE = "figure"
_numbers = itertools.count(1)


def pytest_report_header() -> str:
    return f"faults: {'full' if FULL else 'short'} form, FAULTS_SEED={SEED}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.section(f"figures ({'full' if FULL else 'short'} form, FAULTS_SEED={SEED})")
    ended = [test for tests in terminalreporter.stats.values() for test in tests if getattr(test, "when", "") == "call"]
    for test in sorted(ended, key=lambda test: test.nodeid):
        for name, line in test.user_properties:
            if name == _FIGURE:
                terminalreporter.write_line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The long ones first, in reverse alphabetical order, so that no worker is left alone with one at the end.
    items.sort(key=lambda item: ("rounds" in getattr(item, "fixturenames", ()), item.nodeid), reverse=True)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """report(line): print a figure in the summary."""
    return lambda line: request.node.user_properties.append((_FIGURE, line))


@pytest.fixture
def rounds() -> Callable[[int, int], int]:
    """rounds(short, full): the number for the current form."""
    return lambda short, full: full if FULL else short


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random choices for one test: the same for the same seed, whichever other tests run."""
    return random.Random(f"{SEED} {request.node.nodeid}")


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Call `condition` again and again, and return its first true value; AssertionError if there is none in time."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"after {patience} s: not {what}"
        time.sleep(0.1)


@pytest.fixture(name="until")
def _until() -> Callable[..., Any]:
    """until(condition, what): see above."""
    return until


class Host:
    """A container that plays reach as `name`, over SSH (as root) or the Docker connection."""

    def __init__(self, container: str, port: int, key: Path, connection: str) -> None:
        self.name = self.container = container
        self.port = port
        self.key = key
        self.connection = connection

    def variables(self) -> dict[str, Any]:
        """Its entry in an inventory."""
        if self.connection == "docker":
            return {"ansible_connection": "community.docker.docker", "ansible_host": self.container}
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key),
        }

    def run(self, *command: str, check: bool = True, text: str = "", user: str = "root", timeout: float = 120) -> str:
        """Run a command in the container with `text` as standard input; return its output."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", "--user", user, self.container, *command],
            check=False,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{shlex.join(command)}: {done.returncode}: {done.stderr}"
        return done.stdout

    def python(self, program: str, *arguments: str, **options: Any) -> Any:
        """Run a Python program in the container; return the JSON that it printed, None if it printed nothing."""
        output = self.run("python3", "-", *arguments, text=program, **options)
        return json.loads(output) if output.strip() else None

    def begin(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python program in the container; its standard output is a pipe."""
        return subprocess.Popen(
            ["docker", "exec", self.container, "python3", "-c", program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def docker(self, verb: str, *options: str, after: tuple[str, ...] = ()) -> None:
        """docker stop, start, kill, pause, ...: options go before the name, `after` behind it; after a start, wait for sshd."""
        subprocess.run(["docker", verb, *options, self.container, *after], check=True, stdout=subprocess.DEVNULL)
        if verb in ("start", "restart", "unpause"):
            until(self.answers, "sshd answers")

    def id(self) -> str:
        """Its name in the kernel's control groups."""
        command = ["docker", "inspect", "--format", "{{.Id}}", self.container]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def answers(self) -> bool:
        """Whether its sshd answers connections."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                return connection.recv(4).startswith(b"SSH")
        except OSError:
            return False


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private key that the hosts accept; its public half is beside it."""
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture
def host(key: Path) -> Iterator[Callable[..., Host]]:
    """host(*options of docker run, suite=..., connection="docker" | "ssh", systemd=False): a new host, removed after the test."""
    made: list[str] = []

    def up(*options: str, suite: str = "trixie", connection: str = "docker", systemd: bool = False) -> Host:
        name = f"{PREFIX}{next(_numbers)}"
        made.append(name)
        first = ["systemd"] if systemd else []
        port = subprocess.run(
            [HOST_SCRIPT, "up", name, suite, f"{key}.pub", *first, "--", *options],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        return Host(name, int(port), key, connection)

    yield up
    if made:
        subprocess.run([HOST_SCRIPT, "down", *made], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Played:
    """The outcome of a playbook: its exit status, its output, and the results of its tasks."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status = status
        self.output = output
        self.errors = errors
        self.each: list[tuple[str, str, dict[str, Any]]] = []
        for line in output.splitlines():
            if line.startswith("{"):
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if not event["_event"].startswith("v2_runner_on_") or event["_event"] == "v2_runner_on_start":
            return
        for name, result in event["hosts"].items():
            result["failed"] = event["_event"] == "v2_runner_on_failed"
            result["unreachable"] = event["_event"] == "v2_runner_on_unreachable"
            self.each.append((name, event["task"]["name"], result))

    def results(self, task: str, host: Host | None = None) -> list[dict[str, Any]]:
        """The results of the tasks of this name, in the order in which they came."""
        return [result for name, told, result in self.each if told == task and (host is None or name == host.name)]

    def result(self, task: str, host: Host | None = None) -> dict[str, Any]:
        """The only result of the task of this name."""
        (found,) = self.results(task, host)
        return found

    def course(self) -> list[tuple[str, bool, bool]]:
        """The tasks in order: their names, and whether they failed, and changed something."""
        return [(task, result["failed"], bool(result.get("changed"))) for dummy, task, result in self.each]


class Running:
    """A running ansible-playbook; `process` is its process."""

    def __init__(self, command: Sequence[str], env: dict[str, str], folder: Path) -> None:
        self.folder = folder
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )

    def wait(self, timeout: float = 600) -> Played:
        """Wait for its end; fail if it takes longer than `timeout` seconds."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"a playbook hangs after {timeout} s; its output ends with:\n{self.output()[-2000:]}")
        return Played(status, self.output(), self._err.read_text(errors="replace"))

    def output(self) -> str:
        """Its output so far."""
        return self._out.read_text(errors="replace")


def _hand_on(one: Path, other: Path) -> None:
    """Hand on what a controller has compiled and built, which takes it a second, but not what it knows of hosts."""
    if one.exists():
        known = shutil.ignore_patterns("*.json")
        shutil.copytree(one, other, copy_function=_link, ignore=known, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.link(source, target)


class Player:
    """play(hosts, tasks): run a playbook; play.start(hosts, tasks): start one."""

    def __init__(self, folder: Path, built: Path) -> None:
        self._folder = folder
        self._built = built
        self.known = {"ANSIBLE_HOME": str(folder / "ansible")}  # env of a controller that notes what hosts keep
        self.started: list[Running] = []

    def start(
        self,
        hosts: Host | Sequence[Host],
        tasks: list[dict[str, Any]],
        *,
        env: dict[str, str] | None = None,
        options: Sequence[str] = (),
        files: dict[str, Any] | None = None,
        **keywords: Any,
    ) -> Running:
        """Start a play. keywords: of the play; files: more files beside it, by name, as text or data."""
        hosts = [hosts] if isinstance(hosts, Host) else list(hosts)
        folder = self._folder / str(next(_numbers))
        folder.mkdir()
        inventory = {"all": {"hosts": {host.name: host.variables() for host in hosts}}}
        playbook = [{"hosts": "all", "gather_facts": False, **keywords, "tasks": tasks}]
        for name, content in {"inventory.json": inventory, "play.yml": playbook, **(files or {})}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        program = str(Path(sys.executable).parent / "ansible-playbook")
        command = [program, "--inventory", "inventory.json", "play.yml", *options]
        # a controller that knows nothing of what hosts keep: another one may have had this port before
        own = {"ANSIBLE_HOME": str(folder / "ansible")}
        _hand_on(self._built, folder / "ansible" / "background_jobs")
        self.started.append(Running(command, {**os.environ, **ANSIBLE, **own, **(env or {})}, folder))
        return self.started[-1]

    def __call__(
        self,
        hosts: Host | Sequence[Host],
        tasks: list[dict[str, Any]],
        *,
        check: bool = True,
        timeout: float = 600,
        **settings: Any,
    ) -> Played:
        """Run a play to its end; check: whether it has to succeed; settings: see `start`."""
        running = self.start(hosts, tasks, **settings)
        played = running.wait(timeout)
        _hand_on(running.folder / "ansible" / "background_jobs", self._built)
        assert not check or played.status == 0, f"{played.output[-4000:]}\n{played.errors[-2000:]}"
        return played


@pytest.fixture
def play(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """play(hosts, tasks) -> Played; see Player."""
    player = Player(tmp_path, tmp_path_factory.getbasetemp() / "built")
    yield player
    for running in player.started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
