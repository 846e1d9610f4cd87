# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The places of pools when supervisors are killed or stopped, hosts restart, or many controllers launch at once."""

from __future__ import annotations

BATCH = "background.jobs.async_batch"
INFO = {"name": "info", "background.jobs.async_info": {}}
POOLS = "/root/.ansible_async/.background_jobs/pools"
# Logs when each job begins and ends; the lines are short enough to be written atomically.
NOTED = "echo begins >> /tmp/noted; sleep {seconds}; echo ends >> /tmp/noted"


def launch(name, jobs, size=1, **options):
    tasks = [{"name": f"{name} {number}", "ansible.builtin.shell": text} for number, text in enumerate(jobs)]
    return {"name": name, BATCH: {"pool": "p", "pool_size": size, "tasks": tasks, **options}}


def wait(*names, **keywords):
    return {"name": "wait", "background.jobs.async_wait": {"name": list(names), "timeout": 120, "poll": 0}, **keywords}


def states(result):
    return {job["name"]: job["state"] for job in result["jobs"]}


def supervisor_of(host, result):
    folder = f"/root/.ansible_async/.background_jobs/{result['batch_id']}"
    return str(host.python(f"print(__import__('json').load(open('{folder}/batch.json'))['supervisor']['pid'])"))


def most_at_once(host):
    most = now = 0
    for word in host.run("cat", "/tmp/noted").split():
        now += 1 if word == "begins" else -1
        most = max(most, now)
    return most


def test_the_places_of_a_supervisor_that_is_killed_go_to_those_who_wait(host, play, until):
    one = host()
    holds = play(one, [launch("holds", ["exec sleep 600"] * 2, size=2)])
    waits = play(one, [launch("waits", ["true"] * 3, size=2), INFO])
    info = waits.result("info")
    assert info["pools"] == [{"name": "p", "size": 2, "taken": 2, "waiting": 3}]
    assert [job["msg"] for job in info["jobs"] if job.get("in_line")] == ["waits for a place in pool p"] * 3
    one.run("kill", "-KILL", supervisor_of(one, holds.result("holds")))
    done = play(one, [wait("waits *"), {**wait("holds *"), "name": "lost", "ignore_errors": True}])
    assert set(states(done.result("wait")).values()) == {"succeeded"}
    assert set(states(done.result("lost")).values()) == {"lost"}
    until(lambda: one.run("sh", "-c", f"test -e {POOLS} || echo gone"), "the pool is gone")


def test_one_that_waits_and_is_killed_is_passed(host, play):
    one = host()
    play(one, [launch("holds", ["until test -e /tmp/go; do sleep 0.1; done"])])
    killed = play(one, [launch("killed", ["true"])])
    play(one, [launch("waits", ["true"])])
    one.run("kill", "-KILL", supervisor_of(one, killed.result("killed")))
    one.run("touch", "/tmp/go")
    done = play(one, [wait("holds *", "waits *")])
    assert set(states(done.result("wait")).values()) == {"succeeded"}


def test_a_host_that_restarts_has_all_places_free(host, play):
    one = host()
    play(one, [launch("before", ["exec sleep 600"] * 2, size=1)])
    one.docker("kill")
    one.docker("start")
    done = play(one, [launch("after", ["true"], wait=True, poll=0), {**wait("before *"), "ignore_errors": True}])
    assert states(done.result("after")) == {"after 0": "succeeded"}
    assert set(states(done.result("wait")).values()) == {"lost"}
    one.run("sh", "-c", f"! test -e {POOLS}")


def test_a_supervisor_that_is_stopped_holds_up_only_the_place_that_it_has(host, play):
    one = host()
    stopped = play(one, [launch("stopped", ["exec sleep 600"], size=2)]).result("stopped")
    one.run("kill", "-STOP", supervisor_of(one, stopped))
    others = play(one, [launch("others", ["true"] * 5, size=2, wait=True, poll=0)]).result("others")
    assert set(states(others).values()) == {"succeeded"}
    one.run("kill", "-CONT", supervisor_of(one, stopped))
    play(one, [{"name": "cancel", "background.jobs.async_cancel": {"all": True, "grace": 0}}])


def test_many_controllers_share_the_places_whoever_is_killed(host, play, rounds, report, until):
    one, size = host(), 3
    play(one, [launch("holds", ["until test -e /tmp/go; do sleep 0.1; done"] * size, size=size)])
    texts = [NOTED.format(seconds=0.3)] * rounds(10, 40)
    running = [play.start(one, [launch(f"c{number}", texts, size=size)]) for number in range(rounds(3, 8))]
    launched = [each.wait().result(f"c{number}") for number, each in enumerate(running)]
    one.run("touch", "/tmp/go")
    first = min(
        play(one, [INFO]).result("info")["jobs"], key=lambda job: job["queued_at"] + (job["name"][0] == "h") * 1e9
    )
    victim = next(number for number, result in enumerate(launched) if result["batch_id"] == first["batch_id"])
    until(lambda: "begins" in one.run("cat", "/tmp/noted", check=False), "its first job runs")
    one.run("kill", "-KILL", supervisor_of(one, launched[victim]), check=False)
    names = [f"c{number} *" for number in range(len(launched)) if number != victim]
    done = play(one, [wait(*names), INFO])
    assert set(states(done.result("wait")).values()) == {"succeeded"}
    # jobs of the killed supervisor logged no end: they still count as running
    killed = [job for job in done.result("info")["jobs"] if job["state"] == "lost" and job.get("started_at")]
    most = most_at_once(one)
    assert most <= size + len(killed)
    report(
        f"{len(launched)} controllers, {size} places: {most} ran at once at most, {len(killed)} were lost with a supervisor"
    )
    until(lambda: one.run("sh", "-c", f"test -e {POOLS} || echo gone"), "the pool is gone")
