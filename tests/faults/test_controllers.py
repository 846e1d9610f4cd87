# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Killed controllers, and controllers that do the same at the same time."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .relay import Relay

SIZE = 4
LOG = "/root/log"
ALONE = {"ANSIBLE_SSH_ARGS": "-o UserKnownHostsFile=/dev/null -o ControlMaster=no -o ControlPath=none"}

# The program of a job: it logs its start, each signal, and its end, and takes a while.
JOB = (
    f'say() {{ echo "$1" {{{{ item_of }}}} $$ $(date +%s.%N) >> {LOG}; }}; '
    "trap 'say signal; sleep 0.3; exit 1' TERM INT HUP; "
    "say start; for i in {{ tenths }}; do sleep 0.1; done; say end"
)

# Lists everything that runs on a host, except its own services and this program.
IDLE = """
import json, os
left = []
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open("/proc/%s/cmdline" % name, "rb") as stream:
            words = stream.read().replace(b"\\0", b" ").decode().strip()
    except OSError:
        continue
    known = ("host-init", "sleep 86400", "sshd")
    if words and int(name) not in (1, os.getpid()) and not any(word in words for word in known):
        left.append(words[:200])
print(json.dumps({"left": left}))
"""

RECORDS = """
import json, os, sys
top, batch_id = os.path.expanduser("~/.ansible_async"), sys.argv[1]
folder = os.path.join(top, ".background_jobs", batch_id)
jids = [name for name in (os.listdir(top) if os.path.isdir(top) else []) if name.startswith("j" + batch_id[1:])]
print(json.dumps({"folder": os.path.isdir(folder), "whole": os.path.exists(folder + "/batch.json"), "jids": jids}))
"""

# Opens each journal soon after it is made, so that it can be read even after its removal.
KEEPER = """
import json, os, sys, time
top, kept = os.path.expanduser("~/.ansible_async/.background_jobs"), {}
while not os.path.exists("/root/enough"):
    for name in os.listdir(top) if os.path.isdir(top) else []:
        if name.startswith("b") and name not in kept:
            try:
                kept[name] = open(os.path.join(top, name, "journal"))
            except OSError:
                pass
    time.sleep(0.01)
print(json.dumps({name: stream.read().splitlines() for name, stream in kept.items()}))
"""


