# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The program that a become plugin is given to run, to start a template process of another user."""

from __future__ import annotations

INTERPRETER = "@background.jobs.interpreter@"
"""Stands for the words of an interpreter: nothing that a shell, or shlex.quote, would touch."""

SIGN = b"background.jobs\n"
"""What the program sends first, on its standard input: what is sent to it earlier, the become command might read."""

# It reads what to run from its standard input, which is a socket. If the interpreter has to start with an environment of
# its own, it executes itself again: sudo would have dropped that environment.
PROGRAM = """\
import sys
sys.path[:] = [path for path in sys.path if path not in ("", ".")]
import json, os
def read(size):
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data)) or sys.exit()
    return data
os.write(0, %r)
order = json.loads(read(int(read(10))))
os.environ.update(order["environment"])
if order["environment"]:
    os.execv(sys.executable, [sys.executable, "-c", order["boot"]] + order["words"])
exec(compile(order["boot"], "background.jobs", "exec"))
""" % (SIGN,)
