# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an ordinary user of a host can find out of the secrets of jobs that run, wait, fail, time out and are cancelled."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from pathlib import Path

import pytest

# Searches everything that it can read, again and again until /opt/stop exists, for the secrets in the first line of its
# input: files that changed since the test began, and what /proc shows of processes. Writes the number of its round to
# /var/spy/rounds, and at the end prints what it found where.
SPY = """
import json, os, stat
secrets = {name: text.encode() for name, text in json.loads(SECRETS).items()}
found = set()
def look(where, data):
    for name, text in secrets.items():
        if text in data:
            found.add((name, where))
def read(path, where=None):
    try:
        with open(path, "rb") as stream:
            look(where or path, stream.read())
    except OSError:
        pass
def files():
    for folder, folders, names in os.walk("/"):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys")]
        for name in names:
            path = os.path.join(folder, name)
            look("name of a file", os.fsencode(path))
            try:
                about = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(about.st_mode) and about.st_ctime >= SINCE:
                read(path)
def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for what in ("cmdline", "environ", "comm", "wchan"):
            read("/proc/%s/%s" % (pid, what), what)
rounds = 0
while True:
    last = os.path.exists("/opt/stop")
    processes()
    files()
    processes()
    rounds += 1
    if os.path.isdir("/var/spy"):
        try:
            with open("/var/spy/rounds", "w") as stream:
                stream.write(str(rounds))
        except PermissionError:
            pass
    if last or ONCE:
        break
print(json.dumps({"found": sorted(found), "rounds": rounds}))
"""

PREPARE = """
import os, subprocess, sys, time
subprocess.run(["useradd", "--create-home", "spy"], check=True)
os.mkdir("/opt/gates", 0o755)
for name in sys.argv[1:]:
    os.mkfifo("/opt/gates/" + name)
    os.chmod("/opt/gates/" + name, 0o666)
os.mkfifo("/opt/release")
os.mkdir("/opt/shared")
os.chmod("/opt/shared", 0o1777)
os.mkdir("/var/spy")
subprocess.run(["chown", "spy", "/var/spy"], check=True)
print(time.time() - 1)
"""

# Keeps the log of modules as a host does: for administrators only.
SYSLOG = """
import os, socket
log = os.open("/var/log/syslog", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind("/dev/log")
os.chmod("/dev/log", 0o666)
print("up", flush=True)
while True:
    os.write(log, sock.recv(65536) + b"\\n")
"""

# Waits until a job has arrived at each of the gates; prints that, and lets them pass on request.
GATES = """
import os, sys
gates = [open("/opt/gates/" + name, "w") for name in sys.argv[1:]]
print("there", flush=True)
open("/opt/release").read()
for gate in gates:
    try:
        gate.write("go on\\n")
        gate.close()
    except BrokenPipeError:
        pass  # that job was cancelled
"""

# A module that is executed and gets its arguments in a file.
HOLD = """#!/bin/sh
# WANT_JSON
gate=$(sed -n 's/.*"gate": *"\\([^"]*\\)".*/\\1/p' "$1")
secret=$(sed -n 's/.*"secret": *"\\([^"]*\\)".*/\\1/p' "$1")
read line < "/opt/gates/$gate"
echo '{"changed": false, "said": "'"$secret"'"}'
"""

WAYS = ("succeeds", "fails", "block", "file", "cancelled")
AT_GATES = [f"{way}-{log}" for log in ("plain", "hidden") for way in WAYS] + ["seen"]


def job(way: str, log: str, made: dict[str, str]) -> dict[str, object]:
    """Return an entry of `tasks`; its secrets are added to `made`."""
    name = f"{way}-{log}"
    given = {kind: f"{kind}{secrets.token_hex(12)}" for kind in ("input", "token")}
    made.update({f"{name} {kind}": text for kind, text in given.items()})
    wait = f"cat; echo $TOKEN >&2; read line < /opt/gates/{name}"
    shell = {"stdin": given["input"]}
    entry: dict[str, object] = {"name": name, "environment": {"TOKEN": given["token"]}, "no_log": log == "hidden"}
    if way == "file":
        return {**entry, "hold": {"gate": name, "secret": given["input"]}}
    if way == "block":
        return {
            **entry,
            "block": [{"shell": {"cmd": "cat", **shell}}, {"shell": {"cmd": wait, **shell}}],
            "always": [{"shell": {"cmd": "cat", **shell}}],
        }
    if way == "again":
        flag = f"/opt/shared/{name}"
        command = f"cat; echo $TOKEN >&2; test -e {flag} || {{ touch {flag}; exit 1; }}"
        return {**entry, "retries": 1, "delay": 0, "shell": {"cmd": command, **shell}}
    if way == "late":
        return {**entry, "timeout": 3, "shell": {"cmd": "cat; echo $TOKEN; sleep 300", **shell}}
    return {**entry, "shell": {"cmd": wait + ("; exit 3" if way == "fails" else ""), **shell}}


