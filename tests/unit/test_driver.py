# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver of the tests: what it says of a run can be believed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "driver"


@pytest.fixture(autouse=True)
def _driver(monkeypatch):
    monkeypatch.syspath_prepend(str(DRIVER))


def run(code: str, place: Path, shared: str = "", **options) -> subprocess.Popen:
    """A program beside the driver's modules, for which `place` is the machine's folder of temporary files."""
    env = os.environ | {"TMPDIR": str(place), "PYTHONPATH": str(DRIVER), "SHARED_TMP": shared}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )


RUN = """
import os, sys, runner
from pathlib import Path
runner.LOGS = Path("logs")
def part(job):
    job.check("sh", "-c", {script!r}, env=dict(os.environ))
sys.exit(runner.Runner([runner.Part("one", "group", part, limit=1)], 1).run().failed)
"""


@pytest.mark.parametrize(
    ("script", "failed"),
    [
        ("mktemp", 0),
        ('mktemp "$TMPDIR/bgj.XXXX"', 0),
        ("mktemp {place}/ansible_async_run_payload_XXXX", 1),
        ("mkdir {place}/pytest-of-someone {place}/background_jobs_test_1", 2),
        ("touch {place}/somebody-elses", 0),
    ],
)
def test_a_run_fails_for_what_it_leaves_behind(tmp_path, script, failed):
    place = tmp_path / "tmp"
    place.mkdir()

    process = run(RUN.format(script=script.format(place=place)), place, cwd=tmp_path)
    said = process.communicate()[0]

    assert process.returncode == failed
    assert said.endswith(f"{2 - bool(failed)} passed, {failed} failed\n")
    assert ("LEFT BEHIND" in said) == bool(failed)
    assert ("somebody-elses" in said) == ("somebody-elses" in script)
    assert not list(place.glob("bgj*"))


