# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A network that is slow, stalls, or breaks: a wait goes on, and a launch happens only once."""

from __future__ import annotations

import copy
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from .relay import Relay

SIZE = 4
COUNTED = "/root/counted"
# No connections of earlier plays: each has to come through the relay.
ALONE = {"ANSIBLE_SSH_ARGS": "-o UserKnownHostsFile=/dev/null -o ControlMaster=no -o ControlPath=none"}
SHARED = {"ANSIBLE_SSH_ARGS": "-o UserKnownHostsFile=/dev/null -o ControlMaster=auto -o ControlPersist=5s"}


@pytest.fixture
def web(host) -> Any:
    return host(connection="ssh")


@pytest.fixture
def far(web) -> Iterator[tuple[Any, Relay]]:
    """A host behind a relay, and the relay."""
    with Relay(web.port) as relay:
        behind = copy.copy(web)
        behind.port = relay.port
        yield behind, relay


def launching(batch_id: str, size: int = SIZE, **more: Any) -> list[dict[str, Any]]:
    """A launch of jobs that each write a line when they run."""
    jobs = {
        "name": "job {{ item }}",
        "ansible.builtin.shell": f"echo {batch_id} {{{{ item }}}} >> {COUNTED}",
        "loop": list(range(size)),
    }
    return [
        {
            "name": "launch",
            "background.jobs.async_batch": {"batch_id": batch_id, "tasks": [jobs], **more},
        }
    ]


def waiting(**selector: Any) -> list[dict[str, Any]]:
    return [{"name": "wait", "background.jobs.async_wait": {"timeout": 180, "poll": 0, **selector}}]


def batch_ids(rng: Any) -> Iterator[str]:
    while True:
        yield f"b{rng.randrange(10**15):015d}"


def runs(web: Any, batch_id: str) -> list[int]:
    """How often each job of a batch has run, without those that have not."""
    lines = [line.split() for line in web.run("sh", "-c", f"cat {COUNTED} 2>/dev/null || true").splitlines()]
    return list(Counter(line[1] for line in lines if line[0] == batch_id).values())


def until_all_ran(web: Any, batch_id: str, until: Any) -> None:
    until(lambda: len(runs(web, batch_id)) == SIZE, f"{SIZE} jobs of {batch_id} have run")


GATE = "/root/gate"


def held(play: Any, web: Any) -> str:
    """Launch a job that ends only after `let_go`; return its id."""
    web.run("rm", "-f", GATE)
    task = {"ansible.builtin.shell": f"until [ -e {GATE} ]; do sleep 0.1; done"}
    launched = play(web, [{"name": "launch", "background.jobs.async_run": {"task": task}}])
    return launched.result("launch")["ansible_job_id"]


def let_go(web: Any) -> None:
    web.run("touch", GATE)


def is_awaited(running: Any) -> bool:
    """Whether a wait has reported its running job."""
    return "1 running" in running.output()


def test_sshd_goes_and_comes_back_in_the_middle_of_a_wait(web, play, until) -> None:
    jid = held(play, web)
    running = play.start(web, waiting(jobs=jid, poll=1), env=SHARED)
    until(lambda: is_awaited(running), "the job is waited for")
    web.run("host-sshd", "cut")
    until(lambda: "connection lost" in running.output(), "the loss was told")
    web.run("host-sshd", "start")
    let_go(web)
    (job,) = running.wait(120).result("wait")["jobs"]
    assert job["state"] == "succeeded"


def test_200_ms_each_way(far, play, rng, report) -> None:
    behind, relay = far
    relay.delay = 0.2
    batch_id = next(batch_ids(rng))
    begun = time.monotonic()
    played = play(behind, launching(batch_id) + waiting(batch_id=batch_id), env=SHARED)
    report(f"200 ms each way: launched and waited for in {time.monotonic() - begun:.1f} s")
    assert [job["state"] for job in played.result("wait")["jobs"]] == ["succeeded"] * SIZE
    assert runs(behind, batch_id) == [1] * SIZE


def test_a_network_stands_still_in_a_wait(far, play, until, rounds) -> None:
    behind, relay = far
    seconds = rounds(5, 30)
    jid = held(play, behind)
    running = play.start(behind, waiting(jobs=jid, poll=1), env=ALONE)
    until(lambda: is_awaited(running), "the job is waited for")
    relay.stall(seconds)
    let_go(behind)
    (job,) = running.wait(180).result("wait")["jobs"]
    assert job["state"] == "succeeded"


def test_a_network_stands_still_in_a_launch(far, play, until, rng, rounds) -> None:
    behind, relay = far
    seconds, batch_id = rounds(5, 30), next(batch_ids(rng))
    running = play.start(behind, launching(batch_id), env=ALONE)
    until(lambda: relay.bytes["up"] > 20_000, "the launch is on its way")
    relay.stall(seconds)
    assert running.wait(180).result("launch")["changed"]
    until_all_ran(behind, batch_id, until)
    assert runs(behind, batch_id) == [1] * SIZE


def test_connections_are_reset_in_a_wait(far, play, until, rounds, rng) -> None:
    behind, relay = far
    count = rounds(2, 40)
    task = {"name": "{{ item }}", "ansible.builtin.shell": f"until [ -e {GATE}.{{{{ item }}}} ]; do sleep 0.1; done"}
    play(behind, [{"name": "launch", "background.jobs.async_batch": {"tasks": [{**task, "loop": list(range(count))}]}}])
    for number in range(count):
        direction = rng.choice(["up", "down"])
        limit = rng.randrange(1, 200_000 if direction == "up" else 8_000)
        print(f"round {number}: reset after {limit} bytes {direction}")
        resets = relay.resets
        relay.reset_after(limit, direction)
        running = play.start(behind, waiting(name=str(number), poll=0.5), env=ALONE)
        until(lambda resets=resets: relay.resets > resets, "a connection was reset")
        behind.run("touch", f"{GATE}.{number}")
        (job,) = running.wait(120).result("wait")["jobs"]
        assert job["state"] == "succeeded"


