# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""Serves jobs from inside an AnsiballZ payload: where it would run the module, a job is forked instead.

This is the only file on the host that depends on ansible-core's private names (`basic._ANSIBLE_ARGS`, and that a payload
calls `runpy.run_module`; 2.19 to 2.21)."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import errno
import io
import json
import os
import runpy
import shutil
import sys
import tempfile
import traceback

from ansible_collections.background.jobs.plugins.module_utils._fork_server import (
    compiled,
    preloading,
    server,
    utilities,
)

_ZIP = "_background_jobs_zip"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Unfit(Exception):
    """This payload cannot be served by forking."""


class Forking:
    """Serves jobs from inside an AnsiballZ payload: where it would run the module, a job is forked instead."""

    def __init__(self, channel, payload, inherited=None):
        """inherited: the Utilities that were imported before the payload came, if they were."""
        self._server = server.Server(channel, payload)
        self._payload = payload
        self._known = compiled.load(payload.get("compiled")) if inherited is None else inherited.compiled
        self._adopting = utilities.Adopting(inherited) if inherited is not None else None
        self._capture = load_capture(payload, self._known) if inherited is None else inherited.capture
        self._run_module = runpy.run_module
        self._rmtree = shutil.rmtree
        self._umask = None  # the one before the payload was unpacked
        self._in_job = False
        self._frame = None
        self._served = False
        self._compiled = contextlib.ExitStack()

    def run(self):
        """Return when all jobs are done; exits in the process of a job. Unfit if no job could be served."""
        runpy.run_module = self._serve_instead
        standard_output = sys.stdout
        sys.stdout = io.StringIO()  # if a payload can't be loaded, each job will print its message again
        sys.argv = [self._payload["name"]]
        program, more = _program(self._payload)
        self._compiled.enter_context(compiled.used(self._known))
        self._known = None  # a large one, of which jobs need nothing
        if self._adopting is not None:
            sys.meta_path.insert(0, self._adopting)
        try:
            self._unpack_and_run(program, more)
        except SystemExit as exc:
            if self._in_job:
                self._leave(exc.code)
        except BaseException:  # the process of a job must never continue as the template
            if self._in_job:
                traceback.print_exc()
                self._leave(1)
            if self._served:
                raise
        finally:
            if not self._in_job:
                sys.stdout = standard_output
                runpy.run_module = self._run_module
                self._compiled.close()
                self._end_unpacking()
        if not self._served:
            raise Unfit

    def _unpack_and_run(self, program, more):
        """Have the payload unpack itself into a folder that goes with the batch, even if this process is killed; elsewhere
        only if that disk is full."""
        names = {"__name__": "__main__", "__builtins__": builtins, **more}
        tempfile.tempdir, self._umask = self._payload["directory"], os.umask(0o077)
        try:
            exec(program, dict(names))  # pylint: disable=exec-used
        except OSError as exc:
            if self._served or exc.errno not in _DISK_FULL:
                raise
            tempfile.tempdir = None
            exec(program, dict(names))  # pylint: disable=exec-used

    def _end_unpacking(self):
        """Let each job find its own folder for temporary files, and have its proper umask."""
        tempfile.tempdir = None
        os.umask(self._umask)

    def _serve_instead(self, mod_name, *args, **kwargs):
        if self._adopting is not None:
            self._adopting.adopt()
        basic = sys.modules.get("ansible.module_utils.basic")
        if not hasattr(basic, "_ANSIBLE_ARGS"):
            raise Unfit
        preloading.preload(mod_name)
        self._compiled.close()
        self._end_unpacking()
        sys.stdout = sys.__stdout__
        self._served = True
        # all that can be made before the fork is: what a job makes costs it pages of memory, and the time to copy them
        begin_copies = self._capture["prepare"]() if self._capture else None
        before = sys.__stdout__
        self._printed = _Printed()
        stdout = io.TextIOWrapper(io.BufferedWriter(self._printed), before.encoding, before.errors)
        frame = self._server.serve()
        if frame is None:
            raise SystemExit(0)
        self._in_job, self._frame = True, frame
        sys.stdout = sys.__stdout__ = stdout
        runpy.run_module = self._run_module
        atexit._clear()
        os.environ.update(frame["environment"])
        basic._ANSIBLE_ARGS = frame["params"].encode("utf-8", "surrogateescape")
        if begin_copies and "keep_output" in frame:
            begin_copies(frame.get("output"), frame["keep_output"], frame.get("copies", ()))
        try:
            return self._run_module(mod_name, *args, **kwargs)
        finally:
            # the payload now removes its zip, which belongs to the template and the jobs after this one
            shutil.rmtree = self._keep

    def _keep(self, *args, **kwargs):
        shutil.rmtree = self._rmtree

    def _leave(self, code):
        """End the process of a job as the interpreter would, but leave out what the template has set up."""
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        atexit._run_exitfuncs()
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = 120  # as the interpreter does
        result = self._printed.result(self._frame.get("stdout", ""))
        if result is not None:
            self._server.tell(self._frame["call"], result)
        os._exit((code or 0) & 0xFF)


def _program(payload):
    """Return the code of a payload's program, and the variables that it needs.

    The zip is one of them, and not a part of the code: compiling so long a text takes longer than all else.
    """
    tail, more = payload["tail"], {}
    found = utilities.zip_in(tail)
    if found:
        begin, end = found
        more = {_ZIP: tail[begin:end]}
        tail = tail[: begin - 1] + _ZIP + tail[end + 1 :]
    return compile(payload["head"] + "'{}'" + tail, payload["name"], "exec", dont_inherit=True), more


def load_capture(payload, known):
    """Return what capture.py defines, None if no output is kept. Read before the first fork, once for all jobs.

    known: the CodeFile of compiled.load, None if there is none.
    """
    if not payload.get("capture"):
        return None
    names = {"__name__": "background.jobs capture", "__builtins__": builtins}
    within = __name__.replace(".", "/").replace("forking", "capture.py")
    code = compiled.look_up(known, within, payload["capture"].encode("utf-8"))
    code = code or compile(payload["capture"], "background.jobs capture", "exec")
    exec(code, names)  # pylint: disable=exec-used
    return names


class _Printed(io.RawIOBase):
    """What is beneath a job's standard output: a full disk is no error of the module; what the disk can't take stays here."""

    name, mode = "<stdout>", "wb"

    def __init__(self):
        self._left = None

    def fileno(self):
        return 1

    def writable(self):
        return True

    def write(self, data):
        if self._left is None:
            try:
                return os.write(1, data)
            except OSError as exc:
                if exc.errno not in _DISK_FULL:
                    raise
                self._left = bytearray()
        self._left += data
        return len(data)

    def result(self, path):
        """Return the module's result if not all of it is in the file `path`, None if it is, or can't be understood."""
        if self._left is None:
            return None
        try:
            with open(path, "rb") as stream:
                result = json.loads(stream.read() + self._left)
        except (OSError, ValueError, RecursionError):
            return None
        return result if isinstance(result, dict) else None
