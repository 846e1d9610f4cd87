# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGKILL at random moments: for the supervisor, zygotes, templates, jobs, or everything."""

from __future__ import annotations

import collections
import json

TERMINAL = {"succeeded", "failed", "timed_out", "cancelled", "skipped", "lost"}
# What is killed. With 'both' or more, nobody is left to end the jobs.
KINDS = ("supervisor", "zygote", "template", "job", "child", "both", "everything")
AT_ONCE = 6  # batches that are launched, and broken, at a time

# Runs on the host: for each of so many batches, a random time after it appears, kills what the name of its first job
# says. Prints how many processes that were, by batch.
KILLER = """
import glob, json, os, random, signal, sys, time
count, seed = int(sys.argv[1]), sys.argv[2]
def look(pid):
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[3])
def kill(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
def is_zygote(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as stream:
            return b"zygote" in stream.read().split(b"\\0")
    except OSError:
        return False
def strike(kind, supervisor, rng):
    if kind in ("both", "everything"):
        kill([supervisor], signal.SIGSTOP)
    table = {int(name): look(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    table = {pid: found for pid, found in table.items() if found}
    zygotes = [pid for pid, (parent, session) in table.items() if parent == supervisor and is_zygote(pid)]
    parents = [supervisor] + zygotes
    templates = [pid for pid, (parent, session) in table.items() if parent in parents and pid not in zygotes]
    jobs = [pid for pid, (parent, session) in table.items() if parent in templates and session == pid]
    children = [pid for pid, (parent, session) in table.items() if parent in jobs]
    some = {"job": jobs, "child": children}.get(kind, ())
    victims = {
        "supervisor": [supervisor],
        "zygote": zygotes,
        "template": rng.sample(templates, min(len(templates), 1)),
        "both": templates + zygotes + [supervisor],
        "everything": templates + jobs + zygotes + [supervisor],
    }.get(kind)
    if victims is None:
        victims = rng.sample(some, min(len(some), 2))
    kill(victims, signal.SIGKILL)
    return len(victims)
due, done, deadline = {}, {}, time.monotonic() + 300
while len(done) < count and time.monotonic() < deadline:
    for path in glob.glob("/root/.ansible_async/.background_jobs/b*/batch.json"):
        batch = path.split("/")[-2]
        if batch not in due:
            with open(path) as stream:
                header = json.load(stream)
            kind = header["jobs"][0]["name"].split()[0]
            rng = random.Random("%s %s" % (seed, header["jobs"][0]["name"]))
            due[batch] = time.monotonic() + rng.uniform(0, 2.5), kind, header["supervisor"]["pid"], rng
    for batch, (at, kind, supervisor, rng) in due.items():
        if batch not in done and time.monotonic() >= at:
            hit = strike(kind, supervisor, rng)
            if hit or time.monotonic() >= at + 5:
                done[batch] = kind, hit
    time.sleep(0.005)
print(json.dumps(done))
"""

# Runs on the host: lists supervisors and templates that are left, and the marks of jobs that have processes, as soon as
# there are only jobs of the kinds that nobody ends.
LEFT = """
import json, os, re, sys, time
def look():
    rulers, jobs = [], set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % name, "rb") as stream:
                words = stream.read().decode().split("\\0")
            with open("/proc/%s/stat" % name, "rb") as stream:
                fields = stream.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] in (b"Z", b"X"):
            continue
        if "background.jobs" in words and ("supervisor" in words or fields[3] != name.encode()):
            rulers.append(name)
        jobs.update(word for word in words if word.startswith("mark-"))
    return rulers, sorted(jobs)
deadline = time.monotonic() + 30
rulers, jobs = look()
while (rulers or not all(re.match("mark-(both|everything)-", job) for job in jobs)) and time.monotonic() < deadline:
    time.sleep(0.05)
    rulers, jobs = look()
print(json.dumps([rulers, jobs]))
"""

# Runs on the host: lists the final states of each job in the journals, and whether core would regard it as running.
TOLD = """
import glob, json, os
told = {}
for folder in glob.glob("/root/.ansible_async/.background_jobs/b*"):
    with open(folder + "/batch.json") as stream:
        ends = [set() for job in json.load(stream)["jobs"]]
    with open(folder + "/journal", "rb") as stream:
        for line in stream:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry["state"] not in ("running", "queued"):
                ends[entry["job"]].add(entry["state"])
    for index, states in enumerate(ends):
        jid = "j%s.%d" % (os.path.basename(folder)[1:], index)
        with open("/root/.ansible_async/" + jid) as stream:
            told[jid] = sorted(states), json.load(stream).get("started", False)
print(json.dumps(told))
"""

# Not an AnsiballZ payload, so that it is executed and not forked.
OLD_STYLE = """#!/usr/bin/python3
# WANT_JSON
import json, subprocess, sys
with open(sys.argv[1]) as stream:
    arguments = json.load(stream)
print(json.dumps({"changed": True, "rc": subprocess.call(["bash", "-c", arguments["run"]])}))
"""


def mark_of(name):
    return "mark-" + name.replace(" ", "-")


