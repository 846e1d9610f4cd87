# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import random
import subprocess
import sys
import time
import zipfile

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing
from ansible_collections.background.jobs.plugins.module_utils._system import processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import (
    cancel,
    forget,
    info,
    launcher,
    prune,
    serving,
    update,
    wait,
)

# A payload in the form that ansible-core gives it: a program that carries a zip, puts it on sys.path, hands the
# arguments over in ansible.module_utils.basic and has runpy run the module. The module runs the Python text in its
# arguments, so that a test says what its job does.
_HEAD = """
def main(zip_data, params):
    import base64, os, shutil, sys, tempfile, runpy
    directory = tempfile.mkdtemp(prefix='background_jobs_test_')
    try:
        archive = os.path.join(directory, 'payload.zip')
        with open(archive, 'wb') as stream:
            stream.write(base64.b64decode(zip_data))
        sys.path.insert(0, archive)
        from ansible.module_utils import basic
        basic._ANSIBLE_ARGS = params.encode()
        try:
            runpy.run_module('ansible.modules.probe', run_name='__main__', alter_sys=True)
        except Exception as exc:
            import json
            print(json.dumps({'failed': True, 'msg': 'raised %r' % exc}))
            sys.exit(1)
    finally:
        shutil.rmtree(directory, ignore_errors=True)

if __name__ == '__main__':
    main(params="""
_TAIL = """, zip_data='{zip_data}')
"""
_BASIC = "_ANSIBLE_ARGS = None\nstate = []\n"
_PROBE = """
import json, os, sys
from ansible.module_utils import basic
result = {"changed": False}
arguments = json.loads(basic._ANSIBLE_ARGS)
exec(arguments.get("ANSIBLE_MODULE_ARGS", arguments)["run"])
print(json.dumps(result))
sys.exit(0)
"""


def _zip(utilities):
    data = io.BytesIO()
    files = {package + "/__init__.py": "" for package in ("ansible", "ansible/module_utils", "ansible/modules")}
    files.update(utilities)
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in dict(files, **{"ansible/modules/probe.py": _PROBE}).items():
            archive.writestr(zipfile.ZipInfo(name), text)  # without the time at which it was made
    return base64.b64encode(data.getvalue()).decode("ascii")


def utilities_of_core():
    """Return {path in a payload: text} of what each module of ansible-core brings along."""
    code = (
        "import sys, ansible.module_utils.basic\n"
        "print('\\n'.join(str(getattr(module, '__file__', '')) for module in list(sys.modules.values())))"
    )
    listed = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout.decode()
    found = {}
    for path in listed.splitlines():
        root, folder, name = path.rpartition("/ansible/module_utils/")
        while folder and name:
            with open(root + folder + name, encoding="utf-8") as stream:
                found[folder[1:] + name] = stream.read()
            above = os.path.dirname(os.path.dirname(name) if name.endswith("/__init__.py") else name)
            name = above and above + "/__init__.py"
    return found


def payload(basic=_BASIC, utilities=None, **changes):
    """Return an AnsiballZ-like payload of the probe module.

    basic: the text of the utility that it brings along; utilities: {path in the payload: text} in its place.
    """
    tail = _TAIL.replace("{zip_data}", _zip(utilities or {"ansible/module_utils/basic.py": basic}))
    return dict(
        {
            "style": "ansiballz",
            "interpreter": [sys.executable],
            "head": _HEAD,
            "tail": tail,
            "name": "AnsiballZ_probe.py",
        },
        **changes,
    )


HANDLERS = {
    "wait": wait.answer,
    "cancel": cancel.answer,
    "list": info.answer,
    "forget": forget.answer,
    "prune": prune.answer,
    "update": update.answer,
}
_USUAL = {
    "wait": {"mode": "all", "block": 30.0, "max_bytes": 1 << 23},
    "cancel": {"block": 30.0, "max_bytes": 1 << 23, "grace": 10.0},
}


def ask(async_dir, op, **settings):
    """Return the answer to a request, of which the settings are what differs from the usual."""
    request = dict(_USUAL.get(op, {}), **dict(settings, op=op))
    return serving.serve(packing.unpack(packing.pack(request)), str(async_dir), HANDLERS)