def test_where_others_use_the_folder_too_what_is_left_is_told_only(tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()

    process = run(RUN.format(script=f"mktemp {place}/ansible_XXXX"), place, shared="1", cwd=tmp_path)
    said = process.communicate()[0]

    assert process.returncode == 0
    assert "LEFT BEHIND" in said


def test_the_folder_of_a_part_goes_though_the_driver_is_killed(tmp_path):
    code = "import leftovers, sys; print(leftovers.Scratch().folder(), flush=True); sys.stdin.read()"
    process = run(code, tmp_path)
    folder = Path(process.stdout.readline().strip())
    assert folder.is_relative_to(tmp_path)
    assert folder.is_dir()

    process.kill()
    process.wait()
    process.stdout.read()  # until all that might still write there have ended

    assert not list(tmp_path.iterdir())


def test_a_root_without_its_run_goes_with_the_next_and_those_of_other_runs_stay(tmp_path):
    from leftovers import Scratch, left_behind

    gone = subprocess.Popen(["true"])
    gone.wait()
    abandoned, other = tmp_path / f"bgj-{gone.pid}-x", tmp_path / f"bgj-{os.getppid()}-y"
    abandoned.mkdir()
    other.mkdir()

    scratch = Scratch(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted([other, scratch.root])
    assert scratch.close() == ([], [])
    assert left_behind(set(), {other.name, abandoned.name}) == ([abandoned.name], [])


def test_a_part_that_takes_too_long_is_ended(tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()

    process = run(RUN.format(script="sleep 60"), place, cwd=tmp_path)

    assert "not finished after 1 s" in process.communicate()[0]
    assert process.returncode == 1


FAILING = """
import os, runner
from pathlib import Path
runner.LOGS = Path("logs")
def part(job):
    output = "TASK [one] ***\\\\nok: [web1]\\\\nTASK [two] ***\\\\nfatal: [web1]: not this\\\\nfatal: [web2]: nor that\\\\n"
    job.call("printf", output + "more\\\\n" * 100, env=dict(os.environ), cwd=Path.cwd())
    raise runner.Failed("see its log")
runner.Runner([runner.Part("one", "group", part)], 1).run()
"""


def test_what_failed_is_said_at_the_end_though_it_is_far_from_the_end_of_its_log(tmp_path):
    output = run(FAILING, tmp_path, cwd=tmp_path).communicate()[0]

    assert output.partition("FAILED PARTS: one\n")[2].splitlines() == [
        "----- one",
        "see its log",
        "TASK [two]: fatal: [web1]: not this",
        "fatal: [web2]: nor that",
        "1 passed, 1 failed",
    ]


def test_what_is_pinned_twice_is_pinned_alike():
    import machine

    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (machine.REQUIREMENTS / "nox-sessions.txt").read_text(), re.MULTILINE))
    own = re.findall(r"^[\w-]+==\S+", (machine.REQUIREMENTS / "nox.txt").read_text(), re.MULTILINE)
    head = re.search(r"^# dependencies = \[(.*)\]", (ROOT / "noxfile.py").read_text(), re.MULTILINE)[1]

    assert pins["ansible-core"] == machine.CORES[max(machine.CORES)][0]
    assert re.findall(r'"(.*?)"', head) == sorted(own, reverse=True)


def test_what_ansible_test_keeps_from_targets_is_handed_over_meanwhile(tmp_path, monkeypatch):
    import machine

    monkeypatch.setattr(machine.Environment, "purelib", tmp_path)
    monkeypatch.delenv("TMPDIR", raising=False)
    code = f"import site, os; site.addsitedir({str(tmp_path)!r}); print(os.environ.get('TMPDIR'), os.environ['HOME'])"

    def seen() -> list[str]:
        return subprocess.run(
            [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()

    with machine.Environment("any", "3.13", ()).handing_over(TMPDIR=str(tmp_path), HOME="/nobody"):
        assert seen() == [str(tmp_path), os.environ["HOME"]]
    assert seen() == ["None", os.environ["HOME"]]
    with machine.Environment("any", "3.13", ()).handing_over(TMPDIR=str(tmp_path / "gone")):
        assert seen() == ["None", os.environ["HOME"]]


def test_each_line_that_any_process_runs_is_counted(tmp_path):
    """Also where the process is forked, is killed, or has read the program as text."""
    plugins = tmp_path / "ansible_collections" / "background" / "jobs" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "one.py").write_text(
        "import os, signal\n"
        "def begun():\n"
        "    if os.fork():\n"
        "        os.wait()\n"
        "    else:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "        print('never')\n"
        "begun()\n"
    )
    (tmp_path / "index").write_text(f"{plugins}/\n0 one.py\n20 module_utils/_fork_server/server.py\n")
    (tmp_path / "lines").write_bytes(bytes(40))
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'tests' / 'coverage')!r}, {str(plugins)!r}]; import collect; import one; "
        "exec(compile('x = 1\\n\\ny = 2', 'background.jobs server', 'exec'))"
    )
    if sys.version_info < (3, 12):
        pytest.skip("sys.monitoring came with Python 3.12")

    subprocess.run([sys.executable, "-S", "-c", code], env={"BGJ_LINES": str(tmp_path)}, check=True)

    lines = [index for index, seen in enumerate((tmp_path / "lines").read_bytes()) if seen]
    assert lines == [1, 2, 3, 4, 6, 8, 21, 23]


INTERRUPTED = """
import os, runner, signal, threading
from pathlib import Path
runner.LOGS = Path("logs")
def interrupt(*dummy):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, interrupt)  # SIGINT may be ignored by whoever runs the tests
def first(job):
    try:
        job.call("sh", "-c", "echo >&2; kill -TERM $PPID; exec sleep 60", env=dict(os.environ))
    finally:
        job.call("touch", "gone-on", env=dict(os.environ), cwd=Path.cwd())
def second(job):
    job.call("touch", "second", env=dict(os.environ), cwd=Path.cwd())
parts = [runner.Part(name, "group", part, limit=60) for name, part in (("first", first), ("second", second))]
one = runner.Runner(parts, 1)
try:
    one.run()
except KeyboardInterrupt:
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(30)
    print("interrupted")
"""


def test_what_is_interrupted_starts_nothing_more(tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()
    said = run(INTERRUPTED, place, shared="1", cwd=tmp_path).communicate(timeout=60)[0]
    assert said.endswith("interrupted\n")
    assert not (tmp_path / "gone-on").exists()
    assert not (tmp_path / "second").exists()
