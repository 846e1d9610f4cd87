# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Finds the jobs that the names in `depends_on` mean."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused, nearest, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._model import Job, refusal_of

_MOST_EDGES = 1_000_000
_LONGEST_CYCLE = 20


@dataclass(slots=True)
class Loop:
    """A loop of `tasks`, which may have no items; `jobs`: the indexes of its jobs."""

    name: str
    where: str
    jobs: list[int] = field(default_factory=list)


Wanted = Mapping[int, Sequence[str]]
"""The names that a job, by its index, depends on."""

Group = tuple[int, ...]


def resolve(jobs: Sequence[Job], loops: Iterable[Loop], wanted: Wanted) -> None:
    """Set `depends_on` of the jobs; raise JobRefused for a name that is unknown or ambiguous, and for a cycle."""
    if not wanted:
        return
    names = _Names(jobs, loops)
    groups: dict[int, list[Group]] = {}
    merged: dict[tuple[str, ...], list[int]] = {}
    edges = 0
    for index, given in wanted.items():
        groups[index] = [names.find(jobs[index], name) for name in given]
        key = tuple(given)
        if key not in merged:
            merged[key] = list(dict.fromkeys(target for group in groups[index] for target in group))
        # One list, shared by all jobs that depend on the same ones.
        jobs[index].depends_on = merged[key]
        edges += len(merged[key])
        if edges > _MOST_EDGES:
            raise _refused(
                jobs[index],
                f"there are more than {_MOST_EDGES} dependencies in all. Let one job depend on the whole loop, and the others on that job.",
            )
    cycle = _cycle(groups, len(jobs))
    if cycle is not None:
        first = jobs[cycle[0]]
        if len(cycle) == 2:
            raise _refused(first, f"the job depends on itself: {_shown(first)} -> {_shown(first)}.")
        raise _refused(first, f"the jobs wait for each other, so none of them could start: {_path(jobs, cycle)}.")


def _refused(job: Job, text: str | Refused) -> JobRefused:
    return refusal_of(job, "depends_on", text)


def _shown(job: Job) -> str:
    """Return what to call a job in errors, even of other jobs: its name may hold a secret."""
    return job.where if job.no_log else shorten(job.name, 80)


class _Names:
    """The jobs that names of jobs and of loops mean."""

    def __init__(self, jobs: Sequence[Job], loops: Iterable[Loop]) -> None:
        self._jobs: dict[str, Group] = {job.name: (index,) for index, job in enumerate(jobs)}
        self._told = [job.name for job in jobs if not job.no_log]
        self._loops: dict[str, list[tuple[str, Group]]] = {}
        for loop in loops:
            self._loops.setdefault(loop.name, []).append((loop.where, tuple(loop.jobs)))
            if not any(jobs[index].no_log for index in loop.jobs):
                self._told.append(loop.name)

    def find(self, job: Job, name: str) -> Group:
        """Return the indexes of the jobs that `name` means when `job` uses it."""
        group = self._jobs.get(name)
        if group is not None:
            return group
        loops = self._loops.get(name, [])
        if len(loops) > 1:
            places = ", ".join(where for where, dummy in loops)
            said = f"is ambiguous: the loops of {places} have that name. Give them different names."
            raise _refused(job, Refused(f"{shorten(name, 80)!r} {said}", f"a name {said}"))
        if not loops:
            hint = nearest(name, self._told) or " Check the names."
            raise _refused(
                job,
                Refused(
                    f"there is no job {shorten(name, 80)!r} in this launch.{hint}",
                    "it names a job that is not in this launch. Check the names.",
                ),
            )
        return loops[0][1]


def _cycle(groups: Mapping[int, Sequence[Group]], count: int) -> list[int] | None:
    """Return the jobs of a cycle, the first of them again at the end; None if there is none.

    A loop is visited once, however many jobs depend on it.
    """
    nodes: dict[Group, int] = {}
    after: dict[int, list[int]] = {}
    for index, given in groups.items():
        after[index] = []
        for group in given:
            if len(group) != 1:
                node = nodes.setdefault(group, count + len(nodes))
                after[node] = list(group)
                after[index].append(node)
            else:
                after[index].append(group[0])
    done: set[int] = set()
    for start in groups:
        found = _cycle_from(start, after, done)
        if found is not None:
            return [node for node in found if node < count]
    return None


def _cycle_from(start: int, after: Mapping[int, Sequence[int]], done: set[int]) -> list[int] | None:
    """Visit all that can be reached from `start`, without recursion: a chain may be as long as a launch."""
    path: list[int] = []
    on_path: dict[int, int] = {}
    waiting: list[tuple[int, t.Iterator[int]]] = []

    def enter(node: int) -> None:
        on_path[node] = len(path)
        path.append(node)
        waiting.append((node, iter(after.get(node, ()))))

    if start not in done:
        enter(start)
    while waiting:
        node, rest = waiting[-1]
        following = next(rest, None)
        if following is None:
            waiting.pop()
            path.pop()
            del on_path[node]
            done.add(node)
        elif following in on_path:
            return _from_job([*path[on_path[following] :]])
        elif following not in done:
            enter(following)
    return None


def _from_job(cycle: list[int]) -> list[int]:
    """Rotate a cycle so that it starts, and ends, with a job: the lowest index, which is written first."""
    at = cycle.index(min(cycle))
    turned = cycle[at:] + cycle[:at]
    return [*turned, turned[0]]


def _path(jobs: Sequence[Job], cycle: list[int]) -> str:
    names = [_shown(jobs[index]) for index in cycle]
    if len(names) > _LONGEST_CYCLE:
        half = _LONGEST_CYCLE // 2
        names[half:-half] = [f"... {len(names) - 2 * half} more ..."]
    return " -> ".join(names)
