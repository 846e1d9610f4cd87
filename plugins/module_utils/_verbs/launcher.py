# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # it starts a process that outlives the module: run_command waits

"""Starts the supervisor of a batch, and returns when it has taken the order."""

from __future__ import annotations

import glob
import json
import os
import selectors
import subprocess
import sys
import time

from ansible_collections.background.jobs.plugins.module_utils._fork_server import code_file, loader
from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_lock, packing, results
from ansible_collections.background.jobs.plugins.module_utils._protocol import states as _states
from ansible_collections.background.jobs.plugins.module_utils._system import files, job_directory, json_text, users
from ansible_collections.background.jobs.plugins.module_utils._verbs import kept

_PACKAGE = "ansible_collections.background.jobs.plugins.module_utils"
# The interpreter imports all that it needs before it answers, because this module's zip is removed soon after.
_BOOT = (
    "import os, sys\n%sfrom " + _PACKAGE + "._supervisor.main import main\n%s\nmain(%s)\n"
    "sys.stdout.flush()\nos._exit(0)"  # without taking the interpreter down in order
)
_FROM_ZIP = ("sys.path.insert(0, %r)\n", "del sys.path[0]", "")
_FROM_KEPT = (code_file.START, "", "kept.leave")
_PATIENCE = 1.0  # seconds for an interpreter to end after it has closed its output
_MOST_SAID = 65536  # bytes to keep of what it prints before its answer

# The options of all modules that launch.
COMMON = dict(
    timeout=dict(type="float", default=0),
    nice=dict(type="int"),
    memory_max=dict(type="str"),
    cpu_quota=dict(type="str"),
    pool=dict(type="str"),
    pool_size=dict(type="int"),
    wait=dict(type="bool", default=False),
    wait_timeout=dict(type="float", default=0),
    poll=dict(type="float", default=10),
    on_timeout=dict(type="str", choices=["fail", "cancel", "return"], default="fail"),
    cleanup=dict(type="bool"),
    set_facts=dict(type="bool", default=False),
    batch_id=dict(type="str"),
    keep_output=dict(type="str", default="1M"),
    _plan=dict(type="str", no_log=True),
    _singleton=dict(type="str"),
    _request=dict(type="str"),
    _async_dir=dict(type="str"),
)


def serve(module):
    """Be the module `module`: start the batch that its action plugin has planned, answer its request, or both."""
    plan, request, async_dir = [module.params[key] for key in ("_plan", "_request", "_async_dir")]
    if not plan:
        _serving().be(module, _handlers())
    found = kept.find(async_dir, kept.own_archive())
    try:
        reply = launch(
            plan,
            async_dir,
            module.params["_singleton"],
            compiled=found.get("path"),
            folder=_working_folder(module),
            meanwhile=_handlers if request else None,
        )
    except LaunchError as exc:
        module.fail_json(msg=str(exc))
    for warning in reply.pop("warnings", ()):
        module.warn(warning)
    reply["kept"] = found or kept.keep(async_dir, kept.own_archive())
    if request and "attached" not in reply and "missing" not in reply:
        reply.update(first_answer(request, async_dir))
    module.exit_json(changed="pid" in reply, **reply)


def _working_folder(module):
    """Return the working folder for jobs, None for the one of this process.

    A module that can't enter the folder where the connection begins uses a temporary one, which is removed at its end.
    """
    own = getattr(module, "_tmpdir", None)
    try:
        if not own or not os.path.samefile(own, os.getcwd()):
            return None
    except OSError:
        pass
    home = os.path.expanduser("~")
    return home if os.access(home, os.R_OK | os.X_OK) else "/"


def first_answer(packed_request, async_dir):
    """Return {reply, waited}: the packed answer to a packed request, and the seconds it took; {} if there is none.

    A failure here does not matter, as the jobs were launched: the next request reports why they can't be looked at.
    """
    begun = time.monotonic()
    try:
        reply = _serving().serve(packing.unpack(packed_request), async_dir, _handlers())
    except (files.UnsafePath, OSError):
        return {}
    return {"reply": packing.pack(reply), "waited": time.monotonic() - begun}


def _handlers():
    """Return the handlers of a module that launches: the same as of async_wait. Not all launches need them."""
    _serving()
    from ansible_collections.background.jobs.plugins.module_utils._verbs import cancel, forget, info, wait

    return {"cancel": cancel.answer, "forget": forget.answer, "list": info.answer, "wait": wait.answer}


