# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Who may change what is in a directory."""

from __future__ import annotations

import grp
import os
import pwd
import stat

_ACL = "system.posix_acl_access"


def who_else_may_write(path, found):
    """Return in words who, besides us and root, may write in a directory, None if nobody may."""
    if found.st_mode & stat.S_IWOTH:
        return "every user of the host"
    if found.st_mode & stat.S_IWGRP and not _is_private_group(path, found.st_gid):
        return "the group of gid %d" % found.st_gid
    return None


def _is_private_group(path, gid):
    """Say whether nobody else is in a group, as in the per-user groups that many hosts have, with a umask of 002.

    Debian's sshd does the same (StrictModes). Root does not need this.
    """
    uid = os.geteuid()
    if uid == 0 or _has_access_list(path):
        return False
    try:
        ours = {pwd.getpwuid(uid).pw_name, pwd.getpwuid(0).pw_name}
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return False
    members.update(entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid)
    return bool(members) and members <= ours


def _has_access_list(path):
    try:
        return _ACL in os.listxattr(path, follow_symlinks=False)
    except (AttributeError, OSError):  # not Linux, or a file system without access lists
        return False


def belongs_to(path, found):
    return "%s belongs to uid %d" % (path, found.st_uid)


def not_ours():
    return ", not to the user of this task (uid %d)" % os.geteuid()
