# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""Serves jobs by executing a program for each, as Ansible would; or a command line, if that is all there is."""

from __future__ import annotations

import base64
import json
import os
import signal

from ansible_collections.background.jobs.plugins.module_utils._fork_server import server

_CANNOT_EXECUTE = 127  # as a shell reports it

# A program read from standard input would import from the working folder, to which others may be able to write.
_RUN_STDIN = (
    "import sys; sys.path[:] = [path for path in sys.path if path not in ('', '.')]; "
    "exec(compile(sys.stdin.buffer.read(), '<stdin>', 'exec', dont_inherit=True))"
)


class Executing:
    """Serves jobs by executing a program for each, as Ansible would; or a command line, if that is all there is."""

    def __init__(self, channel, payload):
        self._server = server.Server(channel, payload)
        self._payload = payload
        self._program = None
        if payload["style"] == "args_file":
            self._program = os.path.join(
                payload["directory"], "%d.%s" % (os.getpid(), os.path.basename(payload["name"]))
            )

    def run(self):
        """Return when all jobs are done; does not return in the process of a job."""
        if self._program:
            server.write(self._program, base64.b64decode(self._payload["data"]), 0o700)
        try:
            frame = self._server.serve()
            if frame is not None:
                self._execute(frame)
        finally:
            if self._program:
                os.unlink(self._program)

    def _execute(self, frame):
        own = os.path.join(self._payload["directory"], "%d" % frame["call"])
        arguments_file = frame.get("stdout", own) + ".args"
        try:
            params = frame["params"].encode("utf-8", "surrogateescape")
            command = list(self._payload["interpreter"])
            if self._payload["style"] == "command":
                command = [os.fsencode(word) for word in json.loads(frame["params"])["command"]]
            elif self._program:
                server.write(arguments_file, params, 0o600)
                command += [self._program, arguments_file]
            else:
                if self._payload["style"] == "ansiballz":
                    text = self._payload["head"] + repr(frame["params"]) + self._payload["tail"]
                    params = text.encode("utf-8", "surrogateescape")
                    if "keep_output" in frame:
                        params = self._with_capture(params, frame)
                server.write(arguments_file, params, 0o600)
                program = os.open(arguments_file, os.O_RDONLY)
                os.unlink(arguments_file)
                os.dup2(program, 0)
                if self._payload["style"] == "ansiballz" or os.path.basename(command[0]).startswith("python"):
                    command += ["-c", _RUN_STDIN]
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)  # the program must not ignore what Python ignores
            os.environ.update(frame["environment"])
            os.execvp(command[0], command)
        except OSError as exc:
            os.write(2, ("cannot execute it: %s\n" % exc).encode("utf-8", "replace"))
        finally:
            os._exit(_CANNOT_EXECUTE)

    def _with_capture(self, program, frame):
        """Return the text of a program (bytes) that runs `program` and keeps what its child processes print."""
        copies = frame.get("copies", ())
        for fd in copies:
            os.set_inheritable(fd, True)
        settings = (program, self._payload["name"], frame.get("output"), frame["keep_output"], copies)
        return ("%s\nrun_program%r\n" % (self._payload["capture"], settings)).encode("utf-8")
