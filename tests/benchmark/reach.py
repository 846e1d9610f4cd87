# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured beside the time of whole playbooks: bytes that are sent, processor time, many jobs, many hosts, a slow line.

Each of these takes the host of run.py and the figures that it adds to.
"""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from run import Host

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
_TASKS = 10  # in one play, for what a task more costs
_HOSTS, _FORKS = 40, 5
_DELAY = 0.1  # seconds each way
_LONG = float(os.environ.get("BENCHMARK_WAIT", "600"))  # seconds of the long wait
_IDLE = 60  # seconds of a task that does nothing
_MANY = 1000  # jobs of the long wait
_SELDOM = 0.01  # seconds between two looks of ansible-core for results, in place of 0.001
_CPU = "cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || awk '/usage_usec/ {print $2 * 1000}' /sys/fs/cgroup/cpu.stat"
# Runs a module, and notes the processor time of it alone: what outlives it is not waited for.
_COUNTED_PYTHON = '#!/bin/sh\n/usr/bin/python3 "$@"\ncode=$?\ntimes >> /tmp/times\nexit $code\n'

Figures = dict[str, object]


def sent(host: Host, figures: Figures) -> None:
    """Bytes of each call of a play that launches and waits twice, before SSH compresses them."""
    counted = host.folder / "counted-ssh"
    counted.write_text(f'#!/bin/sh\ntee "{host.folder}/sent.$(date +%s%N)" | ssh "$@"\n')
    counted.chmod(0o700)
    host.clean()
    host.play("twice.yml", ansible_ssh_executable=str(counted))
    sizes = [path.stat().st_size for path in sorted(host.folder.glob("sent.*"))]
    calls = [size for size in sizes if size]
    figures["bytes_sent"] = {"first": calls[0], "later": max(calls[1:])}
    host.clean()
    print(f"bytes sent: {figures['bytes_sent']}", flush=True)


def _processor_time(host: Host, playbook: str, **variables: object) -> tuple[float, float, float]:
    """Return the seconds that a playbook takes, and of processor time on the controller and on the host."""
    before, on_host = resource.getrusage(resource.RUSAGE_CHILDREN), _on_host(host)
    seconds = host.play(playbook, **variables)[0]
    time.sleep(1)  # for supervisors to end
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, spent, _on_host(host) - on_host


def _on_host(host: Host) -> float:
    return int(host.run("sh", "-c", _CPU)) / 1e9


def one_job(host: Host, figures: Figures) -> None:
    """Processor time of one job that is waited for, against its plain task: what a task more of a play costs."""
    host.play("tasks.yml", plain=1, jobs=1)
    rows = []
    for dummy in range(RUNS):
        base = _processor_time(host, "tasks.yml", plain=1, jobs=1)
        plain = _processor_time(host, "tasks.yml", plain=1 + _TASKS, jobs=1)
        jobs = _processor_time(host, "tasks.yml", plain=1, jobs=1 + _TASKS)
        rows.append([[(full - least) / _TASKS for full, least in zip(one, base, strict=True)] for one in (plain, jobs)])
        host.clean()
    found = {
        name: [round(statistics.median(row[index][column] for row in rows), 3) for column in range(3)]
        for index, name in enumerate(("plain", "job"))
    }
    ratio = statistics.median(sum(job[1:]) / sum(plain[1:]) for plain, job in rows)
    figures["one_job_processor_time"] = {**found, "ratio": round(ratio, 2)}
    print(f"a task more [seconds, CPU of controller, of host]: {found}, CPU of a job {ratio:.2f} times", flush=True)


def many(host: Host, figures: Figures) -> None:
    """What a job costs on the host among 5,000, against among 100."""
    costs: dict[int, list[float]] = {100: [], 5000: []}
    for dummy in range(RUNS):
        for size, found in costs.items():
            batch = re.search(r"batch (b\d+)", host.play("jobs.yml", count=size, forget=False)[1])[1]  # type: ignore[index]
            found.append(_of_journal(host, batch, size))
            host.clean()
    medians = {size: round(statistics.median(found), 2) for size, found in costs.items()}
    ratio = statistics.median(large / small for small, large in zip(*costs.values(), strict=True))
    figures["many"] = {"ms_a_job": medians, "ratio": round(ratio, 2)}
    print(f"ms of a job among so many: {medians}, ratio {ratio:.2f}", flush=True)


def _of_journal(host: Host, batch: str, size: int) -> float:
    """Return the milliseconds of a job from the first start of one to the last end."""
    text = host.run("cat", f"/root/.ansible_async/.background_jobs/{batch}/journal")
    journal = [json.loads(line) for line in text.splitlines()]
    started = min(entry["at"] for entry in journal if entry["state"] == "running")
    return (max(entry["at"] for entry in journal) - started) / size * 1000


def crowd(host: Host, figures: Figures) -> None:
    """Many hosts and few forks: a launch of three jobs and a wait, against two plain tasks; and with the wait in the launch.

    Hosts keep what they are sent: "first" is a run on hosts that have never seen the collection.
    """
    inventory = host.folder / "inventory.ini"
    one = inventory.read_text()
    names = [f"host{number}" for number in range(_HOSTS)]
    jobs = "crowd.yml"
    plays = {
        "plain": ("crowd_plain.yml", {}),
        "first": (jobs, {}),
        "jobs": (jobs, {}),
        "at once": (jobs, {"at_once": True}),
    }
    found: dict[str, list[float]] = {name: [] for name in plays}
    inventory.write_text("".join(one.replace("bench", name, 1) for name in names))
    try:
        for dummy in range(RUNS):
            for name, (playbook, variables) in plays.items():
                found[name].append(host.play(playbook, "--forks", str(_FORKS), **variables)[0])
                host.clean()
            host.run("rm", "-rf", *(f"/root/{one}" for one in names))
    finally:
        inventory.write_text(one)
    medians = {name: round(statistics.median(times), 2) for name, times in found.items()}
    ratio = statistics.median(jobs / plain for jobs, plain in zip(found["jobs"], found["plain"], strict=True))
    figures["crowd"] = {"hosts": _HOSTS, "forks": _FORKS, "seconds": medians, "ratio": round(ratio, 2)}
    print(f"{_HOSTS} hosts, {_FORKS} forks: {medians}, launch and wait {ratio:.2f} times two plain tasks", flush=True)


def long_wait(host: Host, figures: Figures) -> None:
    """Percent of a core that a wait for 1,000 jobs takes, on the controller and on the host.

    idle_percent: what a plain task that sleeps takes on the controller, where ansible-core looks for results all the time.
    seldom: the same where ansible.cfg tells it to do so less often.
    """
    config = host.folder / "ansible.cfg"
    before = config.read_text()
    figures["long_wait"] = usual = _waited(host)
    try:
        config.write_text(before.replace("[defaults]", f"[defaults]\ninternal_poll_interval = {_SELDOM}"))
        usual["seldom"] = _waited(host)
    finally:
        config.write_text(before)
    print(f"a wait for {_MANY} jobs: {usual}", flush=True)


def _waited(host: Host) -> dict[str, object]:
    width = 8
    command = f"sleep {_LONG * width / _MANY}"
    batch = re.search(r"batch (b\d+)", host.play("launch.yml", count=_MANY, width=width, command=command)[1])[1]  # type: ignore[index]
    host.run("sh", "-c", f"printf '%s' '{_COUNTED_PYTHON}' > /tmp/python && chmod 755 /tmp/python && rm -f /tmp/times")
    seconds, on_controller, dummy = _processor_time(
        host, "follow.yml", batch=batch, ansible_python_interpreter="/tmp/python"
    )
    of_children = host.run("cat", "/tmp/times").splitlines()[1::2]  # below a line of the shell's own
    spent = sum(
        int(minutes) * 60 + float(rest) for minutes, rest in re.findall(r"(\d+)m([0-9.]+)s", " ".join(of_children))
    )
    idle = [_processor_time(host, "sleep.yml", seconds=taken)[1] for taken in (1, 1 + _IDLE)]
    host.clean()
    return {
        "seconds": round(seconds, 1),
        "controller_percent": round(on_controller / seconds * 100, 2),
        "idle_percent": round((idle[1] - idle[0]) / _IDLE * 100, 2),
        "host_percent": round(spent / seconds * 100, 2),
    }


def staged(host: Host, figures: Figures) -> None:
    """Round trips that 4 MB of files add to a launch of 200 jobs, and to SSH alone, which keeps 2 MiB on their way at most."""
    sys.path.insert(0, str(ROOT / "tests" / "faults"))
    from relay import Relay  # of the fault tests

    count = 200
    files = host.folder / "files"
    files.mkdir()
    for number in range(count):
        (files / str(number)).write_bytes(os.urandom(4_000_000 // count))
    port = int(re.search(r"ansible_port=(\d+)", (host.folder / "inventory.ini").read_text())[1])  # type: ignore[index]
    seconds: dict[str, list[float]] = {}
    for delay in (0.0, _DELAY):
        with Relay(port, delay) as relay:
            way = {"ansible_port": relay.port, "ansible_ssh_common_args": f"-o ControlPath={host.folder}/cp-{delay}"}
            host.play("staged.yml", count=1, **way)  # connects, and has the module kept
            for dummy in range(RUNS):
                for name, more in (("without", {}), ("with", {"files": str(files)})):
                    seconds.setdefault(f"{name}, {delay}", []).append(
                        host.play("staged.yml", count=count, **way, **more)[0]
                    )
                    host.clean()
                for name, data in (("nothing", b""), ("its bytes", base64.b64encode(os.urandom(4_000_000)))):
                    taken = _through_ssh(host, relay.port, data)
                    seconds.setdefault(f"{name}, {delay}", []).append(taken)
    medians = {name: round(statistics.median(times), 2) for name, times in seconds.items()}
    trips = {}
    for what, least, full in (("round_trips", "without", "with"), ("of_ssh_alone", "nothing", "its bytes")):
        more = [medians[f"{full}, {delay}"] - medians[f"{least}, {delay}"] for delay in (0.0, _DELAY)]
        trips[what] = round((more[1] - more[0]) / (2 * _DELAY), 1)
    figures["staged"] = {"seconds": medians, **trips}
    print(f"200 jobs and 4 MB of files: {figures['staged']}", flush=True)


def _through_ssh(host: Host, port: int, data: bytes) -> float:
    """Return the seconds that a command takes which reads this, over a connection of its own that is there already."""
    options = [
        "-C",
        "-i",
        host.folder / "id_ed25519",
        "-o",
        f"ControlPath={host.folder}/alone-{port}",
        "-o",
        "LogLevel=ERROR",
    ]
    options += ["-o", "ControlMaster=auto", "-o", "ControlPersist=10s", "-o", "StrictHostKeyChecking=no"]
    command = [
        "ssh",
        *options,
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-p",
        str(port),
        "root@127.0.0.1",
        "cat >/dev/null",
    ]
    subprocess.run(command, input=b"", check=True, capture_output=True)
    before = time.monotonic()
    subprocess.run(command, input=data, check=True, capture_output=True)
    return time.monotonic() - before


MEASURES = {"sent": sent, "one_job": one_job, "many": many, "crowd": crowd, "staged": staged, "long_wait": long_wait}
