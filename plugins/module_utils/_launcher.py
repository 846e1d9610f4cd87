# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # it starts a process that outlives the module: run_command waits

"""Starts the supervisor of a batch, and returns when it has taken the order."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import pwd
import subprocess
import sys

from ansible_collections.background.jobs.plugins.module_utils import _files, _records, _states

_PACKAGE = "ansible_collections.background.jobs.plugins.module_utils"
# The interpreter imports all that it needs before it answers: this module's zip is gone soon after.
_BOOT = "import sys; sys.path.insert(0, %r); from " + _PACKAGE + "._supervisor import main; del sys.path[0]; main()"


# The options that all modules have which launch.
COMMON = dict(
    timeout=dict(type="float", default=0),
    wait=dict(type="bool", default=False),
    wait_timeout=dict(type="float", default=0),
    poll=dict(type="float", default=10),
    on_timeout=dict(type="str", choices=["fail", "cancel", "return"], default="fail"),
    cleanup=dict(type="bool"),
    keep_output=dict(type="str", default="1M"),
    _plan=dict(type="str", no_log=True),
    _singleton=dict(type="str"),
    _async_dir=dict(type="str"),
)


def serve(module):
    """Be the module `module`: start the batch that its action plugin has planned."""
    if not module.params["_plan"]:
        module.fail_json(msg="This works as a task of a playbook only: its action plugin makes the plan.")
    try:
        reply = launch(module.params["_plan"], module.params["_async_dir"], module.params["_singleton"])
    except LaunchError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed="attached" not in reply, **reply)


class LaunchError(Exception):
    """Nothing was started. The message is for the user."""


def launch(packed_plan, async_dir, singleton=None):
    """Start the batch of a packed plan; singleton: only where no job of this name is queued or running.

    Returns {async_dir, user, pid}: the directory of the results files, whose it is, and the supervisor's process; where
    there is such a job, `attached`, what is told of it, in place of the pid.
    """
    try:
        directory = _files.job_directory(async_dir)
    except (_files.UnsafePath, OSError) as exc:
        raise LaunchError("The jobs can't be recorded: %s." % exc) from exc
    if singleton is None:
        return _launch(packed_plan, directory)
    with _lock(directory):
        running = _unfinished(singleton, directory)
        if running:
            return {"async_dir": directory, "user": user_name(), "attached": running[-1]}
        return _launch(packed_plan, directory)


@contextlib.contextmanager
def _lock(directory):
    """Keep others from launching what may run once: by a lock that the kernel takes back when this process ends."""
    folder = os.path.join(directory, _records.FOLDER)
    try:
        _files.private_directory(folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(os.path.join(folder, "lock"), flags, 0o600)
    except (_files.UnsafePath, OSError) as exc:
        raise LaunchError("Nothing was started: %s." % exc) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _unfinished(name, directory):
    """Return what is told of the jobs of a name that have not ended, the oldest first."""
    from ansible_collections.background.jobs.plugins.module_utils import _waiter  # which imports this file

    selection = {
        "names": [glob.escape(name)],
        "batch_ids": None,
        "states": [_states.QUEUED, _states.RUNNING],
        "older_than": None,
        "newer_than": None,
        "core": False,
    }
    return _waiter.serve({"op": "list", "select": selection}, directory)["jobs"]


def _launch(packed_plan, directory):
    order = json.dumps({"async_dir": directory, "template": _text_of("_template"), "capture": _text_of("_capture")})
    answer = _start(order.encode("ascii") + b"\n" + packed_plan.encode("ascii"))
    if "error" in answer:
        raise LaunchError("Nothing was started: %s." % answer["error"])
    return {"async_dir": directory, "user": user_name(), "pid": answer["pid"]}


def _text_of(name):
    return __loader__.get_data(os.path.join(os.path.dirname(__file__), name + ".py")).decode("utf-8")


def _carried():
    """Never called: the imports tell ansible-core to put into the payload what other interpreters will read from it."""
    from ansible_collections.background.jobs.plugins.module_utils import _capture, _supervisor, _template  # noqa: F401


def _start(order):
    root = os.path.dirname(os.path.abspath(__file__))
    for dummy in _PACKAGE.split(".")[1:]:
        root = os.path.dirname(root)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT % os.path.dirname(root), "background.jobs", "supervisor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
        start_new_session=True,
    )
    try:
        process.stdin.write(order)
        process.stdin.close()
    except BrokenPipeError:
        pass  # its answer says why
    output = process.stdout.readline()
    try:
        return json.loads(output)
    except ValueError:
        said = (output + process.stdout.read()).decode("utf-8", "replace").strip()
        return {"error": "the supervisor did not come up: %s" % (said or "it said nothing")}


def _environment():
    """Return the environment that this process was started with: what the module has changed in its own is not the task's."""
    try:
        with open("/proc/self/environ", "rb") as stream:
            pairs = [pair.partition(b"=") for pair in stream.read().split(b"\0") if pair]
    except OSError:
        return None  # as it is now
    return {os.fsdecode(name): os.fsdecode(value) for name, dummy, value in pairs}


def user_name():
    """Return the name of the user that the task runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "uid %d" % os.geteuid()
