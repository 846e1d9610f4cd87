# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notes which lines of the collection a process runs, in a file that all processes of a run map into their memory.

A common collector writes at exit. Here nothing has to be written: processes that are killed, forked, or end by os._exit
count as well, and a line costs something once. Runs in each interpreter of an environment that `make coverage` has made.
"""

from __future__ import annotations

import mmap
import os
import sys

FOLDER = os.environ.get("BGJ_LINES")
PLUGINS = "ansible_collections/background/jobs/plugins/"
# What template processes are handed as text is named like "background.jobs server".
HANDED = "background.jobs "
HANDED_ROOM = "module_utils/_fork_server/%s.py"


def start(folder: str) -> None:
    """Begin in this process: folder/index has the checkout's plugins, then an offset and a name for each file of it."""
    with open(os.path.join(folder, "index"), encoding="utf-8") as stream:
        checkout = stream.readline().strip()
        offsets = {name: int(offset) for offset, name in (line.split() for line in stream)}
    with open(os.path.join(folder, "lines"), "r+b") as stream:
        seen = mmap.mmap(stream.fileno(), 0)
    monitoring = sys.monitoring
    events = monitoring.events

    def offset_of(code) -> int | None:
        path = code.co_filename
        if path.startswith(HANDED):
            name = HANDED_ROOM % path[len(HANDED) :]
        elif PLUGINS in path:
            name = path.rpartition(PLUGINS)[2]
        else:
            name = path[len(checkout) :] if path.startswith(checkout) else None
        return offsets.get(name)

    def begun(code, dummy):
        if offset_of(code) is not None:
            monitoring.set_local_events(monitoring.COVERAGE_ID, code, events.LINE)
        return monitoring.DISABLE

    def line(code, number):
        offset = offset_of(code)
        if offset is not None:
            seen[offset + number] = 1
        return monitoring.DISABLE

    monitoring.use_tool_id(monitoring.COVERAGE_ID, "background.jobs")
    monitoring.register_callback(monitoring.COVERAGE_ID, events.PY_START, begun)
    monitoring.register_callback(monitoring.COVERAGE_ID, events.LINE, line)
    monitoring.set_events(monitoring.COVERAGE_ID, events.PY_START)


if FOLDER and os.path.isdir(FOLDER) and sys.monitoring.get_tool(sys.monitoring.COVERAGE_ID) is None:
    start(FOLDER)
