# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The zygote: an interpreter that has imported what modules have in common, and forks a template process for each of them.

Frames on its socket: first {"zygote": the payload to import from}, then for each template {"label"}, which comes with a
socket: the one between the template and the supervisor, which other template processes get as their standard input. The
zygote itself sends nothing. Once a template has read its payload, it sends on its own socket {"template": its pid}, or, if
the payload brings other utilities than those that were imported, {"misfit": true} before it ends. If it can't be forked,
its socket is closed.
End of file: no more templates. The zygote waits until the existing ones have ended.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket

from ansible_collections.background.jobs.plugins.module_utils._fork_server import forking, kernel, preloading, utilities
from ansible_collections.background.jobs.plugins.module_utils._fork_server.channel import Channel


class Zygote:
    """Forks template processes."""

    def __init__(self, channel):
        self._channel = channel
        self._wake_out, self._wake_in = os.pipe()
        self.shared = utilities.Utilities()

    def serve(self, payload):
        """Return None when there is nothing more to do; in each template, its Channel."""
        self.shared.take(payload)
        self.shared.capture = forking.load_capture(payload, self.shared.compiled)
        kernel.Reaper()  # made only for what it loads
        preloading.warm_up()
        for fd in (self._wake_out, self._wake_in):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # what exists now is shared by all templates
        while True:
            ready = select.select([self._channel, self._wake_out], [], [])[0]
            if self._wake_out in ready:
                os.read(self._wake_out, 65536)
                self._reap()
            if self._channel in ready:
                frames = self._channel.arrived()
                if frames is None:
                    self._wait()
                    return None
                for frame in frames:
                    own = self._fork(frame)
                    if own is not None:
                        return own

    @staticmethod
    def _reap():
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    @staticmethod
    def _wait():
        try:
            while True:
                os.wait()
        except ChildProcessError:
            pass

    def _fork(self, frame):
        """Fork; in the template return its Channel."""
        fds = frame["fds"]
        try:
            pid = os.fork()
        except OSError:
            pid = None  # the supervisor sees the end of file
        if pid != 0:
            self._channel.close_fds(fds)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._channel.close_fds([fd for fd in self._channel.fds if fd not in fds])
        self._channel.close()
        for fd in (self._wake_out, self._wake_in):
            os.close(fd)
        kernel.rename(["background.jobs", "template", frame["label"]])
        return Channel(socket.socket(fileno=fds[0]))
