# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Checks the options of the action plugins; errors say what would be valid."""

from __future__ import annotations

import math
import re
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.background.jobs.plugins.module_utils._protocol import ids, output, pools
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, nearest, plainly, shorten, unfit
from ansible_collections.background.jobs.plugins.plugin_utils._model import MAX_SECONDS, seconds

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

# The public options for calls of a module in which only its underscore options matter.
SMALLEST: dict[str, dict[str, object]] = {
    "async_batch": {"tasks": []},
    "async_cancel": {},
    "async_info": {},
    "async_prune": {},
    "async_run": {"task": {}},
    "async_update": {},
    "async_wait": {},
}

_SECONDS = ("timeout", "wait_timeout", "poll", "grace")
_AGES = ("older_than", "newer_than")
_COUNTS = ("concurrency",)
_PERCENTAGES = ("max_fail_percentage",)
# Still templates: a conversion would lose the mark that makes Ansible trust them.
_TASKS = ("tasks", "task")
_UNTOUCHED = {"type": "raw", "required": True}
# Texts in playbooks, which are converted to numbers here.
_SIZES = ("memory_max", "cpu_quota", "min_free_memory")
_MAX_COUNT = 1_000_000
_MOST_KEPT = 1024**3
_LEAST_MEMORY = 1024**2
_MOST_QUOTA = 1_000_000.0
_LEAST_LOAD = 0.01


@dataclass(frozen=True, slots=True)
class WaitOptions:
    """How to wait; times in seconds, a timeout of 0: no limit."""

    timeout: float = 0.0
    poll: float = 10.0
    mode: str = "all"
    on_timeout: str = "fail"
    cleanup: str = "none"
    """none, succeeded or ended: which jobs' records are removed once they are reported."""
    set_facts: bool = False