def a_dozen(label, long):
    """Jobs of all sorts, whose processes carry their marks; `long`: seconds that the slow ones take."""
    jobs = []

    def job(name, text=None, **keys):
        name = f"{label} {name}"
        if text is not None:
            sleep = f"exec -a {mark_of(name)} sleep"
            keys["ansible.builtin.command"] = {
                "argv": ["bash", "-c", text.format(sleep=sleep, long=long), mark_of(name)]
            }
        jobs.append({"name": name, **keys})

    def step(name, text):
        mark = mark_of(f"{label} {name}")
        text = text.format(sleep=f"exec -a {mark} sleep", long=long)
        return {"ansible.builtin.command": {"argv": ["bash", "-c", text, mark]}}

    job("quick", "true")
    job("slow", "{sleep} {long}")
    job("child", "({sleep} {long}); :")
    job("session", "setsid bash -c '{sleep} {long}' & wait")
    job("retried", "sleep 0.2; exit 1", retries=3, delay=0.2, ignore_errors=True)
    job("retried slowly", "({sleep} {long}); exit 1", retries=1, delay=0, ignore_errors=True)
    job("after", "true", depends_on=[f"{label} quick"])
    job("after slow", "true", depends_on=[f"{label} slow"])
    job("module", **{"ansible.builtin.stat": {"path": "/"}})
    job("executed", old_style={"run": f"exec -a {mark_of(label + ' executed')} sleep {long}"})
    job("block", block=[step("block", "true"), step("block", "{sleep} {long}")], always=[step("block", "{sleep} 0.3")])
    job("timed", "{sleep} 30", timeout=1)
    return jobs


def wave_of(number, rng):
    """The jobs of a few batches, by their labels."""
    batches = {}
    for one in range(AT_ONCE):
        kind = KINDS[(number * AT_ONCE + one) % len(KINDS)]
        # long enough that jobs of a lost batch do not end by themselves, but have to be ended
        long = 120 if kind in ("supervisor", "both", "everything") else round(rng.uniform(1, 3), 2)
        batches[f"{kind} {number}.{one}"] = a_dozen(f"{kind} {number}.{one}", long)
    return batches


def tasks_of(batches):
    """Tasks that launch, wait, and check what is left, before and after all was cancelled."""
    names = [f"{label} *" for label in batches]
    launch = "background.jobs.async_batch"
    wait = {"name": names, "timeout": 200, "on_timeout": "fail", "poll": 0}
    look = {"ansible.builtin.command": {"cmd": "python3 -", "stdin": LEFT}}
    info = {"background.jobs.async_info": {"name": names, "core_jobs": False}}
    return [
        *({"name": "launch", launch: {"tasks": jobs}, "ignore_errors": True} for jobs in batches.values()),
        {"name": "wait", "background.jobs.async_wait": wait, "ignore_errors": True},
        {"name": "left", **look},
        {"name": "info", **info},
        {"name": "left still", **look},
        {"name": "cancel", "background.jobs.async_cancel": {"name": names, "grace": 2}},
        {"name": "left then", **look},
        {"name": "info then", **info},
    ]


def check_ends(played, told):
    """Check that each job has ended in one state, and that all sources agree on it."""
    for result in played.results("launch"):
        assert not result["failed"] or "the supervisor did not start" in result["msg"], result["msg"]
    waited = {job["ansible_job_id"]: job for job in played.result("wait")["jobs"]}
    assert {job["state"] for job in waited.values()} <= TERMINAL
    listed = {job["ansible_job_id"]: job["state"] for job in played.result("info then")["jobs"]}
    assert listed == {jid: job["state"] for jid, job in waited.items()}
    assert told == {jid: [[state], False] for jid, state in listed.items()}
    for job in waited.values():
        if job["state"] == "lost":
            assert job["name"].split()[0] not in ("zygote", "job", "child"), job


def check_processes(played):
    """Check that what still runs is listed, and gone after the cancel. Return how many jobs that were."""
    before, after, then = (json.loads(played.result(name)["stdout"]) for name in ("left", "left still", "left then"))
    assert [before[0], after[0], then[0]] == [[], [], []], "supervisors or templates are left"
    listed = {mark_of(job["name"]) for job in played.result("info")["jobs"] if job.get("processes")}
    assert set(before[1]) & set(after[1]) <= listed
    assert then[1] == []
    assert not [job for job in played.result("info then")["jobs"] if job.get("processes")]
    assert played.result("cancel")["changed"] == bool(listed)
    return len(listed)


def test_whatever_is_killed_at_whatever_moment(host, play, rounds, rng, report):
    one = host()
    ended, killed, listed = collections.Counter(), collections.Counter(), 0
    for number in range(rounds(2, 36)):
        batches = wave_of(number, rng)
        killer = one.begin(KILLER, str(len(batches)), str(rng.random()))
        files, env = {"library/old_style": OLD_STYLE}, {"ANSIBLE_LIBRARY": "library"}
        played = play(one, tasks_of(batches), files=files, env=env, timeout=300)
        struck = json.loads(killer.communicate(timeout=30)[0])
        assert len(struck) == len(batches)
        check_ends(played, one.python(TOLD))
        listed += check_processes(played)
        killed.update(kind for kind, hit in struck.values() if hit)
        ended.update(job["state"] for job in played.result("wait")["jobs"])
        one.run("rm", "-r", "/root/.ansible_async")
    assert set(killed) == set(KINDS)
    report(
        f"SIGKILL at random moments: {sum(killed.values())} batches of 12 jobs were hit ({counts(killed)}); "
        f"their jobs ended as {counts(ended)}; {listed} lost ones still had processes, were listed and could be ended"
    )


def counts(counter):
    return ", ".join(f"{name} {number}" for name, number in sorted(counter.items()))
