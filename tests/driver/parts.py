# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of `make test`: what each runs, in which environment, and how it counts."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import lines
import machine
import sessions
from machine import CACHE, CORES, HOST_PYTHONS, ROOT, Environment, Skip, core_environment
from runner import Counts, Failed, Job, Part
from shipping import docs, galaxy, install

# The tests of what runs on hosts: under their oldest Python with the oldest core's module_utils, and with the newest core.
HOST_HALF = ROOT / "tests" / "unit" / "plugins" / "module_utils"
# Needs hypothesis, and so a controller's Python; one run is enough.
PROPERTIES = HOST_HALF / "test_properties.py"
# Runs all tasks of the documentation, one by one: on the newest core.
SHOWN = "tests/unit/test_documented_tasks.py::test_what_is_shown_can_be_run"
SCENARIOS = ROOT / "extensions" / "molecule"
FAULTS = ROOT / "tests" / "faults"
AWX = ROOT / "tests" / "awx"
TARGETS = ROOT / "tests" / "integration" / "targets"
# Scenarios that depend on the behaviour of ansible-core, and not only on this collection.
ON_OLDEST_CORE = ("blocks", "default", "differential")
# The faults in full, and the sequences of the property test: an hour or two. Their short forms take minutes.
SOAK = os.environ.get("FAULTS") == "full"
FAULTS_LIMIT = 3 * 3600 if SOAK else 1800
# Integration targets that run only on the newest core: they run many playbooks and depend little on the core,
# or compare jobs with plain tasks, or run blocks, as the scenario `differential` does on the oldest core too.
# Limits, output and the order of jobs depend only on what runs on the host.
ON_NEWEST_CORE = (
    "async_batch_blocks",
    "async_batch_graph",
    "async_batch_staged",
    "limits",
    "operate_playbooks",
    "output",
    "paths",
    "patterns",
    "patterns_local",
    "pools",
)
# Targets that the scenario of the same name runs on hosts: on localhost without these, or by `make one WHAT=patterns`.
WITHOUT_HOSTS = ("patterns",)
# Themes of comparing scenarios that, except in `soak`, run only on the newest core: in `differential` those about what
# modules do, not about how a task runs; in `blocks` those in which cores hardly differ.
THEMES_ON_NEWEST_CORE = {
    "blocks": ("facts", "files", "includes", "local", "loops"),
    "differential": ("commands", "configuration", "files", "network", "packages", "services", "users"),
}
# Sanity tests whose findings depend on the core, and not only on the files or on the Python.
SANITY_OF_A_CORE = ("action-plugin-docs", "ansible-doc", "import", "runtime-metadata", "validate-modules")
# What the sanity tests are not to look at: what no user gets and no ansible-test runs. Ruff has most rules of pylint for that,
# and pylint took a quarter of their time.
OF_RUFF_ALONE = (
    "extensions/",
    "noxfile.py",
    *(f"tests/{name}/" for name in ("awx", "benchmark", "coverage", "docker", "driver", "faults", "pictures", "unit")),
)
# The runs of a case: see differential.py.
CASE_RUNS = ("check", "change", "again")
# Targets that run on the cores between the oldest and the newest.
BETWEEN = ("async_batch",)
# The pip that ansible-test would download from a site that not every machine can reach.
ANSIBLE_TEST_PIP = {"2.19": "24.2", "2.20": "25.2", "2.21": "25.2"}
# The release of the `ansible` package from which the tests' collections are taken.
ANSIBLE_PACKAGE = "ansible==14.5.0"
TEST_COLLECTIONS = (
    "ansible/posix",
    "community/docker",
    "community/general",
    "community/library_inventory_filtering_v1",
)

# A command, its environment, and where it runs.
Command = tuple[Sequence[str | Path], dict[str, str], Path]


def parts() -> list[Part]:
    """All parts. The longest come first, so that none of them runs on alone at the end."""
    return [
        Part("hosts", "molecule", hosts),
        *(
            Part(f"integration-{core}", "integration", partial(integration, core), limit=2400)
            for core in reversed(CORES)
        ),
        *(
            Part(f"molecule-{core}:{scenario}", "molecule", partial(molecule, core, scenario), "hosts")
            for scenario in scenarios()
            for core in (("2.21", "2.19") if scenario in ON_OLDEST_CORE else ("2.21",))
        ),
        Part("faults", "faults", faults, "hosts", limit=FAULTS_LIMIT),
        *(Part(f"sanity-{core}", "sanity", partial(sanity, core), alone="sanity") for core in ("2.19", "2.21")),
        *(Part(f"unit-{core}", "unit", partial(unit, core), alone="unit") for core in CORES),
        Part("unit-host", "unit", unit_host),
        *(Part(f"lint:{name}", "lint", check) for name, check in sessions.linters().items()),
        Part("install", "install", install),
        Part("awx", "awx", awx),
        Part("galaxy", "galaxy", galaxy),
        Part("docs", "docs", docs),
    ]


