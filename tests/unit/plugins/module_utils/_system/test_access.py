# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import access


@pytest.mark.parametrize(
    ("members", "primary", "acl", "private"),
    [
        ([], [], False, True),
        (["me"], [], False, True),
        (["me", "root"], [], False, True),
        (["me", "other"], [], False, False),
        ([], ["other"], False, False),
        ([], [], True, False),
        ([], None, False, False),
    ],
)
def test_a_group_of_nobody_else_is_as_good_as_none(monkeypatch, members, primary, acl, private):
    def entry(name, uid, gid):
        return access.pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/sh"))

    mine = 71 if primary is None else 70
    entries = [entry("root", 0, 0), entry("me", 7, mine), entry("other", 8, 70 if primary else 80)]
    monkeypatch.setattr(access.os, "geteuid", lambda: 7)
    monkeypatch.setattr(access.pwd, "getpwuid", {one.pw_uid: one for one in entries}.__getitem__)
    monkeypatch.setattr(access.pwd, "getpwall", lambda: entries)
    monkeypatch.setattr(access.grp, "getgrgid", lambda gid: access.grp.struct_group(("me", "x", gid, members)))
    monkeypatch.setattr(access, "_has_access_list", lambda path: acl)
    assert access._is_private_group("/somewhere", 70) is private
