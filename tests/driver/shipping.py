# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ships: the tarball, the ways to install it, and the documentation site."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

import machine
import sessions
from machine import CACHE, ROOT, Environment, core_environment, tool_environment
from pictures import IMAGES
from runner import Counts, Failed, Job

# The top-level files and folders that ship; galaxy.yml has to leave out all others.
SHIPS = frozenset(
    (
        *("CHANGELOG.md", "CONTRIBUTING.md", "COPYING", "LICENSES", "README.md", "REUSE.toml", "changelogs"),
        *("docs", "meta", "playbooks", "plugins", "roles"),
    )
)
MADE_BY_GALAXY = {"FILES.json", "MANIFEST.json"}


def install(job: Job) -> Counts:
    """Install with nothing but ansible-core: from git, through requirements.yml, from the checkout and from the tarball."""
    environment = core_environment(machine.newest_core(), "core")
    folder = CACHE / "install"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _want_core_alone(environment)
    _want_smoke_to_need_the_collection(job, environment, folder / "nothing")
    tarball = _build(job, environment, folder)
    _want_members(tarball)
    installed = {
        way: _install(job, environment, folder / way, *arguments) for way, arguments in _ways(folder, tarball).items()
    }
    _want_alike(installed)
    for way in ("git", "tarball"):
        status, dummy = _smoke(job, environment, installed[way])
        if status:
            raise Failed(f"installed from {way}, the smoke test fails")
    return Counts(len(installed) + 2)


def _want_core_alone(environment: Environment) -> None:
    if (environment.purelib / "distlib").exists():
        raise Failed("distlib is there: whether an install needs it would not be seen")


def _want_smoke_to_need_the_collection(job: Job, environment: Environment, nothing: Path) -> None:
    nothing.mkdir()
    status, dummy = _smoke(job, environment, nothing)
    if not status:
        raise Failed("the smoke test passes without an installed collection")


def _smoke(job: Job, environment: Environment, collections: Path) -> tuple[int, str]:
    playbook = ROOT / "tests" / "smoke" / "smoke.yml"
    env = _apart(environment, collections)
    # From a folder without a collection beside it, and with a folder of its own for the jobs' records.
    env["ANSIBLE_ASYNC_DIR"] = str(collections / "records")
    return job.call(environment.bin / "ansible-playbook", playbook, env=env, cwd=collections)


def _apart(environment: Environment, collections: Path) -> dict[str, str]:
    """The variables for an environment with no other collections than those in `collections`."""
    return environment.env | {
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
    }


def _build(job: Job, environment: Environment, folder: Path) -> Path:
    """Build the tarball from the checkout as it is, which also has files that must not ship."""
    job.check(environment.bin / "ansible-galaxy", "collection", "build", "--output-path", folder, env=environment.env)
    return next(folder.glob("*.tar.gz"))


def _want_members(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        members = {member.name for member in archive if member.isfile()} - MADE_BY_GALAXY
    expected = {name for name in machine.tracked_files() if name.partition("/")[0] in SHIPS}
    if members != expected:
        raise Failed(f"it ships, but should not: {members - expected}; the other way round: {expected - members}")


def _ways(folder: Path, tarball: Path) -> dict[str, tuple[str, ...]]:
    url = f"git+file://{_repository(folder / 'repository')}"
    requirements = folder / "requirements.yml"
    requirements.write_text(f"collections:\n  - name: {url}\n    type: git\n")
    return {
        "git": (url,),
        "requirements": ("-r", str(requirements)),
        "checkout": (str(ROOT),),
        "tarball": (str(tarball),),
    }


def _repository(folder: Path) -> Path:
    machine.copy_tree(folder)
    author = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    machine.run_quietly(["git", *author, "commit", "--quiet", "--no-verify", "-m", "the checkout as it is"], cwd=folder)
    return folder


def _install(job: Job, environment: Environment, collections: Path, *arguments: str) -> Path:
    collections.mkdir()
    job.check(
        environment.bin / "ansible-galaxy",
        *("collection", "install", "--collections-path", str(collections), *arguments),
        env=_apart(environment, collections),
        cwd=collections,
    )
    return collections


def _want_alike(installed: dict[str, Path]) -> None:
    files = {way: _files(folder / "ansible_collections" / "background" / "jobs") for way, folder in installed.items()}
    for way, names in files.items():
        if names != files["tarball"]:
            raise Failed(f"installed from {way}, these files differ: {names ^ files['tarball']}")


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def galaxy(job: Job) -> None:
    """Galaxy's checks on import; nox's session only prints their findings, here they fail."""
    output = sessions.run(["build-import-check"], job)
    complaints = [line for line in output.splitlines() if re.match(r"\s*(ERROR|WARNING)", line)]
    if complaints:
        raise Failed("galaxy-importer complains:\n" + "\n".join(complaints))


def docs(job: Job) -> None:
    """Build the documentation site, as readers see it: build/docs/html."""
    environment = tool_environment("docs")
    work, site = CACHE / "docs", ROOT / "build" / "docs"
    for folder in (work, site):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    work.chmod(0o755)
    job.check(
        environment.bin / "antsibull-docs",
        *("sphinx-init", "--use-current", "--lenient", "--dest-dir", str(work), "background.jobs"),
        env=environment.env,
    )
    pages = "rst/collections/background/jobs/docsite/images"
    with (work / "conf.py").open("a") as conf:
        conf.write("\nintersphinx_mapping = {}\nsuppress_warnings = ['ref.ref']\n")
        # antsibull-docs copies only the guides, not their images.
        conf.write(f"import shutil\nshutil.copytree({str(IMAGES)!r}, {pages!r}, dirs_exist_ok=True)\n")
    env = environment.env | {"ANSIBLE_COLLECTIONS_PATH": str(CACHE / "no-collections")}
    job.check(work / "build.sh", env=env, cwd=work)
    shutil.copytree(work / "build" / "html", site / "html")
