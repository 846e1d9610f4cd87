# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the host's half takes to list, and to forget, 5,000 jobs. Prints a line of JSON: {what: [seconds to list, seconds to forget]}."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_writer, ids, results
from ansible_collections.background.jobs.plugins.module_utils._system import processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import info, prune

SIZE = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
RUNS = 3
RESULT = {"changed": True, "rc": 0, "stdout": "done", "stderr": "", "cmd": ["true"]}


def batches(directory: str, number: int, size: int) -> None:
    """Record batches whose jobs have all succeeded."""
    supervisor = dict(processes.identity(os.getpid()), pid=1 << 22)
    job = {"name": "job", "module": "ansible.builtin.command", "timeout": 0.0, "no_log": False, "ignore_errors": False}
    for count in range(number):
        writer = batch_writer.BatchWriter(directory, f"b{count:015d}")
        header = {
            "batch_id": writer.batch_id,
            "launched_at": time.time(),
            "supervisor": supervisor,
            "jobs": [job] * size,
        }
        writer.create(header, [ids.jid_of(writer.batch_id, index) for index in range(size)])
        for index in range(size):
            writer.note(job=index, state="running", at=1.0, attempt=1, pid=1 << 22, start=1)
            writer.write_result(index, results.of(RESULT), durable=False)
            writer.note(job=index, state="succeeded", at=2.0)
        writer.flush()
        writer.close()
        os.close(writer._journal)


def of_core(directory: str, number: int) -> None:
    for count in range(number):
        with open(os.path.join(directory, f"j{100000000000 + count}.{count}"), "w", encoding="ascii") as stream:
            json.dump(RESULT, stream)


def measure(directory: str) -> tuple[float, float]:
    """Return the seconds that listing all took, and forgetting all."""
    fitting = {**dict.fromkeys(("names", "batch_ids", "states", "older_than", "newer_than")), "core": True}
    before = time.monotonic()
    found = info.answer({"op": "list", "select": fitting}, directory)["jobs"]
    listed = time.monotonic() - before
    assert [job["state"] for job in found] == ["succeeded"] * SIZE
    jobs = [{"jid": job["jid"], "dir": job["dir"]} for job in found]
    before = time.monotonic()
    reply = prune.answer({"op": "prune", "jobs": jobs, "remove": True, "leftovers": fitting}, directory)
    assert all(job["forgotten"] for job in reply["jobs"])
    return listed, time.monotonic() - before


def main() -> None:
    os.fsync = lambda fd: None  # nothing here has to outlast a power cut
    kinds = {
        f"{SIZE} jobs of one batch": lambda directory: batches(directory, 1, SIZE),
        f"{SIZE} batches of one job": lambda directory: batches(directory, SIZE, 1),
        f"{SIZE} jobs of core's async": lambda directory: of_core(directory, SIZE),
    }
    figures = {}
    for kind, record in kinds.items():
        times = []
        for dummy in range(RUNS):
            with tempfile.TemporaryDirectory(prefix="bgj-benchmark-") as directory:
                record(directory)
                times.append(measure(directory))
        figures[kind] = [round(statistics.median(column), 3) for column in zip(*times, strict=True)]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