def spy(host, made: dict[str, str], since: float, user: str, once: bool) -> dict[str, object]:
    head = f"SECRETS = {json.dumps(made)!r}\nSINCE = {since}\nONCE = {once}\n"
    # from standard input, so that it does not find its own command line
    return json.loads(host.run("python3", "-", text=head + SPY, user=user, timeout=400))


def rounds(host) -> int:
    """How many rounds the spy has made."""
    return int(host.run("cat", "/var/spy/rounds", check=False) or 0)


@contextlib.contextmanager
def watched(host, made: dict[str, str], since: float):
    """Let the spy look while the context lasts; its findings are added to the list that this yields."""
    told: list[dict[str, object]] = []
    watching = threading.Thread(target=lambda: told.append(spy(host, made, since, "spy", once=False)))
    watching.start()
    try:
        yield told
    finally:
        host.run("touch", "/opt/stop")
        watching.join(400)


@pytest.mark.parametrize("user", ["root", "deploy"])
def test_an_ordinary_user_finds_no_secret(host, play, *, until, report, tmp_path, user):
    one = host()
    since = one.python(PREPARE, *AT_GATES)
    syslog = one.begin(SYSLOG)
    assert syslog.stdout.readline() == "up\n"
    (tmp_path / "library").mkdir()
    Path(tmp_path / "library" / "hold").write_text(HOLD)
    made: dict[str, str] = {}
    tasks = [job(way, log, made) for log in ("plain", "hidden") for way in (*WAYS, "again", "late")]
    visible = {"seen command": f"seen{secrets.token_hex(12)}", "seen file": f"seen{secrets.token_hex(12)}"}
    tasks.append({"name": "seen", "shell": f": {visible['seen command']}; read line < /opt/gates/seen"})
    one.run("sh", "-c", "cat > /opt/shared/seen", text=visible["seen file"])
    keywords = {"become": True, "become_user": user} if user != "root" else {}
    settings = {"env": {"ANSIBLE_LIBRARY": str(tmp_path / "library")}, **keywords}

    with watched(one, made | visible, since) as told:
        until(lambda: rounds(one), "the spy is at work")
        batch = play(one, [{"name": "launch", "background.jobs.async_batch": {"tasks": tasks}}], **settings)
        gates = one.begin(GATES, *AT_GATES)
        try:
            assert gates.stdout.readline() == "there\n"
            seen = rounds(one)
            until(lambda: rounds(one) > seen + 1, "the spy has looked while all of them run")
            cancel = {"name": ["cancelled-*"], "grace": 5}
            play(one, [{"name": "cancel", "background.jobs.async_cancel": cancel}], **settings)
            one.run("sh", "-c", "echo > /opt/release")
            wait = {"batch_id": [batch.result("launch")["batch_id"]], "timeout": 120, "on_timeout": "return"}
            waited = play(one, [{"name": "wait", "background.jobs.async_wait": wait}], check=False, **settings)
        finally:
            gates.kill()
            gates.wait()
        listed = play(one, [{"name": "list", "background.jobs.async_info": {}}], **settings)
    syslog.kill()
    syslog.wait()

    # everything happened as planned, and the spy works
    assert waited.result("wait")["failed"], "some of them failed, as they were to"
    states = {entry["name"].partition("-")[0]: entry["state"] for entry in listed.result("list")["jobs"]}
    assert states == {
        **dict.fromkeys(("succeeds", "block", "file", "again", "seen"), "succeeded"),
        "fails": "failed",
        "cancelled": "cancelled",
        "late": "timed_out",
    }
    found = [tuple(entry) for entry in told[0]["found"]]
    assert {name for name, dummy in found if name in visible} == set(visible), "the spy sees what is to be seen"

    assert [entry for entry in found if entry[0] not in visible] == []

    hidden = {name: text for name, text in made.items() if "-hidden" in name}
    plain = {name: text for name, text in made.items() if "-plain" in name}
    left = spy(one, hidden | plain, since, "root", once=True)["found"]
    assert any(name in plain for name, dummy in left), "root finds the results of jobs without no_log"
    assert [entry for entry in left if entry[0] in hidden] == []
    report(f"secrets of {len(tasks) - 1} jobs of {user}: none was found in {told[0]['rounds']} rounds of looking")
