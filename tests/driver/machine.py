# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this machine has: paths, the Pythons that run, and the virtual environments made of them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
REQUIREMENTS = ROOT / "tests" / "requirements"

# By minor version of ansible-core: the pin, and the Pythons that can run it on the controller, the preferred one first.
CORES = {
    "2.19": ("2.19.14", ("3.11", "3.12", "3.13")),
    "2.20": ("2.20.10", ("3.12", "3.13", "3.14")),
    "2.21": ("2.21.5", ("3.13", "3.12", "3.14")),
}
# The Pythons of managed hosts that both a core and this collection support, the newest first.
TARGET_PYTHONS = {
    "2.19": ("3.13", "3.12", "3.11", "3.10", "3.9", "3.8"),
    "2.20": ("3.14", "3.13", "3.12", "3.11", "3.10", "3.9"),
    "2.21": ("3.14", "3.13", "3.12", "3.11", "3.10", "3.9"),
}
HOST_PYTHONS = ("3.8", "3.9")
KNOWN_PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")


class Skip(Exception):
    """The request can't be carried out on this machine; the text says why."""


@functools.cache
def pythons() -> dict[str, Path]:
    """The interpreters that run, by minor version. On PATH there may be pyenv shims for versions that don't."""
    found = {}
    for version in KNOWN_PYTHONS:
        for candidate in _candidates(version):
            if _answers(candidate, version):
                found[version] = candidate
                break
    return found


def is_of_distribution(version: str) -> bool:
    """Whether the interpreter of this version is one that the distribution built."""
    return version in pythons() and pythons()[version].is_relative_to("/usr/bin")


def _candidates(version: str) -> Iterator[Path]:
    # what a distribution builds is optimised, and 1.4 times as fast as what pyenv builds if nobody told it to be so
    yield Path("/usr/bin") / f"python{version}"
    yield from sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"), reverse=True)
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(folder) / f"python{version}"
    yield Path(sys.executable)


def _answers(python: Path, version: str) -> bool:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        reply = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return reply.returncode == 0 and reply.stdout.strip() == version


def pick(versions: tuple[str, ...]) -> str:
    for version in versions:
        if version in pythons():
            return version
    raise Skip(f"no Python {' or '.join(versions)} on this machine")


def newest_core() -> str:
    """The newest ansible-core that a Python of this machine can run, preferring the oldest such Python."""
    for core in reversed(CORES):
        if any(version in pythons() for version in CORES[core][1]):
            return core
    raise Skip("no Python 3.11 or newer on this machine")


def chosen_core() -> str:
    """The core that CORE names, else the newest one."""
    core = os.environ.get("CORE") or newest_core()
    if core not in CORES:
        raise Skip(f"CORE={core} is none of {', '.join(CORES)}")
    return core


def base_environment() -> dict[str, str]:
    """The caller's environment without what would change the tests' meaning."""
    odd = re.compile(
        r"^(ANSIBLE|MOLECULE|PYTEST|MYPY)_|^(PYTHONPATH|PYTHONHOME|PYTHONDONTWRITEBYTECODE|VIRTUAL_ENV|MAKEFLAGS|MAKELEVEL)$"
    )
    env = {key: value for key, value in os.environ.items() if not odd.match(key)}
    path = [folder for folder in env.get("PATH", "").split(os.pathsep) if not folder.endswith("pyenv/shims")]
    env.update(
        ANSIBLE_HOME=str(CACHE / "ansible"),
        # The path of a control socket is limited to about 100 bytes, so it can't be under a checkout.
        ANSIBLE_SSH_CONTROL_PATH_DIR=str(Path.home() / ".ansible" / "cp"),
        LC_ALL="C.UTF-8",
        NO_COLOR="1",
        PATH=os.pathsep.join([str(_interpreter_links()), *path]),
        PYTHONPYCACHEPREFIX=str(CACHE / "pycache"),
    )
    return env


def _interpreter_links() -> Path:
    folder = CACHE / "pythons"
    with lock("interpreters"):
        folder.mkdir(parents=True, exist_ok=True)
        for version, python in pythons().items():
            link(folder / f"python{version}", python)
    return folder


def link(path: Path, target: Path) -> None:
    if not path.is_symlink() or path.readlink() != target:
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def link_collection(folder: Path) -> Path:
    """Link the checkout into `folder` as the collection background.jobs."""
    collection = folder / "ansible_collections" / "background" / "jobs"
    link(collection, ROOT)
    return collection


def tracked_files() -> list[str]:
    """The files of the tree: tracked, or new and not ignored. Without git (an unpacked archive): every file."""
    try:
        return _listed_by_git()
    except (OSError, subprocess.CalledProcessError):
        generated = {".cache", ".git", "__pycache__", "build"}
        paths = [
            path
            for path in ROOT.rglob("*")
            if path.is_file() and not generated.intersection(path.relative_to(ROOT).parts)
        ]
        return sorted(str(path.relative_to(ROOT)) for path in paths)


def _listed_by_git() -> list[str]:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def shell_scripts() -> list[str]:
    return [name for name in tracked_files() if _is_shell(ROOT / name)]


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return re.match(rb"#!.*\b(ba|da)?sh\b", file.readline()) is not None


