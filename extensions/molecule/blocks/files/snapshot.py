# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells what a host looks like, as JSON: files with their content, mode and owner, packages, units, users."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess

ROOTS = ("/srv/b", "/etc/sudoers.d", "/etc/systemd/system", "/home")
# A backup is called after a pid and the time. What Ansible itself leaves in a home is no part of it.
BACKUP = re.compile(r"[.]\d+[.]\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~")
LEFT_OUT = re.compile(r"/[.](ansible|ansible_async|cache)(/|$)")


def about(path: str) -> str:
    found = os.lstat(path)
    content = ""
    if stat.S_ISLNK(found.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(found.st_mode):
        with open(path, "rb") as stream:
            data = stream.read()
        content = repr(data) if len(data) < 300 else hashlib.sha256(data).hexdigest()
    owner = pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name
    return f"{stat.filemode(found.st_mode)} {owner[0]}:{owner[1]} {content}"


def files() -> dict[str, str]:
    told = {}
    for root in ROOTS:
        for folder, folders, names in os.walk(root):
            for name in (*folders, *names):
                path = os.path.join(folder, name)
                if not LEFT_OUT.search(path):
                    told[BACKUP.sub(".BACKUP~", path)] = about(path)
    return told


def output(*command: str) -> list[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()


def lines(path: str) -> list[str]:
    with open(path) as stream:
        return stream.read().splitlines()


print(
    json.dumps(
        {
            "files": files(),
            "packages": output("dpkg-query", "--show", "--showformat=${Package} ${Version} ${Status}\\n"),
            "units": [output("systemctl", word, "b-web") for word in ("is-active", "is-enabled")],
            "users": lines("/etc/passwd"),
            "groups": lines("/etc/group"),
        }
    )
)
