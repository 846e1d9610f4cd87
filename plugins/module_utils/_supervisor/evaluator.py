# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # it forks a process that outlives the module

"""The supervisor's side of the evaluator of its batch (the other side: _late/server.py)."""

from __future__ import annotations

import array
import base64
import gc
import importlib
import importlib.abc
import importlib.util
import io
import os
import signal
import socket
import sys
import traceback
import zipfile

_ROOM = "ansible_collections.background.jobs.plugins.module_utils._late"


class Evaluator:
    """Forks the evaluator process, and forks it again if it was killed."""

    def __init__(self, sources, archive):
        """sources: its code, as in the plan; archive: the one of Jinja2, None if nothing has to be rendered."""
        self._archive = archive
        self._finder = _Sources(sources)
        self._control = None
        self._pid = None

    def start(self):
        """Start the process, so that it is ready when the first job is."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._become(theirs)
        try:
            os.setpgid(pid, pid)  # a process group of its own, so that `close` ends all of it
        except OSError:
            pass  # it has done so itself
        theirs.close()
        self._control, self._pid = ours, pid

    def hand_over(self, sock, batch):
        """Have it fork a process that gets this socket and the Folder of the batch. OSError if that can't be done."""
        fds = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno(), batch.fd]))]
        try:
            self._control.sendmsg([b"\0"], fds)
        except OSError:  # it was killed; what it has forked goes on
            self._control.close()
            os.waitpid(self._pid, 0)
            self.start()
            self._control.sendmsg([b"\0"], fds)

    def close(self):
        """End the process, and what it has forked."""
        self._control.close()
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # all of it has ended
        os.waitpid(self._pid, 0)

    def _become(self, control):
        status = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)  # its file descriptor is closed below, and its number used again
            gc.collect()  # unreachable objects close their files now, not later, when the numbers belong to other files
            for fd in _open_files():
                if fd > 2 and fd != control.fileno():
                    os.close(fd)
            sys.meta_path.insert(0, self._finder)
            importlib.import_module(_ROOM + ".server").serve(control, self._archive)
            status = 0
        except BaseException:  # nothing may propagate into the supervisor's code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)


def _open_files():
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    open_files = [int(name) for name in os.listdir(folder) if name.isdigit()]
    return [fd for fd in open_files if _is_open(fd)]  # the one of the listing itself is closed by now


def _is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class _Sources(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads the modules of _late from a zip, in base64, which only launches that need them bring."""

    def __init__(self, packed):
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed))) as archive:
            self._sources = {
                "%s.%s" % (_ROOM, name[: -len(".py")]): archive.read(name).decode("utf-8")
                for name in archive.namelist()
            }
        self._sources[_ROOM] = ""

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in self._sources:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=self.is_package(fullname))

    def is_package(self, fullname):
        return fullname == _ROOM

    def get_source(self, fullname):
        return self._sources[fullname]

    def get_code(self, fullname):
        return compile(self._sources[fullname], fullname, "exec", dont_inherit=True)
