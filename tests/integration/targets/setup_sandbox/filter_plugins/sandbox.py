# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests look at: files, processes, times, differences of results. The tests run on the controller's host."""

from __future__ import annotations

import json
import os
import re


def files_below(path):
    """All files and folders below `path`, as paths relative to it."""
    found = []
    for folder, folders, files in os.walk(path):
        found += [os.path.relpath(os.path.join(folder, name), path) for name in folders + files]
    return sorted(found)


def holding(path, text):
    """The files below `path` that hold `text`."""
    needle, found = text.encode(), []
    for name in files_below(path):
        full = os.path.join(path, name)
        if os.path.isfile(full) and not os.path.islink(full):
            with open(full, "rb") as stream:
                if needle in stream.read():
                    found.append(name)
    return found


def complaints(path):
    """What supervisors had to say: tracebacks, for they say nothing else."""
    found = {}
    for name in files_below(path):
        if os.path.basename(name) == "supervisor.log":
            with open(os.path.join(path, name), errors="replace") as stream:
                text = stream.read()
            if text:
                found[name] = text
    return found


def open_to_others(path):
    """Files and folders from `path` downwards that anybody but the owner may use."""
    names = [path] + [os.path.join(path, name) for name in files_below(path)]
    return [name for name in names if os.lstat(name).st_mode & 0o077 and not os.path.islink(name)]


def processes(sandbox):
    """The processes that have this sandbox in their environment, without those of Ansible itself."""
    wanted, found = ("BGJ_SANDBOX=" + sandbox).encode(), []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as stream:
                environment = stream.read().split(b"\0")
            with open("/proc/%s/cmdline" % name, "rb") as stream:
                command = stream.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except OSError:
            continue
        if wanted in environment and command:
            found.append({"pid": int(name), "command": command[:200]})
    return found


def most_at_once(jobs):
    """How many of the jobs ran at the same moment, at most."""
    moments = [(job["started_at"], 1) for job in jobs] + [(job["ended_at"], -1) for job in jobs]
    most = now = 0
    for dummy, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


def _flat(value, path, ignored):
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            if key not in ignored:
                yield from _flat(value[key], [*path, str(key)], ignored)
        if not value:
            yield ".".join(path), {}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flat(inner, [*path, str(index)], ignored)
        if not value:
            yield ".".join(path), []
    else:
        yield ".".join(path), value


def differences(plain, job, ignored, replacements):
    """What is not equal in two results; `ignored` are keys, `replacements` pairs of a pattern and a text, for all strings."""

    def known(value):
        text = json.dumps(value, default=str, sort_keys=True)
        for pattern, replacement in replacements:
            text = re.sub(pattern, replacement, text)
        return dict(_flat(json.loads(text), [], ignored))

    left, right = known(plain), known(job)
    return [
        "%s: plain %.300r, job %.300r" % (key, left.get(key, "(none)"), right.get(key, "(none)"))
        for key in sorted(set(left) | set(right))
        if key not in left or key not in right or left[key] != right[key]
    ]


def differences_of_jobs(results, jobs, ignored, replacements, said_otherwise=None):
    """`differences` of results and the jobs of the same order, by the name of the job, for those that have any."""
    found = {}
    for plain, job in zip(results, jobs, strict=False):
        own = (said_otherwise or {}).get(job["name"], [])
        different = differences(plain, job.get("result", {}), [*ignored, *own], replacements)
        if different:
            found[job["name"]] = different
    return found


class FilterModule:
    def filters(self):
        return {
            "complaints": complaints,
            "differences_of_jobs": differences_of_jobs,
            "files_below": files_below,
            "holding": holding,
            "most_at_once": most_at_once,
            "open_to_others": open_to_others,
            "processes": processes,
        }
