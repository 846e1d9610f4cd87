# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Places where jobs cannot, or must not, be recorded. (In place of single records: test_hostile.py of the unit tests.)"""

from __future__ import annotations

import pytest

LAUNCH = {
    "name": "launch",
    "background.jobs.async_batch": {"tasks": [{"name": f"job {n}", "command": "true"} for n in "12"]},
}
INFO = {"name": "info", "background.jobs.async_info": {}}
PRUNE = {"name": "prune", "background.jobs.async_prune": {"all": True}}
CANCEL = {"name": "cancel", "background.jobs.async_cancel": {"all": True}}


def wait(launched) -> dict[str, object]:
    jobs = [job["ansible_job_id"] for job in launched.result("launch")["jobs"]]
    return {"name": "wait", "background.jobs.async_wait": {"jobs": jobs, "timeout": 60}}


def test_on_a_read_only_disk_records_are_read_and_nothing_is_started_or_removed(host, play):
    one = host("--tmpfs", "/disk", "--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined")
    settings = {"vars": {"ansible_async_dir": "/disk/async"}}
    launched = play(one, [LAUNCH], **settings)
    play(one, [wait(launched)], **settings)
    before = one.run("find", "/disk", "-printf", "%p %m %s %T@\n")
    one.run("mount", "-o", "remount,ro", "/disk")

    seen = play(one, [INFO, wait(launched), CANCEL, PRUNE], **settings)
    assert [job["state"] for job in seen.result("info")["jobs"]] == ["succeeded"] * 2
    assert seen.result("wait")["counts"]["succeeded"] == 2
    assert seen.result("cancel")["changed"] is False
    pruned = seen.result("prune")
    assert (pruned["changed"], pruned["jobs"]) == (False, [])
    assert "Read-only file system" in pruned["warnings"][0]
    refused = play(one, [LAUNCH], check=False, **settings).result("launch")
    assert refused["failed"] and "Read-only file system" in refused["msg"]
    assert one.run("find", "/disk", "-printf", "%p %m %s %T@\n") == before

    one.run("mount", "-o", "remount,rw", "/disk")
    assert len(play(one, [PRUNE], **settings).result("prune")["jobs"]) == 2


# How to make a place that must not be used, the path of it, and the error for it.
PLACES = (
    ("ln -s /victim async", "async", "is a symbolic link"),
    ("mkdir -m 0777 async", "async", "can be written by every user"),
    ("mkdir -m 0755 async; chown nobody async", "async", "belongs to uid"),
    (
        "groupadd -f shared; usermod -aG shared nobody; mkdir -m 0770 async; chgrp shared async",
        "async",
        "can be written by the group of gid",
    ),
    ("mkdir -m 0755 async; chown nobody .", "async", "another directory can be put in its place by uid"),
    (
        "mkdir -m 0755 real real/async; ln -s real link; chown -h nobody link",
        "link/async",
        "another directory can be put in its place by uid",
    ),
    ("mkdir -m 1777 async; ln -s /victim async/.background_jobs", "async", "not a directory"),
    ("mkdir -m 1777 async; install -d -o nobody -m 0777 async/.background_jobs", "async", "belongs to uid"),
)


@pytest.mark.parametrize("user", ["root", "deploy"])
def test_a_place_that_others_can_change_is_refused(host, play, user):
    one = host()
    one.run("mkdir", "-m", "0777", "/victim")
    tasks = []
    for number, (made_by, place, dummy) in enumerate(PLACES):
        one.run("sh", "-c", f"mkdir /place{number}; cd /place{number}; {made_by}")
        settings = {"vars": {"ansible_async_dir": f"/place{number}/{place}"}, "ignore_errors": True}
        tasks += [{**task, "name": f"{task['name']} {number}", **settings} for task in (LAUNCH, INFO, PRUNE)]
    become = {} if user == "root" else {"become": True, "become_user": user}
    seen = play(one, tasks, **become)
    for number, (made_by, dummy, words) in enumerate(PLACES):
        launched = seen.result(f"launch {number}")
        assert launched["failed"] and words in launched["msg"], (made_by, launched)
        for verb in ("info", "prune"):
            result = seen.result(f"{verb} {number}")
            assert result["jobs"] == [] and not result["changed"], (made_by, result)
            told = " ".join(result["warnings"])
            assert "could not look for jobs" in told or "can't be read" in told, (made_by, result)
    assert one.run("ls", "-A", "/victim") == ""


def test_what_another_user_makes_in_a_sticky_place_does_not_keep_a_job_from_ending(host, play):
    one = host()
    settings = {"vars": {"ansible_async_dir": "/place"}}
    one.run("sh", "-c", "mkdir -m 1777 /place; su -s /bin/sh nobody -c 'mkdir /place/j000000000000007.0.tmp'")
    batch = {**LAUNCH["background.jobs.async_batch"], "batch_id": "b000000000000007"}
    launched = play(one, [{"name": "launch", "background.jobs.async_batch": batch}], **settings)
    seen = play(one, [wait(launched), {"name": "core", "async_status": {"jid": "j000000000000007.0"}}], **settings)
    assert seen.result("wait")["counts"]["succeeded"] == 2
    assert (seen.result("core")["finished"], seen.result("core")["rc"]) == (True, 0)


def test_hosts_that_share_a_home_leave_the_jobs_of_each_other_alone(host, play):
    one = host("--volume=/shared", "--hostname=one")
    two = host(f"--volumes-from={one.name}", "--hostname=two")
    settings = {"vars": {"ansible_async_dir": "/shared/jobs"}}
    tasks = [{"name": name, "command": f"sleep {seconds}"} for name, seconds in (("long", 300), ("short", 0))]
    play(one, [{"name": "launch", "background.jobs.async_batch": {"tasks": tasks}}], **settings)
    ended = {"name": "short", "background.jobs.async_wait": {"name": "short", "timeout": 60}}
    seen = play(two, [ended, INFO, CANCEL, PRUNE], **settings)
    assert seen.result("short")["jobs"][0]["state"] == "succeeded"
    long = next(job for job in seen.result("info")["jobs"] if job["name"] == "long")
    assert long["state"] == "running" and "another machine, one," in long["msg"]
    assert seen.result("cancel")["changed"] is False
    assert "only there" in seen.result("cancel")["warnings"][0]
    assert [job["name"] for job in seen.result("prune")["jobs"]] == ["short"]
    seen = play(one, [INFO, CANCEL], **settings)
    assert [(job["name"], job["state"]) for job in seen.result("info")["jobs"]] == [("long", "running")]
    assert seen.result("cancel")["jobs"][0]["state"] == "cancelled"