def _serving():
    from ansible_collections.background.jobs.plugins.module_utils._verbs import serving

    return serving


class LaunchError(Exception):
    """Nothing was started. The message is for the user."""


def launch(packed_plan, async_dir, singleton=None, **how):
    """Start the batch of a packed plan; singleton: only if no job of this name is queued or running; how: see `_start`.

    Returns {async_dir, user, pid}: the directory of the results files, its user, and the pid of the supervisor, with
    `warnings` if there are any, and `shared`, what the host keeps of the plan (shared.py). If nothing had to be started,
    in place of the pid: `states` of its jobs, if this batch was launched before; `attached`, the entry of a singleton that
    is there; `missing`, shared parts of the plan that have to be sent as well.
    """
    try:
        directory = job_directory.make(async_dir)
        if singleton is None:
            with batch_lock.lock(directory, alone=False) as lock:
                answer = _start(packed_plan, directory, lock, **how)
            if not answer.get("exists"):
                return _reply(answer, directory)
        with batch_lock.lock(directory, alone=True) as lock:
            reply = _find(packing.unpack(packed_plan), directory, singleton)
            if reply:
                return dict(reply, async_dir=directory, user=users.own_name())
            return _reply(_start(packed_plan, directory, lock, **how), directory)
    except (files.UnsafePath, OSError) as exc:
        raise LaunchError("The jobs can't be recorded: %s. Nothing was started." % exc) from exc


def _reply(answer, directory):
    if "error" in answer:
        raise LaunchError("Nothing was started: %s." % answer["error"])
    return dict(answer, async_dir=directory, user=users.own_name())


def _find(plan, directory, singleton):
    """Return what of a plan exists already, None if it has to be launched. Called under the lock: nobody else records."""
    batch_id = plan["batch_id"]
    if batch_lock.is_begun(directory, batch_id):
        batch_lock.clear(directory, batch_id)  # its supervisor was killed before it had taken the order
    states = _states_of(plan, directory)
    if states is not None:
        return {"states": states}
    running = _running(singleton, directory) if singleton is not None else None
    return {"attached": running} if running else None


def _states_of(plan, directory):
    """Return the states of the jobs of a plan, None if no batch of its id was launched here."""
    from ansible_collections.background.jobs.plugins.module_utils._verbs import batches

    batch_id = plan["batch_id"]
    try:
        reader = batches.look_up(directory, batch_id)
        recorded = [job["name"] for job in reader.header["jobs"]] if reader else None
    except files.UnsafePath as exc:
        raise LaunchError(
            "The record of batch %s, which already exists, can't be read: %s. Nothing was started." % (batch_id, exc)
        ) from exc
    if reader is None:
        return None
    if reader.elsewhere:
        raise LaunchError(
            "Batch %s was launched on another machine, %s, which shares this directory. Nothing was started. "
            "Give another batch_id for each host, or none." % (batch_id, reader.elsewhere)
        )
    planned = [job["name"] for job in plan["jobs"]]
    if recorded != planned:
        raise LaunchError(
            "Batch %s already exists, with other jobs (%d: %s) than those of this task (%d: %s). Nothing was started. "
            "Give another batch_id, or none."
            % (batch_id, len(recorded), results.brief_names(recorded), len(planned), results.brief_names(planned))
        )
    return [job["state"] for job in reader.jobs]


def _running(name, directory):
    """Return the entry of the newest job of a name that has not ended, None if there is none."""
    from ansible_collections.background.jobs.plugins.module_utils._verbs import info

    selection = {
        "names": [glob.escape(name)],
        "batch_ids": None,
        "states": [_states.QUEUED, _states.RUNNING, _states.LOST],
        "older_than": None,
        "newer_than": None,
        "core": False,
    }
    jobs = info.answer({"op": "list", "select": selection}, directory)["jobs"]
    jobs = [job for job in jobs if "elsewhere" not in job]  # one on each machine
    unfinished = [job for job in jobs if job["state"] != _states.LOST]
    if unfinished:
        return unfinished[-1]
    for job in jobs:
        if job.get("processes"):
            raise LaunchError(
                "Nothing was started: a job of this name, %s, was lost, and some of its processes still run (%d, the first is %d). "
                "End them with async_cancel, or try again when they have ended."
                % (job["jid"], job["processes"], job["pid"])
            )
    return None


