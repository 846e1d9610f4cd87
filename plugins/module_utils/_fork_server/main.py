# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to answer by

"""The template process: loads a module's payload once and forks a process for each job. Or the zygote, which forks templates.

The template never runs a module itself, so a job sees nothing of the one before. Payloads of another form
(binary, old-style, not recognised) are executed, job by job, as Ansible would.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import traceback

from ansible_collections.background.jobs.plugins.module_utils._fork_server import executing, forking, kernel, zygote
from ansible_collections.background.jobs.plugins.module_utils._fork_server.channel import Channel

_OWN_FOLDER = "background-jobs."


def main():
    # whoever ends a whole service signals its supervisor too, which decides
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    sock = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    channel = Channel(sock)
    first = channel.receive()
    if first is None:
        return
    if "zygote" not in first:
        _be_template(channel, first)
        return
    one = zygote.Zygote(channel)
    channel = one.serve(first.pop("zygote"))
    if channel is not None:
        _be_forked(channel, one.shared)


def _be_forked(channel, shared):
    """Be a template, and exit at once: tearing down the shared memory would copy it first."""
    status = 1
    try:
        payload = channel.receive()
        if payload is not None and shared.fits(payload):
            channel.send({"template": os.getpid()})
            _be_template(channel, payload, shared)
        elif payload is not None:
            channel.send({"misfit": True})
        status = 0
    except BaseException:  # there is no caller to handle it: log it
        traceback.print_exc()
    finally:
        os._exit(status)


def _be_template(channel, payload, shared=None):
    """shared: the Utilities that were imported before, if they were."""
    payload["is_foreign"] = payload["directory"] is None
    if not payload["is_foreign"]:
        _serve(channel, payload, shared)
        return
    payload["directory"], own = _own_folder(), os.getpid()
    try:
        _serve(channel, payload, shared)
    finally:
        if os.getpid() == own:
            shutil.rmtree(payload["directory"], ignore_errors=True)


def _own_folder():
    """Make a folder for a template of another user: where Ansible has its temporary files, or else in the default place."""
    kept = os.path.expanduser("~/.ansible/tmp")
    try:
        os.makedirs(kept, 0o700, exist_ok=True)
        _sweep(kept)
        return tempfile.mkdtemp(prefix="%s%d." % (_OWN_FOLDER, os.getpid()), dir=kept)
    except OSError:
        _sweep(tempfile.gettempdir())
        return tempfile.mkdtemp(prefix="%s%d." % (_OWN_FOLDER, os.getpid()))


def _sweep(parent):
    """Remove the folders of templates that were killed."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        pid = name[len(_OWN_FOLDER) :].partition(".")[0]
        if name.startswith(_OWN_FOLDER) and pid.isdigit() and _is_ours(path) and kernel.start_of(int(pid)) is None:
            shutil.rmtree(path, ignore_errors=True)


def _is_ours(path):
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except FileNotFoundError:  # its template has ended meanwhile
        return False


def _serve(channel, payload, shared):
    if payload["style"] == "ansiballz" and payload.get("fork", True):
        try:
            forking.Forking(channel, payload, shared).run()
            return
        except forking.Unfit:
            pass
    executing.Executing(channel, payload).run()