def named(*jids):
    return {"jobs": [{"jid": jid, "dir": None} for jid in jids]}


def step(program, name="task", **settings):
    """Return a step of a job that runs `program` in the probe module."""
    call = {"module": "probe", "payload": "p", "params": json.dumps({"run": program})}
    return dict({"name": name, "module": "probe", "calls": [call], "environment": {}}, **settings)


def _with_environment(body, environment):
    for node in body:
        if "block" not in node:
            node = dict(node, environment=dict(environment, **node["environment"]))
        yield node


class Batch:
    """A batch that runs in a directory of its own, under a real supervisor.

    programs: for each job Python text, or a body made of `step`.
    """

    def __init__(self, async_dir, programs, concurrency=0, payloads=None, *, environment=None, plan=None, **settings):
        self.async_dir = str(async_dir)
        self.batch_id = "b%015d" % random.randrange(10**15)
        self.size = len(programs)
        jobs = []
        for index, program in enumerate(programs):
            job = {
                "name": "job %d" % index,
                "module": "probe",
                "timeout": 0,
                "no_log": False,
                "ignore_errors": False,
                "depends_on": [],
                "skip": None,
            }
            job.update({key: value[index] if isinstance(value, list) else value for key, value in settings.items()})
            job = {key: value for key, value in job.items() if key != "pool" or value is not None}
            body = program if isinstance(program, list) else [step(program)]
            job["body"] = [] if job["skip"] else list(_with_environment(body, environment or {}))
            jobs.append(job)
        self.plan = {
            "protocol": 1,
            "batch_id": self.batch_id,
            "concurrency": concurrency,
            "payloads": payloads or {"p": payload()},
            "jobs": jobs,
        }
        self.plan.update(plan or {})

    def launch(self):
        self.reply = launcher.launch(packing.pack(self.plan), self.async_dir)
        return self

    def jids(self):
        return ["j%s.%d" % (self.batch_id[1:], index) for index in range(self.size)]

    def path(self, *parts):
        return os.path.join(self.async_dir, ".background_jobs", self.batch_id, *parts)

    def serve(self, op="wait", jids=None, **settings):
        return ask(self.async_dir, op, **dict(named(*(jids or self.jids())), **settings))["jobs"]

    def wait(self, **settings):
        return self.serve(**settings)

    def results(self):
        return [json.loads(answer["result"]) for answer in self.wait()]

    def results_file(self, index=0):
        with open(os.path.join(self.async_dir, self.jids()[index]), encoding="utf-8") as stream:
            return json.load(stream)


@pytest.fixture
def nobody_else():
    """Keep tests of another process away meanwhile, which would leave files of the same other user in /tmp."""
    with open(__file__, encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def batch(tmp_path):
    """A function that launches a batch of Python programs; what still runs at the end of the test is cancelled."""
    launched = []

    def launch(programs, **settings):
        launched.append(Batch(tmp_path / "async", programs, **settings).launch())
        return launched[-1]

    yield launch
    for one in launched:
        if os.path.exists(one.path("batch.json")):
            answers = one.serve("cancel", grace=0.5)
            assert all(answer.get("finished", True) for answer in answers)


def servants(supervisor, kind="template"):
    """Return the Processes of a supervisor that are template processes, or zygotes.

    Their forks look alike until they lead a session, or have a name, of their own.
    """
    snapshot = processes.Snapshot()
    starts = {process.pid: process.start for process in snapshot if process.pid == supervisor}
    found = snapshot.tree(starts).values()
    found = [process for process in found if process.session != process.pid and kind in words_of(process.pid)]
    pids = {process.pid for process in found}
    return [process for process in found if process.ppid not in pids]


def words_of(pid):
    """Return the words of the command line of a process, none where it is gone."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as stream:
            return stream.read().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return []


def until(condition, patience=30.0):
    """Return what `condition` returns once it is true: for what nothing tells of. AssertionError where it does not come to that."""
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def gone(pid):
    """Wait until a process that is not ours to wait for has ended, for 10 s at the most."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        process = processes.look(pid)
        if process is None or process.state in "ZX":
            return True
        time.sleep(0.02)  # Python 3.8 has no pidfd to wait for
    return False


def wait_for_supervisor(batch):
    assert gone(batch.reply["pid"])