def test_a_network_breaks_while_large_files_are_sent(far, play, until, rounds, rng) -> None:
    behind, relay = far
    size = 6_000_000
    task = {"ansible.builtin.copy": {"content": f"{{{{ 'x' * {size} }}}}", "dest": "/root/large", "mode": "0600"}}
    for number in range(rounds(1, 5)):
        limit = rng.randrange(100_000, size)
        print(f"round {number}: gone after {limit} bytes up")
        behind.run("rm", "-f", "/root/large")
        relay.reset_after(limit, "up", for_good=True)
        running = play.start(
            behind, [{"name": "copy", "background.jobs.async_run": {"task": task, "wait": True}}], env=ALONE
        )
        until(lambda running=running: "connection lost" in running.output(), "the loss was told")
        relay.mend()
        (job,) = running.wait(180).result("copy")["jobs"]
        assert (job["state"], job["result"]["size"]) == ("succeeded", size)


# The network after it broke: it is back at once; it stays away until the task's timeout; it stays away until the launch
# is given up, which takes a minute.
BLIP, GONE, UNREACHABLE = "back at once", "gone", "unreachable"


def test_connections_are_reset_in_a_launch(far, play, rng, rounds, report) -> None:
    behind, relay = far
    ids, seen = batch_ids(rng), Counter[str]()
    play(behind, launching(next(ids)), env=ALONE | play.known)
    controllers = []  # one that brings all that is needed, and one that knows what the host keeps
    for env in (ALONE, ALONE | play.known):
        before = dict(relay.bytes)
        play(behind, launching(next(ids)), env=env)
        controllers.append((env, {direction: relay.bytes[direction] - before[direction] for direction in before}))
    short = [BLIP, BLIP, GONE, BLIP]
    full = [BLIP] * 65 + [GONE] * 30 + [UNREACHABLE] * 5
    told = {}
    for number, kind in enumerate(rng.sample(full, len(full)) if rounds(0, 1) else short):
        batch_id, direction = next(ids), rng.choice(["up", "down"])
        env, most = controllers[number // 2 % 2]
        limit = rng.randrange(1, most[direction])
        print(f"round {number}: {batch_id}, {kind} after {limit} of {most[direction]} bytes {direction}")
        relay.reset_after(limit, direction, for_good=kind != BLIP)
        # Every other launch waits for its jobs too, so that its answer takes longer.
        waits = {"wait": True, "cleanup": False} if number % 2 and kind != UNREACHABLE else {}
        (task,) = launching(batch_id, **waits)
        first = play(behind, [{**task, **({"timeout": 5} if kind == GONE else {})}], env=env, check=False)
        relay.mend()
        assert "Traceback" not in first.output + first.errors
        told[batch_id] = first.result("launch")
        if kind == BLIP:
            assert told[batch_id]["changed"], told[batch_id]
        if told[batch_id]["unreachable"]:
            assert f"batch_id: {batch_id}" in told[batch_id]["msg"]

    # then each is launched again, whatever the first launch reported
    ran = {batch_id: len(runs(behind, batch_id)) for batch_id in told}
    again = play(behind, [task for batch_id in told for task in launching(batch_id) + waiting(batch_id=batch_id)])
    ends = zip(told, again.results("launch"), again.results("wait"), strict=True)
    for batch_id, launched, waited in ends:
        assert [job["state"] for job in waited["jobs"]] == ["succeeded"] * SIZE
        assert runs(behind, batch_id) == [1] * SIZE
        assert launched["changed"] == (ran[batch_id] == 0)
        how = "told to be launched" if told[batch_id].get("changed") else "not told to be launched"
        seen[f"{how}, {'started then' if launched['changed'] else 'found'}"] += 1
    report(f"launches with a reset at a random byte: {seen.total()}, no job ran twice or not at all: {dict(seen)}")


class Closed:
    """A host whose port takes no connections, and is nobody else's meanwhile, such as a relay's of another test."""

    name = "closed"

    def __init__(self, held: socket.socket) -> None:
        """held: not listening."""
        held.bind(("127.0.0.1", 0))
        self._port = held.getsockname()[1]

    def variables(self) -> dict[str, Any]:
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self._port,
            "ansible_python_interpreter": "/usr/bin/python3",
        }


@pytest.mark.parametrize("pipelining", ["true", "false"])
@pytest.mark.parametrize("no_log", [True, False])
def test_a_host_that_cannot_be_reached_is_told_so_at_once_with_no_log_too(play, pipelining, no_log) -> None:
    tasks = [{**launching("b000000000000001", size=1)[0], "no_log": no_log}]
    began = time.monotonic()
    with socket.socket() as held:
        played = play([Closed(held)], tasks, check=False, env={**ALONE, "ANSIBLE_PIPELINING": pipelining})
    took = time.monotonic() - began
    result = played.result("launch")
    assert result["unreachable"]
    assert took < 40, f"a host that was lost is tried for a minute: {result}"
    if not no_log:
        assert "ssh: connect to host 127.0.0.1" in result["msg"]
        assert "may be running" not in result["msg"]
