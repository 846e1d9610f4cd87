# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Files that a launch brought for its jobs, in a folder of each job's own: there from the launch to the job's end.

In the plan (plugin_utils/_plan/staging.py makes it):
  staging_token   a text that stands for the job's folder in the params of a step with `staged`
  files           {SHA-256: content in base64}, or with a bundle {SHA-256: [offset, size]}
  bundle          a file that holds all contents
  step["staged"]  [[path below the job's folder, SHA-256, mode], ...]

Below the batch's folder: staged/<index>/<number>/<name>, and, for steps that may be tried again, the originals in
staged/<index>/again/<number>/<name>: the copy module moves its source away, so each attempt gets a copy (`prepare`).
"""

from __future__ import annotations

import base64
import errno
import json
import os
import stat

from ansible_collections.background.jobs.plugins.module_utils._protocol import scripts
from ansible_collections.background.jobs.plugins.module_utils._system import files

FOLDER = "staged"
_AGAIN = "again"
_BLOCK = 1024 * 1024


def folder_of(batch_path, index):
    """Return the staging folder of a job, which the token in its params stands for."""
    return os.path.join(batch_path, FOLDER, str(index))


def fill_in(params, token, folder):
    """Return the params of a call with the path of the job's staging folder for the token."""
    return params.replace(token, json.dumps(folder)[1:-1])


def steps_of(job):
    """Return all steps of a job of the plan, those of its blocks too; for a job with a script, the turns of its tasks instead."""
    if "script" in job:
        return [dict(turn, retries=1) for dummy, turn in scripts.turns_of(job["script"])]
    found, nodes = [], list(job["body"])
    while nodes:
        node = nodes.pop(0)
        if "block" in node:
            for section in ("block", "rescue", "always"):
                nodes += node.get(section, ())
        else:
            found.append(node)
    return found


def may_repeat(job, step):
    """Say whether a step may run more than once."""
    return bool(job.get("retries") or step.get("retries"))


def write(plan, batch):
    """Write the files of all jobs, and drop them from the plan. batch: the Folder of the batch, which is new, or its path.

    OSError if that cannot be done: the caller then removes the batch's folder.
    """
    contents = plan.pop("files", None)
    if not contents:
        return
    source = _Source(contents, plan.pop("bundle", None))
    try:
        staged = files.folder_of(batch).make(FOLDER)
        for index, job in enumerate(plan["jobs"]):
            for step in steps_of(job):
                if step.get("staged"):
                    folder = staged.make(str(index))
                    if may_repeat(job, step):
                        folder = folder.make(_AGAIN)
                    for name, digest, mode in step["staged"]:
                        _write_one(source, folder, name, digest, mode)
    finally:
        source.close()


def _place(folder, name):
    """Return (Folder, name) of a staged file; ValueError if its name leads out of its job's folder."""
    number, dummy, base = name.partition("/")
    if not number.isdigit() or base in ("", ".", "..") or "/" in base or "\0" in base:
        raise ValueError("not the name of a staged file: %r" % name)
    return folder.make(number), base


def _create(folder, name, mode):
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, mode, dir_fd=folder.fd)
    try:
        os.fchmod(fd, mode)
    except OSError:
        os.close(fd)
        raise
    return fd


def _write_one(source, folder, name, digest, mode):
    fd = _create(*_place(folder, name), mode)
    try:
        for block in source.blocks(digest):
            files.write_all(fd, block)
    finally:
        os.close(fd)


class _Source:
    """The contents, whether in the plan or in a bundle."""

    def __init__(self, contents, bundle):
        self._contents = contents
        self._fd = None
        if bundle is not None:
            self._fd = os.open(bundle, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def blocks(self, digest):
        """Return the content with this SHA-256, in pieces; OSError if its hash is another one."""
        import hashlib  # the quickest for large files; few launches bring any

        seen = hashlib.sha256()
        for block in self._read(self._contents[digest]):
            seen.update(block)
            yield block
        if seen.hexdigest() != digest:
            raise OSError(errno.EIO, "a file for the jobs has arrived damaged")

    def _read(self, content):
        if self._fd is None:
            yield base64.b64decode(content)
            return
        offset, left = content
        while left:
            block = os.pread(self._fd, min(left, _BLOCK), offset)
            if not block:
                return
            yield block
            offset += len(block)
            left -= len(block)

    def close(self):
        if self._fd is not None:
            os.close(self._fd)


def prepare(batch, index, job, step):
    """Put the files of a step in their place, to be called before each attempt; does nothing if there is only one.

    batch: the Folder of the batch, or its path. OSError (for a full disk, say) if that cannot be done.
    """
    if not step.get("staged") or not may_repeat(job, step):
        return
    try:
        folder = files.folder_of(batch).enter(FOLDER).enter(str(index))
        for name, dummy, mode in step["staged"]:
            _put(folder, name, mode)
    except files.UnsafePath as exc:
        raise OSError(errno.EPERM, "not what was staged: %s" % exc) from exc


def _put(folder, name, mode):
    number, base = _place(folder, name)
    files.remove(base, number)  # from the attempt before
    source = os.open(os.path.join(_AGAIN, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fd)
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode) or os.fstat(source).st_uid != os.geteuid():
            raise OSError(errno.EPERM, "not the file that was staged", name)
        target = _create(number, base, mode)
        try:
            _copy(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy(source, target):
    while True:
        block = os.read(source, _BLOCK)
        if not block:
            return
        files.write_all(target, block)


def put(batch, index, name, data, mode):
    """Put a file whose content is known only now into the staging folder of a job. batch: the Folder of the batch."""
    number, base = _place(batch.make(FOLDER).make(str(index)), name)
    files.remove(base, number)  # from the time before
    fd = _create(number, base, mode)
    try:
        files.write_all(fd, data)
    finally:
        os.close(fd)


def remove_all(batch):
    """Remove what is left of all jobs, whose supervisor is gone. batch: the Folder of the batch."""
    files.try_to_remove_tree(FOLDER, batch)


def remove(batch, index):
    """Remove the staging folder of a job that has ended, and the one of the batch with the last of them.

    batch: the Folder of the batch, or its path.
    """
    batch = files.folder_of(batch)
    try:
        staged = batch.enter(FOLDER)
        files.try_to_remove_tree(str(index), staged)
        os.rmdir(FOLDER, dir_fd=batch.fd)
    except (files.UnsafePath, OSError):
        pass  # there are others still, or there was none