def _sources():
    """Return the sources of the program of template processes."""
    parts = {name: _text_of(name) for name in loader.PARTS}
    return {"template": {"loader": _text_of("loader"), "parts": parts}, "capture": _text_of("capture")}


def _text_of(name):
    """Return the source of a file of _fork_server, from this module's zip."""
    rooms = os.path.dirname(os.path.dirname(__file__))
    return __loader__.get_data(os.path.join(rooms, "_fork_server", name + ".py")).decode("utf-8")


def _carried():
    """Never called: the imports make ansible-core put into the payload what other interpreters will read from it."""
    from ansible_collections.background.jobs.plugins.module_utils._fork_server import capture, main  # noqa: F401
    from ansible_collections.background.jobs.plugins.module_utils._supervisor import main as supervisor  # noqa: F401


def _start(packed_plan, directory, lock, *, compiled=None, folder=None, meanwhile=None):
    """Return the answer of a new supervisor, which keeps the lock until all is recorded, even if this process is killed.

    compiled: the path of a file of what this module runs from, compiled (kept.py), which saves the supervisor doing so again;
    folder: the working folder of the jobs, if it is not the one of this process; meanwhile: what to do while the supervisor's
    interpreter starts, before the jobs need the processors.
    """
    process = _boot(lock, compiled, folder)
    if meanwhile is not None:
        meanwhile()
    settings = dict(_sources(), async_dir=directory, lock=lock, compiled=compiled)
    order = json.dumps(settings).encode("ascii") + b"\n" + packed_plan.encode("ascii")
    return _converse(process, order)


def _converse(process, order):
    """Hand over an order; return the answer, ignoring anything else that is printed when the process starts."""
    said = {process.stdout: bytearray(), process.stderr: bytearray()}
    unsent = memoryview(order)
    with process.stdin, process.stdout, process.stderr, selectors.DefaultSelector() as selector:
        for stream in said:
            selector.register(stream, selectors.EVENT_READ)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        os.set_blocking(process.stdin.fileno(), False)
        while any(stream in selector.get_map() for stream in said):
            for stream in [key.fileobj for key, dummy in selector.select()]:
                if stream is process.stdin:
                    unsent = _hand_over(stream, unsent)
                    if not unsent:
                        selector.unregister(stream)
                        stream.close()
                    continue
                data = os.read(stream.fileno(), 65536)
                if not data:
                    selector.unregister(stream)
                said[stream] += data
                del said[stream][:-_MOST_SAID]
                answer = _answer_in(said[process.stdout]) if stream is process.stdout else None
                if answer:
                    return answer
        return {"error": "the supervisor did not start: %s" % _told(said.values(), process)}


def _hand_over(stream, data):
    """Write what the pipe takes of `data`, and return the rest; nothing if nobody reads it: its output will say why."""
    try:
        return data[os.write(stream.fileno(), data) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return data[:0]


def _answer_in(output):
    """Return the answer from what a supervisor's interpreter has printed so far, None if it has not come yet."""
    for line in output.split(b"\n")[:-1]:
        try:
            answer = json_text.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict) and not {"pid", "error", "missing"}.isdisjoint(answer):
            return answer
    return None


def _told(said, process):
    """Return what a process has printed that ended without an answer."""
    texts = [text.decode("utf-8", "replace").strip() for text in said]
    if any(texts):
        return "; ".join(filter(None, texts))
    try:
        return "it said nothing, and %s" % results.describe_status(process.wait(_PATIENCE))
    except subprocess.TimeoutExpired:
        return "it said nothing"


def _own_root():
    """Return the folder or zip that this collection is imported from."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for dummy in _PACKAGE.split("."):
        root = os.path.dirname(root)
    return root


def _boot(lock, compiled=None, folder=None):
    first, then, at_last = _FROM_KEPT if compiled else _FROM_ZIP
    program = _BOOT % (first % (compiled or _own_root()), then, at_last)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, "background.jobs", "supervisor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        cwd=folder,
        start_new_session=True,
        pass_fds=[lock],
    )


def _environment():
    """Return the environment that this process was started with, without what the module has changed since."""
    try:
        with open("/proc/self/environ", "rb") as stream:
            pairs = [pair.partition(b"=") for pair in stream.read().split(b"\0") if pair]
    except OSError:
        return None  # as it is now
    return {os.fsdecode(name): os.fsdecode(value) for name, dummy, value in pairs}