def read(args: Mapping[str, object], spec: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the options of a task, converted, with their defaults; raise Refused if one is wrong."""
    public = {name: _UNTOUCHED if name in _TASKS else rules for name, rules in spec.items() if not name.startswith("_")}
    public.update((name, {"type": "raw"}) for name in _SIZES if name in public)
    given = dict(args)
    unknown = sorted(set(given) - set(public))
    if unknown:
        hint = nearest(unknown[0], public)
        raise Refused(f"Unknown option {unknown[0]!r}.{hint} Options are: {', '.join(sorted(public))}.")
    for name, rules in public.items():
        if given.get(name) is None:
            continue
        if rules.get("type") == "list" and name not in _TASKS and isinstance(given[name], str):
            given[name] = [given[name]]  # a single text, which may contain commas
        if name in _CONVERTERS:
            given[name] = _named(name, _CONVERTERS[name], given[name])
        _check_choice(name, rules.get("choices"), given[name])
        if name in ("batch_id", "resume") and rules.get("type") == "str":
            given[name] = _named(name, batch_id, given[name])
    result = ArgumentSpecValidator(public).validate(given)
    if result.error_messages:
        raise Refused("; ".join(_sentence(text) for text in result.error_messages))
    return dict(result.validated_parameters)


def _check_choice(name: str, choices: t.Any, value: object) -> None:
    if choices and value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        raise Refused(
            f"Option {name!r}: it must be one of {listed}: got {shorten(value, 40)!r}.{nearest(value, choices)}"
        )


def _named(name: str, convert: t.Callable[[object], t.Any], value: object) -> t.Any:
    try:
        return convert(value)
    except Refused as exc:
        raise Refused(f"Option {name!r}: {exc}") from exc


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def count(value: object) -> int:
    """Return a number of jobs, 0 for no limit."""
    try:
        number = int(str(value)) if not isinstance(value, bool) else -1
    except ValueError:
        number = -1
    if not 0 <= number <= _MAX_COUNT:
        raise unfit("it must be a whole number, 0 (no limit) or more", value)
    return number


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw]?)\Z", re.ASCII)


def age(value: object) -> float:
    """Return an age in seconds, which may be written as 30m, 12h or 7d."""
    found = None if isinstance(value, bool) else _AGE.match(str(value).strip().lower())
    if found is None:
        raise unfit("it must be a number of seconds, or an age such as 30m, 12h or 7d", value)
    return float(found[1]) * _UNITS[found[2]]


def percentage(value: object) -> float:
    """Return a number from 0 to 100."""
    try:
        number = float(str(value)) if not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:
        raise unfit("it must be a number from 0 to 100", value)
    return number


def batch_id(value: object) -> str:
    """Return the id of a batch."""
    if not ids.is_batch_id(str(value)):
        raise unfit("it must be 'b' and 15 digits, such as b482910475620183", value)
    return str(value)


_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?\Z", re.ASCII)


def size(text: object, where: str) -> int:
    """Return a size in bytes, which may be written as 512K, 1M or 2GiB (K is 1024); `where` begins the error."""
    try:
        return _bytes(text)
    except Refused as exc:
        raise Refused(f"{where}: {exc}", f"{where}: {exc.hidden}") from exc


def _bytes(value: object) -> int:
    found = None if isinstance(value, bool) else _SIZE.match(str(value).strip().lower())
    if found is None:
        raise unfit("it must be a size such as 512K, 1M or 2G, or bytes", value)
    return int(float(found[1]) * _SIZE_UNITS[found[2]])


def kept_output(value: object) -> int:
    """Return how many bytes of a job's output to keep, 0 for none."""
    where = "Option 'keep_output'"
    number = size(value, where)
    if number and not output.LEAST <= number <= _MOST_KEPT:
        raise unfit(f"{where}: it must be 0 (nothing is kept), or from 4K to 1G", value)
    return number


def _number(value: object, least: float, most: float, what: str, sign: str = "") -> float:
    """Return a number, which may have `sign` after it."""
    try:
        number = math.nan if isinstance(value, bool) else float(str(value).strip().removesuffix(sign))
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise unfit(f"it must be {what}", value)
    return number


def nice(value: object) -> int:
    """Return a niceness, as in nice(1)."""
    what = "a whole number from -20 (served first) to 19 (served last)"
    number = _number(value, -20, 19, what)
    if number != int(number):
        raise unfit(f"it must be {what}", value)
    return int(number)


def memory_max(value: object) -> int:
    """Return the bytes that a job may use. Too little for an interpreter is a mistake in the unit."""
    number = _bytes(value)
    if number < _LEAST_MEMORY:
        raise unfit("it must be 1M or more, because no job runs in less", value)
    return number


def cpu_quota(value: object) -> float:
    """Return percent of one processor, which may be written with the sign: 50, or 150%."""
    return _number(value, 1, _MOST_QUOTA, "percent of one processor, 1 or more, such as 50 or 150%", "%")


def pool(value: object) -> str:
    """Return the name of a pool, which also names a folder on the host."""
    if not pools.is_name(value):
        raise unfit(
            "it must be a name of 1 to 64 letters (a to z), digits, '_', '-' and '.', and must not begin with '-' or '.'",
            value,
        )
    return str(value)


def places(value: object) -> int:
    """Return how many places a pool has."""
    what = "a whole number, 1 or more"
    number = _number(value, 1, pools.MOST_PLACES, what)
    if number != int(number):
        raise unfit(f"it must be {what}", value)
    return int(number)


def _min_free_memory(value: object) -> int:
    number = _bytes(value)
    if not number:
        raise plainly("it must be more than 0. Leave it out if any amount of memory is enough.")
    return number


def _max_load(value: object) -> float:
    return _number(value, _LEAST_LOAD, _MAX_COUNT, "a load average, more than 0")


def _start_delay(value: object) -> float:
    return _number(value, 0, MAX_SECONDS, "a number of seconds, 0 or more")


OF_JOBS: dict[str, t.Callable[[object], t.Any]] = {
    "nice": nice,
    "memory_max": memory_max,
    "cpu_quota": cpu_quota,
    "pool": pool,
}
"""Keys that limit a job, or as options all jobs of a launch, and the functions that read their values."""

_CONVERTERS: dict[str, t.Callable[[object], t.Any]] = {
    **dict.fromkeys(_SECONDS, seconds),
    **dict.fromkeys(_COUNTS, count),
    **dict.fromkeys(_AGES, age),
    **dict.fromkeys(_PERCENTAGES, percentage),
    **OF_JOBS,
    "min_free_memory": _min_free_memory,
    "max_load": _max_load,
    "start_delay": _start_delay,
    "pool_size": places,
}


def of_waiter(options: Mapping[str, t.Any], timeout: str = "timeout") -> WaitOptions:
    """Return what the waiter needs; `timeout` is the name of the option that limits the wait."""
    cleanup = {None: "succeeded", True: "ended", False: "none"}[options.get("cleanup")]
    return WaitOptions(
        timeout=options[timeout],
        poll=options["poll"],
        mode=options.get("mode") or "all",
        on_timeout=options["on_timeout"],
        cleanup=cleanup,
        set_facts=bool(options.get("set_facts")),
    )


def async_dir(action: ActionBase) -> str:
    return str(action.get_shell_option("async_dir", default="~/.ansible_async"))