def left_out(part: Part) -> str:
    """What this part leaves to another core, or to `soak`."""
    left = {f"integration-{core}": targets_left_out(core) for core in CORES}
    left |= {
        f"sanity-{core}": [f"all but {', '.join(SANITY_OF_A_CORE)}"] for core in CORES if not is_sanity_in_full(core)
    }
    left |= {
        f"molecule-{core}:{scenario}": [
            *themes_left_out(core, scenario),
            *(f"the run '{run}'" for run in runs_left_out(core, scenario)),
        ]
        for scenario in THEMES_ON_NEWEST_CORE
        for core in CORES
    }
    left |= {
        f"unit-{core}": [HOST_HALF.name, "documentation", "metadata", "driver"]
        for core in CORES
        if core != machine.newest_core()
    }
    if not SOAK:
        left[f"molecule-{machine.newest_core()}:differential"].append("executing modules in themes about what they do")
    left["unit-check"] = [SHOWN.rpartition("::")[2]]
    return ", ".join(left.get(part.name, []))


# ---- unit


# Tests of what runs on hosts wait more than they work.
SIDE_BY_SIDE = ("-n2", "--dist=loadfile")


def unit(core: str, job: Job, quick: bool = False) -> Counts:
    """quick: three tests at a time, without the one that takes a fifth of the time."""
    environment = lines.test_environment(core)
    tests = "tests/unit"
    options: tuple[str, ...] = SIDE_BY_SIDE
    if quick:
        options = (f"--deselect={SHOWN}", "-n3")
    elif core != machine.newest_core():
        # The tests of the host's half take ten times as long as those of the controller's, and run in unit-host too; those of
        # what there is beside the plugins depend on no core.
        tests, options = "tests/unit/plugins", (f"--ignore={HOST_HALF}",)
    return _pytest(job, ([environment.bin / "pytest", tests, *options], environment.env, ROOT))


def unit_host(job: Job) -> Counts:
    """The tests of what runs on managed hosts, under their oldest Python."""
    version = machine.pick(HOST_PYTHONS)
    environment = Environment(f"unit-host-{version}", version, ("unit-host",)).ready()
    _lend_module_utils(environment)
    folders = [ROOT / "tests" / "unit" / "plugins" / name for name in ("module_utils", "modules")]
    present = [folder for folder in folders if folder.exists()]
    if not present:
        raise Skip("no tests of plugins/module_utils")
    command: list[str | Path] = [environment.bin / "pytest", *present, f"--ignore={PROPERTIES}", *SIDE_BY_SIDE]
    return _pytest(job, (command, environment.env, ROOT))


def _lend_module_utils(environment: Environment) -> None:
    """Provide ansible.module_utils of the oldest supported core, in a package as bare as in a module's payload."""
    source = core_environment("2.19", "unit", "unit").purelib / "ansible"
    target = environment.purelib / "ansible"
    target.mkdir(exist_ok=True)
    (target / "__init__.py").write_text(f"__version__ = {CORES['2.19'][0]!r}\n__author__ = 'Ansible, Inc.'\n")
    machine.link(target / "module_utils", source / "module_utils")


def _pytest(job: Job, command: Command) -> Counts:
    words, env, cwd = command
    status, output = job.call(*words, "-rs", env=env, cwd=cwd)
    last = output.rstrip().rpartition("\n")[2]
    found = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", last):
        found[word] = int(number)
    counts = Counts(found["passed"], found["failed"] + found["error"], found["skipped"])
    counts.notes = re.findall(r"^SKIPPED (.*)", output, re.MULTILINE)
    if status or not counts.passed:
        counts.failed = counts.failed or 1
        raise Failed(f"pytest ended with {status}: {last}", counts)
    return counts


# ---- ansible-test


def sanity(core: str, job: Job) -> Counts:
    environment = core_environment(core, "unit", "unit")
    if is_sanity_in_full(core):
        options = ["--skip-test", "shellcheck"]  # a part of its own
    else:
        targets = (machine.pick(HOST_PYTHONS), environment.python)
        options = [word for name in SANITY_OF_A_CORE for word in ("--test", name)]
        options += [word for python in targets for word in ("--target-python", python)]
    status, output = job.call(
        environment.bin / "ansible-test",
        *("sanity", "--color", "no", *options),
        env=environment.env,
        cwd=_copy_for_ansible_test(core, "sanity", OF_RUFF_ALONE),
    )
    ran = len(set(re.findall(r"^Running sanity test (.*)", output, re.MULTILINE)))
    broken = re.search(r"The (\d+) sanity test\(s\) listed below", output)
    counts = Counts(ran)
    if status or not ran:
        counts.failed = int(broken[1]) if broken else 1
        counts.passed = max(0, ran - counts.failed)
        raise Failed(_complaints(output) or "no sanity test ran", counts)
    return counts


