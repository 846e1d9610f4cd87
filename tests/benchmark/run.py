#!/usr/bin/env python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast this collection is, beside ansible-core's async, over SSH to a Docker host, in one run.

    make benchmark                    everything
    BENCHMARK_JOBS=50 make benchmark  with fewer jobs
    BENCHMARK=sent,crowd make benchmark  some of it; BENCHMARK_WAIT=60: with a shorter wait for 1,000 jobs

Each pair is measured in turn, core then this collection, so that a machine whose speed drifts harms both alike.
The figures are also written to build/benchmark.json.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import modules
import reach

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOST_SCRIPT = ROOT / "tests" / "docker" / "host.sh"
CONTAINER = f"bgj-benchmark-{os.getpid()}"
RUNS = 5
SIZES = [int(size) for size in os.environ.get("BENCHMARK_JOBS", "50,200").split(",")]
# What -vvv prints of each operation on the host: a command, or a file that is sent.
REMOTE_OPERATION = re.compile(r"^<[^>]+> (?:SSH: )?(?:EXEC|PUT|FETCH|SFTP) ", re.MULTILINE)

# PSS of the processes of a batch, in kB, and how many they are: run on the host.
MEMORY = """
import os, re, sys
parents, pss = {}, {}
for pid in filter(str.isdigit, os.listdir('/proc')):
    try:
        with open('/proc/%s/stat' % pid) as f: parents[pid] = f.read().rsplit(')', 1)[1].split()[1]
        with open('/proc/%s/smaps_rollup' % pid) as f: pss[pid] = int(re.search(r'^Pss: +(\\d+)', f.read(), re.M).group(1))
    except OSError:
        pass
with open(sys.argv[1]) as f: root = re.search(r'"supervisor": \\{[^}]*"pid": (\\d+)', f.read()).group(1)
def below(pid): return [pid] + [p for child, parent in parents.items() if parent == pid for p in below(child)]
found = [pid for pid in below(root) if pid in pss]
print(sum(pss[pid] for pid in found), len(found))
"""


class Host:
    """A Docker host over SSH, and playbooks that are run against it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        key = folder / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        port = subprocess.run(
            [HOST_SCRIPT, "up", CONTAINER, "bookworm", f"{key}.pub"], check=True, capture_output=True, text=True
        ).stdout.strip()
        (folder / "inventory.ini").write_text(
            f"bench ansible_host=127.0.0.1 ansible_port={port} ansible_user=root "
            f"ansible_ssh_private_key_file={key} ansible_python_interpreter=/usr/bin/python3\n"
        )
        (folder / "ansible.cfg").write_text(
            "[defaults]\nhost_key_checking = false\nretry_files_enabled = false\n"
            "[ssh_connection]\npipelining = true\nssh_args = -C -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null\n"
        )

    def play(self, playbook: str, *options: str, **variables: object) -> tuple[float, str]:
        """Run a playbook; return its seconds and what it printed."""
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            str(self.folder / "inventory.ini"),
            str(HERE / playbook),
            *options,
        ]
        for key, value in variables.items():
            command += ["-e", json.dumps({key: value})]
        env = dict(os.environ, ANSIBLE_CONFIG=str(self.folder / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
        before = time.monotonic()
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - before
        if done.returncode:
            sys.exit(f"{playbook} failed:\n{done.stdout[-3000:]}\n{done.stderr[-1000:]}")
        return seconds, done.stdout

    def run(self, *command: str) -> str:
        return subprocess.run(
            ["docker", "exec", CONTAINER, *command], check=True, capture_output=True, text=True
        ).stdout

    def clean(self) -> None:
        """Remove the records of jobs, and not the programs that the host keeps."""
        # a launch may have been all that was measured: its jobs come to their end first
        self.run(
            "sh",
            "-c",
            "while pgrep -f '[b]ackground.jobs supervisor' >/dev/null; do sleep 0.1; done; cd /root/.ansible_async || exit 0; "
            "rm -rf j*; ls -A .background_jobs | grep -vx modules | sed s,^,.background_jobs/, | xargs -r rm -rf",
        )

    def close(self) -> None:
        subprocess.run([HOST_SCRIPT, "down", CONTAINER], check=True, capture_output=True)


def median(host: Host, playbook: str, runs: int, **variables: object) -> float:
    times = []
    for dummy in range(runs):
        times.append(host.play(playbook, **variables)[0])
        host.clean()
    return statistics.median(times)


def side_by_side(host: Host, figures: dict[str, object]) -> None:
    host.play("core.yml", count=1)
    host.play("jobs.yml", count=1)
    core_one, ours_one = median(host, "core.yml", RUNS, count=1), median(host, "jobs.yml", RUNS, count=1)
    rows = []
    for size in SIZES:
        ours = median(host, "jobs.yml", RUNS, count=size)
        core = median(host, "core.yml", 1, count=size)
        ours_again = median(host, "jobs.yml", RUNS, count=size)
        ours = statistics.median([ours, ours_again])
        others = _others(host, size)
        rows.append(
            {
                "jobs": size,
                "core": round(core, 2),
                "background.jobs": round(ours, 2),
                **others,
                "ratio": round(core / ours, 1),
                "core_marginal_ms": round((core - core_one) / (size - 1) * 1000, 1),
                "marginal_ms": round((ours - ours_one) / (size - 1) * 1000, 2),
            }
        )
        print(
            f"{size} x `command: true`, launch and wait: core {core:.1f} s, background.jobs {ours:.2f} s, ratio {core / ours:.1f}; "
            f"marginal cost of a job: {rows[-1]['core_marginal_ms']} ms and {rows[-1]['marginal_ms']} ms; others: {others}",
            flush=True,
        )
    figures["side_by_side"] = rows
    figures["one_job"] = {"core": round(core_one, 2), "background.jobs": round(ours_one, 2)}


def _others(host: Host, size: int) -> dict[str, float]:
    """Return the median seconds of what people use instead: a plain loop under Mitogen, and programs in one `shell` task."""
    found = {}
    under = [modules.under_mitogen(host, str(HERE / "loop.yml"), count=size) for dummy in range(RUNS)]
    if None not in under:
        found["mitogen"] = round(statistics.median(under), 2)
    programs = {"xargs": "xargs -P8 -I{} true"}
    if _has_parallel(host):
        programs["parallel"] = "parallel -j8 true"
    for name, program in programs.items():
        found[name] = round(median(host, "floor.yml", RUNS, count=size, program=program), 2)
    return found


def _has_parallel(host: Host) -> bool:
    """Have GNU parallel on the host; say so if it can't be installed."""
    install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends parallel"
    try:
        host.run("sh", "-c", f"command -v parallel || {{ {install}; }}")
    except subprocess.CalledProcessError:
        print("GNU parallel is not on the host and can't be installed: not compared", flush=True)
        return False
    return True