def descendants(pid: int) -> list[int]:
    """A process and all that descends from it: the workers of Ansible have process groups of their own."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def kill(running: Any) -> None:
    """SIGKILL a playbook with all of its processes."""
    os.kill(running.process.pid, signal.SIGSTOP)  # so that it starts no more processes
    for pid in descendants(running.process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it has already ended
    running.process.wait()


def idle(web: Any, until: Any) -> None:
    left: list[str] = []

    def looked() -> bool:
        left[:] = web.python(IDLE)["left"]
        return not left

    try:
        until(looked, "the host is idle")
    except AssertionError as exc:
        raise AssertionError(f"{exc}: {left}") from exc


def job(item_of: str, tenths: int) -> str:
    return JOB.replace("{{ item_of }}", item_of).replace("{{ tenths }}", " ".join(map(str, range(tenths))))


def batch(name: str, batch_id: str, lengths: list[int]) -> dict[str, Any]:
    tasks = [
        {"name": f"job {number}", "ansible.builtin.shell": job(f"{batch_id}.{number}", tenths)}
        for number, tenths in enumerate(lengths)
    ]
    return {"name": name, "background.jobs.async_batch": {"batch_id": batch_id, "tasks": tasks, "concurrency": 3}}


def log_of(web: Any) -> list[tuple[str, str, int, float]]:
    """What the jobs have logged: (start, signal or end, which job, pid, when)."""
    lines = [line.split() for line in web.run("sh", "-c", f"cat {LOG} 2>/dev/null || true").splitlines()]
    return [(what, which, int(pid), float(at)) for what, which, pid, at in lines]


@pytest.fixture
def far(host) -> Iterator[tuple[Any, Relay]]:
    """A host behind a relay, and the relay."""
    web = host(connection="ssh")
    with Relay(web.port) as relay:
        behind = copy.copy(web)
        behind.port = relay.port
        yield behind, relay


@pytest.fixture
def killed_launch(far, play, until) -> Callable[[str, str, float, bool], None]:
    """killed_launch(batch_id, way, share, known): launch, and kill the controller.

    Ways: after a share of the "time" that a launch takes; when the host has got a share of the "bytes", and gets no
    more; or "late": a share of half a second after it has got all of them. known: whether the controller knows what the
    host keeps, and sends less.
    """
    behind, relay = far
    controllers = ALONE, ALONE | play.known
    measured = []
    for number, env in enumerate((controllers[1], *controllers)):
        before, begun = relay.bytes["up"], time.monotonic()
        play(behind, [batch("launch", f"b99999999999999{number}", [0] * SIZE)], env=env)
        measured.append((relay.bytes["up"] - before, time.monotonic() - begun))

    def launch(batch_id: str, way: str, share: float, known: bool) -> None:
        most, takes = measured[1 + known]
        resets, before = relay.resets, relay.bytes["up"]
        if way == "bytes":
            relay.reset_after(max(1, int(0.95 * share * most)), "up", for_good=True)
        running = play.start(behind, [batch("launch", batch_id, [0] * SIZE)], env=controllers[known])
        if way == "time":
            time.sleep(share * takes)
        elif way == "bytes":
            until(lambda: relay.resets > resets, "the bytes went by")
        else:
            until(lambda: relay.bytes["up"] - before >= 0.95 * most, "the bytes went by")
            time.sleep(share / 2)
        kill(running)
        relay.mend()
        idle(behind, until)

    return launch


def test_a_controller_is_killed_in_a_launch(killed_launch, far, rng, rounds, report) -> None:
    behind, dummy = far
    came = Counter[str]()
    for number in range(1, rounds(6, 100) + 1):
        batch_id, way, share = f"b{number:015d}", ("late", "bytes", "time")[number % 3], rng.random()
        known = number % 2 == 1
        print(f"round {number}: killed after {share:.3f}, {way}{', what the host keeps is known' if known else ''}")
        killed_launch(batch_id, way, share, known)
        records = behind.python(RECORDS, batch_id)
        ran = Counter(
            which for what, which, dummy, dummy in log_of(behind) if what == "end" and which.startswith(batch_id)
        )
        if records["whole"]:
            came["all"] += 1
            assert ran == {f"{batch_id}.{index}": 1 for index in range(SIZE)}
        else:
            came["none"] += 1
            assert not ran
            assert records == {"folder": False, "whole": False, "jids": []}
    report(
        f"controllers killed in a launch: {came.total()}; all jobs ran {came['all']} times, none {came['none']} times"
    )


def barrier(name: str, me: str, other: str) -> dict[str, Any]:
    """A task that ends when the other controller has reached it too."""
    command = f"touch /root/{name}.{me}; until [ -e /root/{name}.{other} ]; do sleep 0.02; done"
    argv = ["timeout", "120", "sh", "-c", command]
    return {"name": name, "ansible.builtin.command": {"argv": argv}, "ignore_errors": False}


def verbs(number: int, batch_id: str, rng: Any) -> list[dict[str, Any]]:
    """Some actions on the jobs of a round, in random order."""
    choice = {
        "wait": {"background.jobs.async_wait": {"batch_id": batch_id, "timeout": 60, "poll": 0}},
        "wait for one": {"background.jobs.async_wait": {"name": "only", "timeout": 60, "poll": 0, "missing_ok": True}},
        "cancel one": {"background.jobs.async_cancel": {"name": f"job {rng.randrange(SIZE)}", "poll": 0}},
        "cancel": {"background.jobs.async_cancel": {"batch_id": batch_id, "poll": 0}},
        "prune": {"background.jobs.async_prune": {"all": True}},
        "prune some": {"background.jobs.async_prune": {"state": ["succeeded", "cancelled"]}},
        "info": {"background.jobs.async_info": {}},
    }
    chosen = ["cancel", *rng.sample(sorted(set(choice) - {"cancel"}), 3)]
    rng.shuffle(chosen)
    return [{"name": f"{name} {number}", **choice[name]} for name in chosen]


def controller(me: str, other: str, lengths: list[list[int]], rng: Any) -> list[dict[str, Any]]:
    """The tasks of one of two controllers, for as many rounds as there are lengths of jobs."""
    tasks = []
    for number, times in enumerate(lengths):
        batch_id = f"b{number:015d}"
        only = {"ansible.builtin.shell": job("only", times[0])}
        tasks += [
            barrier(f"begin-{number}", me, other),
            {"name": f"only {number}", "background.jobs.async_run": {"name": "only", "singleton": True, "task": only}},
            batch(f"batch {number}", batch_id, times),
            barrier(f"launched-{number}", me, other),
            *verbs(number, batch_id, rng),
        ]
    return tasks


# Messages that are allowed if the other controller was faster.
TOLD = re.compile(
    r"There are no jobs with|is not in .* of user|\d+ of \d+ jobs? (failed|did not)|could not find job|cancelled"
)
CRASH = re.compile(r"Traceback|MODULE FAILURE|deserialization|Errno|KeyError")


def test_two_controllers_do_the_same_at_once(host, play, rng, rounds, report) -> None:
    web = host(connection="ssh")
    lengths = [[rng.randrange(0, 30) for dummy in range(SIZE)] for dummy in range(rounds(3, 50))]
    keeper = web.begin(KEEPER)
    pair = [play.start(web, controller(*names, lengths, rng), ignore_errors=True) for names in ("ab", "ba")]
    both = [running.wait(1800) for running in pair]
    after = play(web, [{"name": "info", "background.jobs.async_info": {}}]).result("info")["jobs"]
    web.run("touch", "/root/enough")
    journals = json.loads(keeper.communicate(timeout=60)[0])
    log = log_of(web)

    told = check_what_was_said(both)
    launched, pruned = check_records(both, len(lengths), {one["ansible_job_id"] for one in after})
    signalled = check_ends(journals, log)
    check_only(log)
    report(
        f"two controllers at once: {len(lengths)} rounds, {launched} jobs, {signalled} cancelled while they ran, "
        f"{pruned} removed by one of them, {told} times one was told that the other was faster"
    )


def check_what_was_said(both: list[Any]) -> int:
    """Check that nothing crashed; return how often a task failed."""
    for played in both:
        text = played.output + played.errors
        assert not CRASH.search(text), [
            text[max(0, at.start() - 600) : at.end() + 1200] for at in CRASH.finditer(text)
        ][:2]
    failed = [result["msg"] for played in both for *dummy, result in played.each if result["failed"]]
    assert not [msg for msg in failed if not TOLD.search(msg)]
    print("\n".join(failed))
    return len(failed)


def check_records(both: list[Any], count: int, listed: set[str]) -> tuple[int, int]:
    """Check that every launched job is listed, or was removed once, by one of the two; return how many there are."""
    launched: set[str] = set()
    for number in range(count):
        ids = [[one["ansible_job_id"] for one in played.result(f"batch {number}")["jobs"]] for played in both]
        assert ids[0] == ids[1]
        assert sorted(played.result(f"batch {number}")["changed"] for played in both) == [False, True]
        launched.update(ids[0], (played.result(f"only {number}")["ansible_job_id"] for played in both))
    pruned = Counter(
        one["ansible_job_id"]
        for played in both
        for dummy, task, result in played.each
        if task.startswith("prune")
        for one in result.get("jobs", ())
    )
    assert launched == listed | set(pruned)
    assert not listed & set(pruned)
    assert set(pruned.values()) <= {1}
    return len(launched), len(pruned)


def check_ends(journals: dict[str, list[str]], log: list[tuple[str, str, int, float]]) -> int:
    """Check that each job ran and ended once, and got at most one signal, only if cancelled; return how many got one."""
    ends = [
        (f"{batch_id}.{entry['job']}", entry["state"], entry["at"])
        for batch_id, lines in journals.items()
        for entry in map(json.loads, lines)
        if entry["state"] not in ("queued", "running")
    ]
    states = {which: (state, at) for which, state, at in ends}
    assert len(ends) == len(states) > 0
    starts = Counter(which for what, which, dummy, dummy in log if what == "start" and which != "only")
    assert set(starts.values()) == {1}
    signals = Counter(pid for what, dummy, pid, dummy in log if what == "signal")
    assert set(signals.values()) <= {1}
    late = [
        (which, at, states[which])
        for what, which, dummy, at in log
        if what == "signal" and which in states and (states[which][0] != "cancelled" or at > states[which][1])
    ]
    assert not late
    return len(signals)


def check_only(log: list[tuple[str, str, int, float]]) -> None:
    """Check that a singleton never runs twice at a time."""
    running: set[int] = set()
    for what, which, pid, dummy in sorted(log, key=lambda entry: entry[3]):
        if which == "only":
            running = running | {pid} if what == "start" else running - {pid}
            assert len(running) <= 1
