# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The sizes of the pools that jobs of a launch need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.background.jobs.plugins.plugin_utils import _options
from ansible_collections.background.jobs.plugins.plugin_utils._errors import (
    Refused,
    nearest,
    plainly,
    shorten,
    unfit_kind,
)
from ansible_collections.background.jobs.plugins.plugin_utils._model import Job, refusal_of

VARIABLE = "background_jobs_pools"


def known(value: object) -> dict[str, int]:
    """Return the sizes of pools that the variable sets; raise Refused if it is not valid."""
    where = f"Variable {VARIABLE!r}"
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        said = f"{where}: it must be a dictionary of names and sizes, such as {{downloads: 3}}"
        raise unfit_kind(said, value)
    sizes = {}
    for name, size in value.items():
        try:
            sizes[_options.pool(name)] = _options.places(size)
        except Refused as exc:
            raise Refused(f"{where}, {shorten(name, 80)!r}: {exc}") from exc
    return sizes


def sizes(jobs: Sequence[Job], own: str | None, size: int | None, variable: object) -> dict[str, int]:
    """Return the sizes of the pools of those jobs that will run.

    own, size: the options `pool` and `pool_size` of the launch; variable: the rendered value of VARIABLE.
    """
    needed = {job.pool: job for job in reversed(jobs) if job.pool is not None and job.skip is None}
    told = known(variable) if needed else {}
    if size is not None:
        told[_meant(own, [job.pool for job in jobs])] = size
    for name, job in needed.items():
        if name not in told:
            raise _unsized(name, told, None if _is_of_launch(job) else job)
    return {name: told[name] for name in sorted(needed)}


def _meant(own: str | None, named: Sequence[str | None]) -> str:
    """Return the pool that `pool_size` belongs to."""
    names = [own] if own is not None else sorted({name for name in named if name is not None})
    if not names:
        raise plainly("Option 'pool_size': there is no pool for it to apply to. Add 'pool'.")
    if len(names) > 1:
        raise plainly(
            f"Option 'pool_size': the jobs use {len(names)} pools, and it does not say which of them it is for. "
            f"Set the variable {VARIABLE}, which has a size for each."
        )
    return names[0]


def _is_of_launch(job: Job) -> bool:
    """Whether a job has its pool from the option of the launch."""
    return not (isinstance(job.source, Mapping) and "pool" in job.source)


def _unsized(name: str, told: Mapping[str, int], job: Job | None) -> Refused:
    """Return why a pool without a size is refused; job: the one that names it, if any."""
    said, way = "nothing says how many places", f"Give 'pool_size', or set the variable {VARIABLE}"
    shown = f"{said} {name!r} has.{nearest(name, told)} {way}: {{{name}: 3}}."
    if job is None:
        return plainly(f"Option 'pool': {shown}")
    return refusal_of(job, "pool", Refused(shown, f"{said} it has. {way}."))
