# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The names of jobs."""

from __future__ import annotations

import json
import re
import typing as t
from collections import Counter
from collections.abc import Iterable, Mapping

from ansible_collections.background.jobs.plugins.plugin_utils._errors import plainly, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._model import Refusable, refusal_of

MAX_LENGTH = 1000
_LABEL_WIDTH = 60


class Named(Refusable, t.Protocol):
    """What naming needs to know of a job."""

    generated: bool


def check(name: str) -> str:
    """Return `name` without surrounding blanks; raise `Refused` if it is not valid."""
    name = name.strip()
    if not name:
        raise plainly("it is empty. Leave it out to have a name generated.")
    if len(name) > MAX_LENGTH:
        raise plainly(f"it has {len(name)} characters; at most {MAX_LENGTH} are allowed.")
    return name


def label(item: object, loop_var: str) -> str:
    """Return the label of a loop's item, `item=...`."""
    text = item if isinstance(item, str) else json.dumps(item, default=str, ensure_ascii=False)
    return f"{loop_var}={shorten(text, _LABEL_WIDTH)}"


def tells_items_apart(template: object, control: Mapping[str, t.Any]) -> bool:
    """Whether a name, as written, depends on the items of the loop."""
    text = str(template)
    if "{{" not in text:
        return False
    names = [control["loop_var"], control.get("index_var") or "", "ansible_loop"]
    return any(name and re.search(rf"\b{re.escape(name)}\b", text) for name in names)


def without_templates(template: str) -> str:
    """Return the part of a name that all items of a loop have in common."""
    return " ".join(re.sub(r"\{\{.*?\}\}|\{%.*?%\}", " ", template).split()).strip(" -:,;./_()[]")


def make_unique(jobs: Iterable[Named]) -> None:
    """Refuse a name that was given to two jobs; number generated names."""
    jobs = list(jobs)
    given: dict[str, Named] = {}
    for job in jobs:
        if job.generated:
            continue
        other = given.setdefault(job.name, job)
        if other is not job:
            raise refusal_of(
                job,
                "name",
                f"{other.where} has the same name, and the names of jobs must be unique. Change one of them "
                "(in a loop: use the item in the name, or loop_control.index_var).",
            )
    taken = set(given)
    numbers: Counter[str] = Counter()
    for job in jobs:
        if not job.generated:
            continue
        base = job.name
        while job.name in taken:
            numbers[base] = max(numbers[base], 1) + 1
            job.name = f"{base} {numbers[base]}"
        taken.add(job.name)