def is_sanity_in_full(core: str) -> bool:
    return SOAK or core == machine.newest_core()


def targets_left_out(core: str) -> list[str]:
    """The integration targets that do not run on this core."""
    oldest, *dummy, newest = CORES
    if core == newest:
        return [] if docker_is_left_out() else list(WITHOUT_HOSTS)
    every = sorted(path.parent.name for path in TARGETS.glob("*/aliases"))  # shared roles have no aliases
    return [name for name in every if name in ON_NEWEST_CORE or (core != oldest and name not in BETWEEN)]


def integration(core: str, job: Job, targets: Sequence[str] = ()) -> Counts:
    """All targets for this core, or the named ones."""
    chosen = targets or tuple(f"--exclude={target}" for target in targets_left_out(core))
    command, env, cwd = integration_command(core, "--continue-on-error", *chosen)
    handed = {name: os.environ[name] for name in ("BGJ_LINES",) if name in os.environ}
    with lines.handing_over(core, TMPDIR=str(job.folder), **handed):
        status, output = job.call(*command, env=env, cwd=cwd)
    ran = set(re.findall(r"^Running (\S+) integration test (?:role|script)", output, re.MULTILINE))
    broken = re.search(r"The (\d+) integration test\(s\) listed below", output)
    if status:
        failed = int(broken[1]) if broken else 1
        raise Failed(_complaints(output), Counts(max(0, len(ran) - failed), failed))
    if not ran:
        raise Failed("ansible-test ran no target")
    return Counts(len(ran))


def integration_command(core: str, *arguments: str) -> Command:
    environment, target = lines.test_environment(core), lines.target_environment(core)
    copy = _copy_for_ansible_test(core, "integration")
    # ansible-test looks for collections only beside the tested one.
    for namespace in test_collections().glob("ansible_collections/*"):
        machine.link(copy.parents[1] / namespace.name, namespace)
    python = f"controller:python={target.python}@{target.bin / 'python'}"
    options = ("--color", "no", "--target", python)
    return [environment.bin / "ansible-test", "integration", *options, *arguments], environment.env, copy


def _complaints(output: str) -> str:
    """ansible-test's errors, which are far from the end of its output."""
    return "\n".join(re.findall(r"^(?:ERROR|FATAL).*", output, re.MULTILINE))


def _copy_for_ansible_test(core: str, purpose: str, without: tuple[str, ...] = ()) -> Path:
    """Copy the tree: ansible-test takes no linked one, and without a repository of its own it would read the one around it."""
    copy = CACHE / "ansible-test" / f"{core}-{purpose}" / "ansible_collections" / "background" / "jobs"
    machine.copy_tree(copy, without)
    _lend_pip(ANSIBLE_TEST_PIP[core])
    return copy


def _lend_pip(version: str) -> None:
    """Put a replacement where ansible-test looks for its download: it runs a pip from the package index."""
    cache = Path.home() / ".ansible" / "test" / "cache"
    script = cache / f"get_pip_{version.replace('.', '_')}.py"
    with machine.lock("pip"):
        if not script.exists():
            _write_get_pip(script, version)


def _write_get_pip(script: Path, version: str) -> None:
    wheel = machine.download(f"pip=={version}", script.parent)
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(wheel)!r})\n"
        "from pip._internal.cli.main import main\n"
        'unknown = ("--no-setuptools", "--no-wheel")\n'
        'sys.exit(main(["install", "--upgrade", *[arg for arg in sys.argv[1:] if arg not in unknown]]))\n'
    )


# ---- Docker hosts and molecule


def hosts(job: Job) -> None:
    """The Docker engine and the images of the hosts."""
    _want_docker()
    env = machine.base_environment()
    job.check(ROOT / "tests" / "docker" / "engine.sh", env=env)
    job.check(ROOT / "tests" / "docker" / "images.sh", env=env)


def molecule(core: str, scenario: str, job: Job) -> None:
    _want_docker()
    command, env, cwd = molecule_command(core, scenario)
    job.check(*command, env=env, cwd=cwd)


