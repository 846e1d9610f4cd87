# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pwd
import stat

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import systemd

BATCH = "b000000000000042"
SCOPE = "background-jobs-%s.scope" % BATCH
ME = pwd.getpwuid(os.geteuid()).pw_name
UID = pwd.getpwnam("nobody").pw_uid


class Root:
    """A host, as the files that are looked at, and a busctl that does as it is told."""

    def __init__(self, folder):
        self.folder = folder
        self.calls = folder / "calls"

    def write(self, path, text=""):
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def in_session(self, uid=UID, name="c3"):
        self.write("proc/self/cgroup", "0::/user.slice/user-%d.slice/session-%s.scope\n" % (uid, name))
        self.write("run/systemd/sessions/" + name)

    def busctl(self, script):
        self.write("bin/busctl", "#!/bin/sh\nprintf '%%s\\n' \"$*\" >> '%s'\n%s\n" % (self.calls, script))
        (self.folder / "bin/busctl").chmod(stat.S_IRWXU)

    @property
    def host(self):
        return systemd.Host(str(self.folder), str(self.folder / "bin/busctl"))


@pytest.fixture
def root(tmp_path):
    made = Root(tmp_path)
    made.busctl("exit 1")
    return made


KILLS = "[Login]\n#KillUserProcesses=no\nKillUserProcesses=yes\n"


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"etc/systemd/logind.conf": KILLS}, True),
        ({"etc/systemd/logind.conf": "#KillUserProcesses=no\n"}, False),
        ({"usr/lib/systemd/logind.conf": "#KillUserProcesses=yes\n"}, True),
        ({"etc/systemd/logind.conf": "#KillUserProcesses=no\n", "usr/lib/systemd/logind.conf": KILLS}, False),
        ({"etc/systemd/logind.conf": KILLS + "KillExcludeUsers=root nobody\n"}, False),
        ({"etc/systemd/logind.conf": KILLS + "KillOnlyUsers=bob\n"}, False),
        ({"etc/systemd/logind.conf": KILLS + "KillOnlyUsers=bob nobody\n"}, True),
        ({"etc/systemd/logind.conf": "#KillUserProcesses=no\n", "run/systemd/logind.conf.d/a.conf": KILLS}, True),
        (
            {"etc/systemd/logind.conf.d/a.conf": "KillUserProcesses=no", "usr/lib/systemd/logind.conf.d/a.conf": KILLS},
            False,
        ),
        (
            {"etc/systemd/logind.conf.d/a.conf": "KillUserProcesses=no", "usr/lib/systemd/logind.conf.d/b.conf": KILLS},
            True,
        ),
        ({"etc/systemd/logind.conf.d/a.txt": KILLS, "etc/systemd/logind.conf": "#KillUserProcesses=no"}, False),
    ],
)
def test_a_session_ends_its_processes_where_logind_is_set_to(root, settings, ends):
    for path, text in settings.items():
        root.write(path, text)
    root.in_session()
    assert (root.host.ending_session() == systemd.Session("c3", "nobody")) is ends
    assert not root.calls.exists()  # files have told it


@pytest.mark.parametrize(
    ("settings", "is_spared"),
    [
        (KILLS, True),
        (KILLS + "KillExcludeUsers=\n", True),
        (KILLS + "KillExcludeUsers=nobody\n", False),
        (KILLS + "KillExcludeUsers=nobody\nKillExcludeUsers=root bob\n", True),
        (KILLS + "KillExcludeUsers=root\nKillExcludeUsers=\nKillExcludeUsers=bob\n", False),
    ],
)
def test_root_is_spared_unless_others_are(root, settings, is_spared):
    root.write("etc/systemd/logind.conf", settings)
    root.in_session(0)
    assert (root.host.ending_session() is None) is is_spared


@pytest.mark.parametrize(("answer", "ends"), [("echo b true", True), ("echo b false", False), ("exit 1", False)])
def test_logind_is_asked_where_no_file_tells(root, answer, ends):
    root.in_session()
    root.busctl(answer)
    assert (root.host.ending_session() is not None) is ends
    assert "get-property org.freedesktop.login1" in root.calls.read_text()


@pytest.mark.parametrize(
    "group",
    [
        "0::/system.slice/cron.service",
        "0::/user.slice/user-%d.slice/user@%d.service/app.slice/x.scope" % (UID, UID),
        "0::/user.slice/user-%d.slice/session-c9.scope" % UID,
        "",
    ],
)
def test_what_is_in_no_session_of_this_host_is_not_looked_into(root, group):
    root.in_session()
    root.write("etc/systemd/logind.conf", KILLS)
    root.write("proc/self/cgroup", group + "\n")
    assert root.host.ending_session() is None


@pytest.fixture
def as_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def as_nobody(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: UID)


def moving(root):
    (root.folder / "run/systemd/system").mkdir(parents=True)
    root.busctl("echo '0::/some.slice/%s' > '%s'" % (SCOPE, root.folder / "proc/self/cgroup"))


def test_root_asks_the_system_for_a_scope_of_this_process(root, as_root):
    root.in_session(0)
    moving(root)
    assert root.host.enter_scope(BATCH) == SCOPE
    called = root.calls.read_text()
    assert called.startswith("--system call org.freedesktop.systemd1 ")
    assert " StartTransientUnit ssa(sv)a(sa(sv)) %s fail 3 Description s " % SCOPE in called
    assert called.endswith(" Delegate b true PIDs au 1 %d 0\n" % os.getpid())


def test_another_user_asks_a_user_manager_that_lingers(root, as_nobody):
    root.in_session()
    moving(root)
    script = (root.folder / "bin/busctl").read_text()
    root.busctl(script + '\necho "$XDG_RUNTIME_DIR $DBUS_SESSION_BUS_ADDRESS" >> %s' % root.calls)
    root.write("var/lib/systemd/linger/nobody")
    root.write("run/user/%d/bus" % UID)
    assert root.host.enter_scope(BATCH) == SCOPE
    runtime = root.folder / "run/user" / str(UID)
    called = root.calls.read_text()
    assert "--user call " in called
    assert called.endswith("%s unix:path=%s/bus\n" % (runtime, runtime))


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ([], "systemd is not the first process"),
        (["run/systemd/system/x"], "ends with the last session of the user, because lingering is not enabled"),
        (["run/systemd/system/x", "var/lib/systemd/linger/nobody"], "has no D-Bus"),
        (
            ["run/systemd/system/x", "var/lib/systemd/linger/nobody", "run/user/%d/bus" % UID],
            r"systemd refused a scope \(Access denied\)",
        ),
    ],
)
def test_it_says_why_there_is_no_scope(root, as_nobody, there, why):
    root.busctl("echo Access denied >&2; exit 1")
    for path in there:
        root.write(path)
    with pytest.raises(systemd.NoScope, match=why):
        root.host.enter_scope(BATCH)


def test_a_host_without_busctl_has_no_scope(root, as_root):
    root.write("run/systemd/system/x")
    with pytest.raises(systemd.NoScope, match="busctl can't be run"):
        systemd.Host(str(root.folder), "/nonexistent/busctl").enter_scope(BATCH)


def test_a_scope_that_this_process_does_not_get_into_is_none(root, as_root, monkeypatch):
    monkeypatch.setattr(systemd, "_MOVE_PATIENCE", 0.0)
    root.write("run/systemd/system/x")
    root.busctl("exit 0")
    with pytest.raises(systemd.NoScope, match="did not put the process into it"):
        root.host.enter_scope(BATCH)
