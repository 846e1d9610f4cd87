# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # a process of its own: there is no module to run commands by

"""How systemd decides how long a supervisor lives, and what its jobs may use: login sessions and scopes."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import namedtuple

from ansible_collections.background.jobs.plugins.module_utils._system import users

_BUSCTL_PATIENCE = 10.0  # seconds
_MOVE_PATIENCE = 5.0
_LOOK_AGAIN = 0.005
_SESSION = re.compile(r"/user-(\d+)\.slice/session-([^/]+)\.scope(?:/|\n|\Z)")
_FOLDERS = ("etc", "run", "usr/local/lib", "usr/lib", "lib")

# A login session whose end kills all of its processes; user: whose it is.
Session = namedtuple("Session", "id user")


class NoScope(Exception):
    """systemd gives this process no scope; the text says why."""


class Host:
    """The host that is examined; another root is for tests."""

    def __init__(self, root="/", busctl="busctl"):
        self._root = root
        self._busctl = busctl

    def path(self, *parts):
        return os.path.join(self._root, *parts)

    def text(self, *parts):
        try:
            with open(self.path(*parts), encoding="utf-8", errors="replace") as stream:
                return stream.read()
        except OSError:
            return ""

    # sessions

    def ending_session(self):
        """Return the Session whose end would kill this process; None if there is none, as is usual."""
        found = _SESSION.search(self.text("proc/self/cgroup"))
        if found is None or not os.path.exists(self.path("run/systemd/sessions", found[2])):
            return None
        user = users.name_of(int(found[1]))
        return Session(found[2], user) if self._kills(user) else None

    def _kills(self, user):
        """Whether logind kills what a user leaves running (logind.conf(5))."""
        settings = self._logind_settings()
        kills = (settings.get("KillUserProcesses") or [self._kills_by_default()])[-1]
        if kills.lower() not in ("yes", "true", "on", "1", "y", "t"):
            return False
        if user in (settings.get("KillExcludeUsers") or ["root"]):
            return False
        only = settings.get("KillOnlyUsers")
        return not only or user in only

    def _logind_settings(self):
        """Return {name: words} of logind's settings, including a default that its file has in a comment."""
        main = next(filter(None, (self.text(folder, "systemd/logind.conf") for folder in _FOLDERS)), "")
        settings = {name: [value] for name, value in re.findall(r"^#(KillUserProcesses)=(\S+)", main, re.MULTILINE)}
        names = {}
        for folder in reversed(_FOLDERS):
            directory = self.path(folder, "systemd/logind.conf.d")
            if os.path.isdir(directory):
                names.update((name, folder) for name in os.listdir(directory) if name.endswith(".conf"))
        drop_ins = [self.text(names[name], "systemd/logind.conf.d", name) for name in sorted(names)]
        for text in [main, *drop_ins]:
            for name, value in re.findall(r"^[ \t]*(Kill\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE):
                # each line adds to a list, an empty one begins it anew
                settings[name] = settings.get(name, []) + value.split() if value else []
        return settings

    def _kills_by_default(self):
        """Ask logind itself, if no file says so."""
        bus = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
        try:
            answer = self._call(["--system", "get-property", *bus, "KillUserProcesses"])
        except NoScope:
            return "no"
        return "yes" if answer.split() == ["b", "true"] else "no"

    def lingers(self, user):
        """Whether the user manager of a user outlives the user's last session."""
        return os.path.exists(self.path("var/lib/systemd/linger", user))

    # scopes

    def enter_scope(self, batch_id):
        """Have systemd put this process into a scope of its own, below which it may make control groups; return its name.

        For root it is a scope of the system, for another user one of the user's manager, which ends with that.
        """
        if not os.path.isdir(self.path("run/systemd/system")):
            raise NoScope("systemd is not the first process of the host")
        where, environment = ["--system"], None
        if os.geteuid() != 0:
            where, environment = ["--user"], self._user_bus()
        name = "background-jobs-%s.scope" % batch_id
        properties = [
            *("Description", "s", "Background jobs of Ansible, batch %s" % batch_id),
            *("Delegate", "b", "true"),
            *("PIDs", "au", "1", str(os.getpid())),
        ]
        manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
        arguments = ["ssa(sv)a(sa(sv))", name, "fail", "3", *properties, "0"]
        self._call([*where, "call", *manager, "StartTransientUnit", *arguments], environment)
        deadline = time.monotonic() + _MOVE_PATIENCE
        while "/%s" % name not in self.text("proc/self/cgroup"):
            if time.monotonic() > deadline:
                raise NoScope("systemd created a scope, but did not put the process into it")
            time.sleep(_LOOK_AGAIN)  # there is no event for being moved
        return name

    def _user_bus(self):
        """Return the environment in which busctl finds the user's manager."""
        user = users.own_name()
        if not self.lingers(user):
            raise NoScope(
                "the user manager of %s ends with the last session of the user, because lingering is not enabled" % user
            )
        runtime = self.path("run/user/%d" % os.geteuid())
        if not os.path.exists(os.path.join(runtime, "bus")):
            raise NoScope("the user manager of %s has no D-Bus (%s/bus)" % (user, runtime))
        address = "unix:path=%s/bus" % runtime
        return dict(os.environ, XDG_RUNTIME_DIR=runtime, DBUS_SESSION_BUS_ADDRESS=address)

    def _call(self, arguments, environment=None):
        try:
            done = subprocess.run(
                [self._busctl, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment,
                timeout=_BUSCTL_PATIENCE,
                check=False,
            )
        except OSError as exc:
            raise NoScope("busctl can't be run (%s)" % exc.strerror) from exc
        except subprocess.TimeoutExpired as exc:
            raise NoScope("systemd did not answer busctl within %g s" % _BUSCTL_PATIENCE) from exc
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").split("\n")[0].strip()
            raise NoScope("systemd refused a scope (%s)" % (said or "busctl printed nothing"))
        return done.stdout.decode("utf-8", "replace")
