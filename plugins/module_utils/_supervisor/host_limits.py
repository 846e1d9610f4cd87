# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Checks, before anything of a batch is started, whether the host can enforce the limits of its jobs."""

from __future__ import annotations

import os

from ansible_collections.background.jobs.plugins.module_utils._system import cgroups, systemd, users

_WAY_OUT = (
    "Become root on a host with systemd, or on one where control groups can be created; an ordinary user needs a user manager that "
    "holds them (systemd 252 or later, 'loginctl enable-linger %s'). Or leave %r out"
)
_ENDS_WITH_SESSION = (
    "The jobs will be killed when the login session of %s ends, because logind is configured to do so (KillUserProcesses=yes), and "
    "nothing else can hold them: %s. Have root run 'loginctl enable-linger %s', or launch them as root (become: true)."
)


class Refused(Exception):
    """The host can't enforce a limit, so nothing is started; the text is for the user."""


def free_memory():
    """Return how many bytes are available to programs, as the kernel estimates; None if it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            for line in stream:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def look():
    """Return (bytes of memory that are free, the load average of the last minute)."""
    return free_memory() or 0, os.getloadavg()[0]


def prepare(plan, host=None, proc="/proc/self"):
    """Prepare the host for the limits of a plan, and this process for the end of the session that it was started in.

    Return (the Groups of jobs or None, warnings); raise Refused if a limit can't be enforced.
    """
    host = host or systemd.Host()
    if plan.get("min_free_memory") and free_memory() is None:
        raise Refused(
            "min_free_memory can't be enforced: the host does not say how much is free (MemAvailable in /proc/meminfo)"
        )
    jobs = [job for job in plan["jobs"] if job["skip"] is None]
    _check_niceness(jobs)
    limited = {}  # controller: (key, the first job that has it)
    for job in jobs:
        for key, controller in cgroups.CONTROLLERS.items():
            if key in job:
                limited.setdefault(controller, (key, _called(job)))
    session = host.ending_session()
    if not limited and session is None:
        return None, []
    scope, why = None, None
    try:
        scope = host.enter_scope(plan["batch_id"])
    except systemd.NoScope as exc:
        why = str(exc)
    groups = _groups(plan, limited, scope, why, proc) if limited else None
    warnings = []
    if session is not None and scope is None:
        warnings.append(_ENDS_WITH_SESSION % (session.user, why, users.own_name()))
    return groups, warnings


def _groups(plan, limited, scope, why, proc):
    try:
        groups = cgroups.find(plan["batch_id"], sorted(limited), scope, proc)
    except cgroups.Unavailable as exc:
        reasons = [str(exc)] + ([why] if why else [])
        raise _refused(*limited[exc.controller], reasons) from exc
    # try each value, for the kernel may refuse it: a group can't have more than its parent
    tried = set()
    for job in plan["jobs"]:
        limits = {key: job[key] for key in cgroups.CONTROLLERS if key in job and job["skip"] is None}
        if not limits or tuple(limits.items()) in tried:
            continue
        tried.add(tuple(limits.items()))
        try:
            groups.enter(-1, limits)
        except OSError as exc:
            groups.leave(-1)
            groups.close()
            said = "the kernel refused %s (%s)" % (", ".join("%s %g" % item for item in limits.items()), exc.strerror)
            raise _refused(min(limits), _called(job), [said]) from exc
        groups.leave(-1)
    return groups


def _called(job):
    """Return what a job is called in an error: with no_log its name may hold a secret."""
    return "a job whose name no_log hides" if job.get("no_log") else "job %r" % job["name"]


def _refused(key, name, reasons):
    user = users.own_name()
    text = "%s of %s can't be enforced on this host: %s. " % (key, name, "; ".join(reasons))
    return Refused(text + _WAY_OUT % (user, key))


def _check_niceness(jobs):
    current = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = [(job["nice"], _called(job)) for job in jobs if "nice" in job]
    if not wanted or min(wanted)[0] >= current:
        return
    lowest, name = min(wanted)
    child = os.fork()  # in another process, because without privileges it can't be undone
    if child == 0:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, lowest)
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise Refused(
            "nice %d of %s is refused by the host: %s may not go below %d. Become root, have the user's limit "
            "raised (nice in limits.conf), or set nice to %d or more"
            % (lowest, name, users.own_name(), current, current)
        )
