# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as core's async leaves them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import processes as _processes


@pytest.fixture
def core_job(tmp_path):
    """A job as core's async leaves it: a results file, and a process that carries the job id behind async_wrapper."""
    processes = []

    def start(jid="j4242424242.17", wrapper="async_wrapper.py", ignoring=False):
        (tmp_path / jid).write_text(json.dumps({"started": True, "finished": False, "ansible_job_id": jid}))
        program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if ignoring else ""
        program += "import subprocess, time; subprocess.Popen(['sleep', '300'], start_new_session=True); print('up', flush=True); time.sleep(300)"
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", program, "/tmp/x/" + wrapper, jid.split(".")[0], "600", "module"],
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        )
        processes[-1].stdout.readline()
        return jid, processes[-1]

    yield start
    for process in processes:
        root = _processes.look(process.pid)
        if root:
            for member in _processes.Snapshot().tree({root.pid: root.start}).values():
                _processes.send(member, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def finish(path, result):
    temporary = path.with_name(path.name + ".x")
    temporary.write_text(json.dumps(result))
    temporary.rename(path)