def molecule_command(core: str, scenario: str, *arguments: str) -> Command:
    environment = core_environment(core, "molecule", "molecule")
    env = environment.env
    # Two checkouts, or two cores, must not share containers.
    run = hashlib.sha256(f"{ROOT} {core}".encode()).hexdigest()[:6]
    env.update(
        ANSIBLE_COLLECTIONS_PATH=str(test_collections()),
        BGJ_CONTAINER_PREFIX=f"bgj-{run}-{scenario}-",
        MOLECULE_EPHEMERAL_DIRECTORY=str(CACHE / "molecule" / core / scenario),
    )
    themes = {path.stem for path in (SCENARIOS / scenario / "cases").glob("*.yml")}
    env.setdefault("DIFFERENTIAL_THEMES", " ".join(sorted(themes.difference(themes_left_out(core, scenario)))))
    runs = [run for run in CASE_RUNS if run not in runs_left_out(core, scenario)]
    env.setdefault("DIFFERENTIAL_RUNS", " ".join(runs))
    if SOAK:
        env.setdefault("DIFFERENTIAL_WAYS", "all")
    return [environment.bin / "molecule", "test", "--scenario-name", scenario, *arguments], env, ROOT


def themes_left_out(core: str, scenario: str) -> list[str]:
    return [] if SOAK or core == machine.newest_core() else list(THEMES_ON_NEWEST_CORE.get(scenario, ()))


def runs_left_out(core: str, scenario: str) -> list[str]:
    if SOAK:
        return []
    return ["again"] if core == machine.newest_core() and scenario == "differential" else ["check", "again"]


def faults(job: Job) -> Counts:
    """Hosts, connections and controllers that break; FAULTS=full: as often as in the documented figures.

    The full form includes the property test, whose short form is in unit.
    """
    _want_docker()
    tests = [FAULTS, *([PROPERTIES] if SOAK else [])]
    # Half of their time is waiting: two at a time took six minutes, one at a time nine.
    return _pytest(job, faults_command(machine.newest_core(), "-n2", "--maxschedchunk=1", *map(str, tests)))


def faults_command(core: str, *arguments: str) -> Command:
    environment = core_environment(core, "unit", "unit")
    env = environment.env
    env.update(
        ANSIBLE_COLLECTIONS_PATH=str(test_collections()),
        BGJ_CONTAINER_PREFIX=f"bgj-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}-faults-",
    )
    if SOAK:
        env["BGJ_CORE_TARGETS"] = str(_core_targets())
    return [environment.bin / "pytest", *arguments], env, ROOT


def _core_targets() -> Path:
    """The integration targets of the newest ansible-core, which only its source distribution has."""
    version = CORES[machine.newest_core()][0]
    target = CACHE / "core-targets" / version
    if not target.exists():
        archive = machine.download_source(f"ansible-core=={version}", CACHE / "sources")
        unpacked = target.with_suffix(".part")
        shutil.rmtree(unpacked, ignore_errors=True)
        prefix = f"ansible_core-{version}/test/integration/targets/"
        with tarfile.open(archive) as source:
            source.extractall(unpacked, [one for one in source if one.name.startswith(prefix)], filter="data")
        (unpacked / prefix).rename(target)
        shutil.rmtree(unpacked)
    return target


# ---- AWX


def awx(job: Job) -> Counts:
    """Tests of the guide to AWX, under ansible-runner."""
    return _pytest(job, awx_command(machine.newest_core(), AWX))


def awx_command(core: str, *arguments: str | Path) -> Command:
    environment = core_environment(core, "awx", "awx")
    return [environment.bin / "pytest", *arguments], environment.env, ROOT


def scenarios() -> list[str]:
    return sorted(path.parent.name for path in SCENARIOS.glob("*/molecule.yml"))


def docker_is_left_out() -> bool:
    return os.environ.get("SKIP_DOCKER") == "1"


def _want_docker() -> None:
    if docker_is_left_out():
        raise Skip("SKIP_DOCKER=1: NOTHING WAS TESTED AGAINST DOCKER HOSTS")


def test_collections() -> Path:
    """The collections that tests use, taken from the `ansible` package, without Galaxy."""
    target = CACHE / "collections" / ANSIBLE_PACKAGE.replace("==", "-")
    with machine.lock("collections"):
        if not target.exists():
            wheel = machine.download(ANSIBLE_PACKAGE, CACHE / "wheels")
            unpacked = target.with_suffix(".part")
            prefixes = tuple(f"ansible_collections/{name}/" for name in TEST_COLLECTIONS)
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked, [name for name in archive.namelist() if name.startswith(prefixes)])
            unpacked.rename(target)
            wheel.unlink()
    return target
