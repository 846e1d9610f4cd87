# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The report of a launch in check mode: which jobs it would start."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from ansible_collections.background.jobs.plugins.module_utils._protocol import scripts
from ansible_collections.background.jobs.plugins.plugin_utils._errors import amount, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._model import Block, Body, Job, Step

_NAMED = 10
_MOST_LISTED = 200  # lines of a difference
_NAME_WIDTH = 60


def sentence(jobs: Sequence[Job]) -> str:
    """Return which jobs would be started, and which really are, because they have `check_mode: false`."""
    real = [job.name for job in jobs if job.skip is None and is_real(job)]
    would = [job.name for job in jobs if job.skip is None and not is_real(job)]
    told = [f"{amount(len(would), 'job')} would be started{_named(would)}."] if would else []
    if real:
        has, runs = ("has", "runs") if len(real) == 1 else ("have", "run")
        told.append(f"{amount(len(real), 'job')} {has} 'check_mode: false' and really {runs}{_named(real)}.")
    return " ".join(told)


def difference(jobs: Sequence[Job]) -> dict[str, t.Any]:
    """Return the same as a diff: a line for each job."""
    names = [job.name for job in jobs if job.skip is None and not is_real(job)]
    lines = [f"+ {shorten(name, _NAME_WIDTH * 2)}" for name in names[:_MOST_LISTED]]
    if len(names) > _MOST_LISTED:
        lines.append(f"+ and {len(names) - _MOST_LISTED} more")
    return {"prepared": "\n".join(["jobs that would be started", *lines]) + "\n"}


def is_real(job: Job) -> bool:
    """Whether all that a job runs has `check_mode: false`."""
    if job.script is None:
        modes = [step.check_mode for step in _steps(job.body)]
    else:
        modes = [task["check_mode"] for task, turn in scripts.turns_of(job.script) if "step" in turn]
    return bool(modes) and not any(modes)


def _steps(body: Body) -> t.Iterator[Step]:
    for node in body:
        if isinstance(node, Block):
            yield from _steps([*node.block, *node.rescue, *node.always])
        elif node.skip is None:
            yield node


def _named(names: Sequence[str]) -> str:
    shown = [shorten(name, _NAME_WIDTH) for name in names[:_NAMED]]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f": {', '.join(shown)}{more}" if shown else ""
