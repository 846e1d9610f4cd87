# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # there is no module to answer by

"""The program sent in place of a module that the host has kept (kept.py): this text, with a call of `run` added at its end."""

from __future__ import annotations

import sys

# Others may be able to write to the folder where the connection begins: import nothing from it.
sys.path[:] = [path for path in sys.path if path not in ("", ".")]

import _frozen_importlib_external  # noqa: E402
import json  # noqa: E402
import marshal  # noqa: E402
import os  # noqa: E402
import stat  # noqa: E402

# As in _system/hashing.py, which is not there yet.
try:
    from _sha2 import sha256 as digest_of
except ImportError:
    try:
        from _sha256 import sha256 as digest_of
    except ImportError:
        from hashlib import sha256 as digest_of


def read(path, sha256):
    """Return the bytes of a file, and why it is not to be used: because it does not have this SHA-256, could be changed by
    others than us and root, or is not compiled by this Python; None if all is well."""
    try:
        at = path
        while True:
            found = os.lstat(at)
            if not (stat.S_ISREG if at == path else stat.S_ISDIR)(found.st_mode):
                return b"", "%s is a file of another kind" % at
            if found.st_uid not in (0, os.geteuid()):
                return b"", "%s belongs to uid %d" % (at, found.st_uid)
            if found.st_mode & 0o022 and not (found.st_mode & stat.S_ISVTX and at != path):
                return b"", "%s can be written by others" % at
            if at == "/":
                break
            at = os.path.dirname(at)
        if os.access(path, os.W_OK):
            os.utime(path)  # so that it is not removed as unused
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError as exc:
        return b"", str(exc)
    if digest_of(data).hexdigest() != sha256:
        return b"", "%s was changed" % path
    is_ours = data[:4] == _frozen_importlib_external.MAGIC_NUMBER
    return data, None if is_ours else "%s was compiled by another Python" % path


def limit_files(most):
    """Have no more than this many files open from now on, as ansible-core's wrapper does it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, most)
    if wanted != soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except ValueError:  # some systems tell a limit that they don't take
            pass


def run(path, sha256, module, arguments, files=0):
    """Run a module from the kept file at `path`, with its stand-in for AnsibleModule; arguments: its JSON; files: how many
    it may have open, 0: as many as we may."""
    data, missing = read(path, sha256)
    if missing:
        print(json.dumps({"changed": False, "not_kept": missing}))
        return
    if files:
        limit_files(files)
    # as in _fork_server/code_file.py
    names = {"__name__": "background.jobs code_file"}
    importer = marshal.loads(memoryview(data)[4:])  # noqa: S302  # written by this user's own module
    exec(importer, names)  # pylint: disable=exec-used
    names["CodeFile"](path, data).install()
    from ansible_collections.background.jobs.plugins.module_utils._verbs import stand_in

    stand_in.run(module, arguments)
