# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""The program of a supervisor: takes an order, records the batch, detaches from its launcher, and runs the jobs."""

from __future__ import annotations

import json
import os
import sys

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_writer,
    packing,
    plans,
    shapes,
    shared,
)
from ansible_collections.background.jobs.plugins.module_utils._supervisor import host_limits, module_call, signals
from ansible_collections.background.jobs.plugins.module_utils._supervisor.supervisor import SIGNALS, Supervisor
from ansible_collections.background.jobs.plugins.module_utils._system import files


def main(all_is_imported=lambda: None):
    """Read an order from standard input, confirm it on standard output, and carry it out.

    all_is_imported: what to call when nothing more will be imported.

    The order: a line of JSON {"async_dir", "template", "capture", "compiled", "lock"}, then the packed plan; template: the
    texts of the fork server (fork_client.program), capture: the text of capture.py; compiled: the path of a file
    of compiled code, or null; lock: an inherited file descriptor, whose lock is held until all is recorded.
    The answer: a line of JSON: {"pid"}, with "warnings" if there are any and "shared", the hashes of the parts of the plan
    that the host keeps; or {"error"}, with "exists" if a batch of this id exists; or {"missing"}, the hashes of shared parts
    that neither came nor are kept. An order that was taken is carried out even if nobody reads the answer.
    """
    arrived = signals.Signals(SIGNALS)  # from now on SIGTERM does not end it before its jobs have ended
    settings = json.loads(sys.stdin.buffer.readline())
    plan = packing.unpack(sys.stdin.buffer.read())
    try:
        kept, missing = shared.put_in(plan, settings["async_dir"])
        if missing:
            print(json.dumps({"missing": missing}))
            return
        plans.check(plan)
    except shapes.Malformed as exc:
        print(json.dumps({"error": "what the action plugin has planned can't be right: %s" % exc}))
        return
    writer = batch_writer.BatchWriter(settings["async_dir"], plan["batch_id"])
    try:
        # a batch that exists already needs no preparation
        groups, warnings = (None, []) if os.path.isdir(writer.path) else host_limits.prepare(plan)
    except host_limits.Refused as exc:
        print(json.dumps({"error": str(exc)}))
        return
    supervisor = Supervisor(plan, writer, settings, module_call.Clock(), dict(os.environ), groups=groups)
    try:
        supervisor.record()
    except batch_writer.BatchExists as exc:
        print(json.dumps({"error": str(exc), "exists": True}))
        return
    except (files.UnsafePath, OSError) as exc:
        if groups is not None:
            groups.close()
        print(json.dumps({"error": "cannot write the records of the batch: %s" % exc}))
        return
    os.close(settings["lock"])
    all_is_imported()
    _detach(writer, {"pid": os.getpid(), "warnings": warnings, "shared": kept})
    supervisor.run(arrived)


def _detach(writer, said):
    null = os.open(os.devnull, os.O_RDONLY)
    log = writer.open_log()
    answer = os.dup(1)
    os.dup2(null, 0)
    for fd in (1, 2):
        os.dup2(log, fd)
    for fd in (null, log):
        os.close(fd)
    try:
        os.write(answer, json.dumps({key: value for key, value in said.items() if value}).encode("ascii") + b"\n")
    except BrokenPipeError:
        pass  # the launcher was killed: the batch is recorded, and can be found by its id
    os.close(answer)