def remote_calls(host: Host, figures: dict[str, object]) -> None:
    calls = {}
    for count in (1, 10, 200):
        calls[count] = len(REMOTE_OPERATION.findall(host.play("launch.yml", "-vvv", count=count)[1]))
        host.clean()
    print(
        "remote operations of a launch: " + ", ".join(f"{count} with {jobs} jobs" for jobs, count in calls.items()),
        flush=True,
    )
    figures["remote_operations"] = calls


def latency(host: Host, figures: dict[str, object]) -> None:
    found = {}
    for count, seconds in ((1, 2), (200, 4), (1000, 15)):
        times = []
        for dummy in range(RUNS):
            output = host.play("latency.yml", count=count, seconds=seconds)[1]
            times.append(float(re.search(r"latency ([0-9.]+)", output)[1]))
            host.clean()
        found[count] = round(statistics.median(times), 3)
        print(
            f"from the end of the last of {count} jobs to the answer: median {found[count]} s of {[round(t, 3) for t in times]}",
            flush=True,
        )
    figures["latency"] = found


def against_parallel(host: Host, figures: dict[str, object]) -> None:
    """The cost of a job on the host alone, beside GNU parallel's."""
    if not _has_parallel(host):
        return
    size, ratios, ours_ms, theirs_ms = 500, [], [], []
    for dummy in range(RUNS):
        before = time.monotonic()
        host.run("sh", "-c", f"seq {size} | parallel -j8 true")
        theirs = (time.monotonic() - before) / size * 1000
        batch = re.search(r"batch (b\d+)", host.play("jobs.yml", count=size, forget=False)[1])[1]
        journal = [
            json.loads(line)
            for line in host.run("cat", f"/root/.ansible_async/.background_jobs/{batch}/journal").splitlines()
        ]
        started = min(entry["at"] for entry in journal if entry["state"] == "running")
        ours = (max(entry["at"] for entry in journal) - started) / size * 1000
        host.clean()
        ratios.append(ours / theirs)
        ours_ms.append(ours)
        theirs_ms.append(theirs)
    figures["parallel"] = {
        "ours_ms": round(statistics.median(ours_ms), 2),
        "parallel_ms": round(statistics.median(theirs_ms), 2),
        "ratio": round(statistics.median(ratios), 2),
    }
    print(f"a job on the host, width 8: {figures['parallel']}", flush=True)


def memory(host: Host, figures: dict[str, object]) -> None:
    size = 100
    batch = re.search(r"batch (b\d+)", host.play("launch.yml", count=size, width=size, command="sleep 60")[1])[1]
    path = f"/root/.ansible_async/.background_jobs/{batch}"
    deadline = time.monotonic() + 30
    while host.run("cat", f"{path}/journal").count('"running"') < size and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)  # until each job has come to its sleep
    kilobytes, processes = map(int, host.run("python3", "-c", MEMORY, f"{path}/batch.json").split())
    figures["memory"] = {"mb_a_job": round(kilobytes / 1024 / size, 2), "processes_a_job": round(processes / size, 2)}
    print(f"memory (PSS) of a running `command: sleep`, width {size}: {figures['memory']}", flush=True)


def records(host: Host, figures: dict[str, object]) -> None:
    """The host's half of async_info and async_prune, on this machine, without what brings it there."""
    output = subprocess.run([sys.executable, HERE / "records.py"], check=True, capture_output=True, text=True).stdout
    figures["records"] = json.loads(output)
    for what, (listed, forgotten) in figures["records"].items():
        print(f"{what}: listed in {listed} s, forgotten in {forgotten} s", flush=True)


MEASURES = {
    "remote_calls": remote_calls,
    "latency": latency,
    "against_parallel": against_parallel,
    "memory": memory,
    "records": records,
    "side_by_side": side_by_side,
    **modules.MEASURES,
    **reach.MEASURES,
}


def main() -> None:
    chosen = os.environ.get("BENCHMARK")
    figures: dict[str, object] = {}
    folder = Path(tempfile.mkdtemp(prefix="bgj-benchmark-"))
    host = Host(folder)
    try:
        for name in chosen.split(",") if chosen else MEASURES:
            MEASURES[name](host, figures)
    finally:
        host.close()
        shutil.rmtree(folder)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "benchmark.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