def copy_tree(target: Path, without: tuple[str, ...] = ()) -> None:
    """A fresh copy of the tree with a git repository of its own, all of it added. without: how names begin that are left out."""
    shutil.rmtree(target, ignore_errors=True)
    for name in (name for name in tracked_files() if not name.startswith(without)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    if shutil.which("git"):
        run_quietly(["git", "init", "--quiet"], cwd=target)
        run_quietly(["git", "add", "--all"], cwd=target)


@dataclass(frozen=True)
class Environment:
    """A virtual environment: a Python, requirement files, and an ansible-core if it needs one."""

    name: str
    python: str
    requirements: tuple[str, ...]
    core: str = ""

    def specs(self) -> str:
        texts = [(REQUIREMENTS / f"{name}.txt").read_text() for name in self.requirements]
        if self.core:
            texts.append(f"ansible-core=={CORES[self.core][0]}\n")
        return "".join(texts)

    @property
    def path(self) -> Path:
        # The checkout's path counts too: an environment that was moved no longer works.
        key = f"{ROOT}\n{pythons()[self.python]}\n{self.specs()}"
        return CACHE / "venvs" / f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"

    @property
    def bin(self) -> Path:
        return self.path / "bin"

    @property
    def purelib(self) -> Path:
        return self.path / "lib" / f"python{self.python}" / "site-packages"

    @property
    def env(self) -> dict[str, str]:
        env = base_environment()
        env["PATH"] = f"{self.bin}{os.pathsep}{env['PATH']}"
        return env

    def ready(self) -> Environment:
        """Make it unless it exists, with the checkout as its collection background.jobs."""
        with lock(self.name):
            if not (self.path / "complete").exists():
                self._make()
            link_collection(self.purelib)
        return self

    @contextlib.contextmanager
    def handing_over(self, **variables: str) -> Iterator[None]:
        """Have its interpreters set these variables meanwhile: ansible-test passes only known ones on to targets."""
        path = self.purelib / "handed_over.pth"
        # One line, as a .pth file needs it. The file of a killed run has no effect, because its folder is gone.
        path.write_text(
            f"import os; os.path.isdir({variables['TMPDIR']!r}) and "
            f"os.environ.update({{**{variables!r}, **os.environ}})\n"
        )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def _make(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        run_quietly([uv(), "venv", "--quiet", "--python", pythons()[self.python], self.path])
        wanted = self.path / "requirements.txt"
        wanted.write_text(self.specs())
        # Tests start thousands of programs from it; each would take a second more to compile ansible-core.
        options = ("--quiet", "--compile-bytecode", "--requirement", wanted)
        run_quietly([uv(), "pip", "install", "--python", self.bin / "python", *options])
        (self.path / "complete").touch()


_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def lock(name: str) -> threading.Lock:
    return _locks[name]


def core_environment(core: str, name: str, *requirements: str) -> Environment:
    return Environment(f"{name}-{core}", pick(CORES[core][1]), requirements, core).ready()


def tool_environment(name: str) -> Environment:
    return core_environment(newest_core(), name, name)


def run_quietly(command: Sequence[str | Path], cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a command without showing its output; if it fails, that is the error."""
    done = subprocess.run(
        command, check=False, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stdout}")


def bootstrap() -> Path:
    """An environment with pip and uv, made with only this Python."""
    with lock("bootstrap"):
        wanted = REQUIREMENTS / "bootstrap.txt"
        key = hashlib.sha256(f"{ROOT}\n{sys.version}\n{wanted.read_text()}".encode()).hexdigest()[:10]
        path = CACHE / "venvs" / f"bootstrap-{key}"
        if not (path / "complete").exists():
            shutil.rmtree(path, ignore_errors=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            _make_with_pip(path)
            run_quietly([path / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", wanted])
            (path / "complete").touch()
        return path


def _make_with_pip(path: Path) -> None:
    if _works([sys.executable, "-c", "import ensurepip"]):
        run_quietly([sys.executable, "-m", "venv", path])
    elif _works(["uv", "--version"]):
        run_quietly(["uv", "venv", "--quiet", "--seed", "--python", sys.executable, path])
    elif Path("/etc/debian_version").exists() and os.geteuid() == 0:
        run_quietly(["apt-get", "update", "-qq"])
        run_quietly(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv"])
        run_quietly([sys.executable, "-m", "venv", path])
    else:
        raise RuntimeError(f"{sys.executable} can't make virtual environments: install python3-venv (Debian) or uv")


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def uv() -> Path:
    return bootstrap() / "bin" / "uv"


def download(spec: str, folder: Path) -> Path:
    """The wheel of `spec` from the package index, for any Python, kept in `folder`."""
    name, version = spec.split("==")
    options = ("--only-binary", ":all:", "--python-version", "3.13")
    return _download(spec, folder, f"{name}-{version}-*.whl", *options)


def download_source(spec: str, folder: Path) -> Path:
    """The source distribution of `spec` from the package index, kept in `folder`."""
    name, version = spec.split("==")
    options = ("--no-binary", name, "--ignore-requires-python")
    return _download(spec, folder, f"{name.replace('-', '_')}-{version}.tar.gz", *options)


def _download(spec: str, folder: Path, pattern: str, *options: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pip = (bootstrap() / "bin" / "python", "-m", "pip", "download", "--quiet", "--no-deps")
    if not list(folder.glob(pattern)):
        run_quietly([*pip, *options, "--dest", folder, spec])
    return next(folder.glob(pattern))
