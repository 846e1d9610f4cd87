# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of cases: written out for each way to run them, and what came of it compared.

    differential.py write CASES OUT     OUT/WAY/THEME.yml: a file of tasks for each way and theme; prints the themes of each way
    differential.py compare OUT RULES   of OUT/WAY.json, results by theme; what the plain task gave counts

A theme is a file of CASES: `cases` (tasks as anybody would write them, and `runs`), `runs` (those of cases that name
none), `around` (keywords of the block around them), `prepare` (plain tasks before them), `about` (`modules`: they try what
modules do and not how they are run, so that a second way to run a module as a job says nothing new). A run is `check` (check
mode and diff), `change` (for real, with diff) or `again` (the same). DIFFERENTIAL_THEMES and DIFFERENTIAL_RUNS in the
environment name the themes and the runs to write, where not all are wanted; a case that has none of these runs keeps its
first. With DIFFERENTIAL_WAYS=all, each theme is run in each way.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import yaml
from ansible.release import __version__ as ansible_version

Record = dict[str, t.Any]

RUNS: dict[str, Record] = {
    "check": {"check_mode": True, "diff": True},
    "change": {"diff": True},
    "again": {"diff": True},
}
# What stands in a task beside its module.
KEYWORDS = {"args", "check_mode", "diff", "environment", "ignore_errors", "name", "no_log", "vars", "when"}
LONG = 20_000


WANTED_THEMES = os.environ.get("DIFFERENTIAL_THEMES", "").split()
WANTED_RUNS = os.environ.get("DIFFERENTIAL_RUNS", "").split()
ALL_WAYS = os.environ.get("DIFFERENTIAL_WAYS") == "all"


class Unsafe(str):
    """A text that Ansible is not to render."""


class Loader(yaml.SafeLoader):
    pass


class Dumper(yaml.SafeDumper):
    pass


Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(loader.construct_scalar(node)))
Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text)))


# ---- write


def write(cases: Path, out: Path) -> None:
    themes: dict[str, list[str]] = {way: [] for way in WAYS}
    runs: dict[str, list[Record]] = {}
    for name, theme in wanted(cases):
        tasks = list(expanded(theme))
        runs[name] = [{"name": task["name"], "module": module_of(task)} for task in tasks]
        for way in ways_of(theme):
            themes[way].append(name)
            file = out / way / f"{name}.yml"
            file.parent.mkdir(parents=True, exist_ok=True)
            own = {"name": f"Cases of {name}", **theme.get("around", {})}
            own["block"] = [*theme.get("prepare", []), *WAYS[way](name, tasks)]
            file.write_text(yaml.dump([own], Dumper=Dumper, allow_unicode=True, sort_keys=False, width=200))
    (out / "runs.json").write_text(json.dumps({"themes": themes, "runs": runs}))
    print(json.dumps(themes))


def wanted(cases: Path) -> list[tuple[str, Record]]:
    """Return the themes, those first that are run in each way: what they find on a host must not depend on the others."""
    paths = [path for path in sorted(cases.glob("*.yml")) if not WANTED_THEMES or path.stem in WANTED_THEMES]
    themes = [(path.stem, yaml.load(path.read_text(), Loader)) for path in paths]  # noqa: S506  # it is a safe one
    return sorted(themes, key=lambda theme: is_about_modules(theme[1]))


def ways_of(theme: Record) -> list[str]:
    return [way for way in WAYS if way != "executed" or ALL_WAYS or not is_about_modules(theme)]


def is_about_modules(theme: Record) -> bool:
    return theme.get("about") == "modules"


def expanded(theme: Record) -> Iterator[Record]:
    """Yield the tasks of a theme, in order, one a run."""
    for case in theme["cases"]:
        runs = case.get("runs", theme.get("runs", list(RUNS)))
        if WANTED_RUNS:
            runs = [run for run in runs if run in WANTED_RUNS] or runs[:1]
        for run in runs:
            task = {key: value for key, value in case.items() if key != "runs"}
            yield {**RUNS[run], **task, "name": f"{case['name']} ({run})"}


def module_of(task: Record) -> str:
    (module,) = set(task) - KEYWORDS
    return module


def plain(theme: str, tasks: list[Record]) -> list[Record]:
    names = [f"{theme}_{index}" for index in range(len(tasks))]
    steps = [{**task, "ignore_errors": True, "register": name} for task, name in zip(tasks, names, strict=True)]
    return [*steps, _kept(theme, f"[{', '.join(names)}]")]


def jobs(theme: str, tasks: list[Record]) -> list[Record]:
    launch = {
        "name": f"Launch and wait: {theme}",
        "background.jobs.async_batch": {"concurrency": 1, "wait": True, "poll": 0, "timeout": 120, "tasks": tasks},
        "register": f"{theme}_done",
        # 'jobs' is there whatever came of them, and that is what counts
        "failed_when": f"{theme}_done.jobs is not defined",
    }
    return [launch, _kept(theme, f"{theme}_done.jobs")]


def blocks(theme: str, tasks: list[Record]) -> list[Record]:
    return jobs(theme, [{"name": task["name"], "block": [task]} for task in tasks])


def _kept(theme: str, expression: str) -> Record:
    return {"name": "Keep the results", "ansible.builtin.set_fact": {f"results_of_{theme}": f"{{{{ {expression} }}}}"}}


# How a theme is written for each host: plain tasks; jobs that run in forks or, as the host's variables say, are executed; and
# jobs that are blocks.
WAYS = {"plain": plain, "forked": jobs, "executed": jobs, "blocked": blocks}


# ---- compare


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


CORE = _version(ansible_version)


def _is_for(rule: Record, core: tuple[int, ...]) -> bool:
    return _version(rule.get("since", "0.0")) <= core and ("until" not in rule or core <= _version(rule["until"]))


class Rules:
    """What may differ, each with its reason: see rules.yml."""

    def __init__(self, source: Record) -> None:
        self.replaced = [(re.compile(rule["text"]), rule["by"]) for rule in source["replaced"]]
        self.by_kind = [self._rule(rule) for rule in source["by_kind"]]
        self.words = [self._rule(rule) for rule in source["words"]]
        self.known = [self._rule(rule) for rule in source["known"] if _is_for(rule, CORE)]
        self.used: set[int] = set()

    @staticmethod
    def _rule(rule: Record) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
        return (
            re.compile(rule.get("case", ".*")),
            re.compile(rule.get("way", ".*")),
            re.compile("|".join(f"(?:{key})" for key in rule["keys"])),
        )

    def flat(self, value: object) -> dict[str, object]:
        """Return all values of a result by their path, their texts in the form that is compared."""
        return dict(_flat(value, ()))

    def compared(self, case: str, way: str, key: str, value: object) -> object:
        if any(where.fullmatch(case) and keys.fullmatch(key) for where, dummy, keys in self.by_kind):
            return f"({type(value).__name__})"
        if isinstance(value, float):
            return repr(value)
        if isinstance(value, str):
            if any(where.fullmatch(case) and keys.fullmatch(key) for where, dummy, keys in self.words):
                value = " ".join(sorted(value.split()))
            if len(value) > LONG:
                return f"({len(value)} characters, {hashlib.sha256(value.encode(errors='surrogatepass')).hexdigest()})"
            for pattern, replacement in self.replaced:
                value = pattern.sub(replacement, value)
        return value

    def is_known(self, case: str, way: str, key: str) -> bool:
        for index, (where, ways, keys) in enumerate(self.known):
            if where.fullmatch(case) and ways.fullmatch(way) and keys.fullmatch(key):
                self.used.add(index)
                return True
        return False


def _flat(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, (*path, str(key)))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _flat(inner, (*path, str(index)))
    else:
        yield ".".join(path), value


def differences(rules: Rules, case: str, way: str, result: Record, job: Record) -> Iterator[str]:
    """Yield a line for each key in which a job's result is not that of the plain task."""
    state = "failed" if result.get("failed") else "succeeded"
    if job["state"] == "skipped" and result.get("skipped"):
        state = "skipped"
    if result.get("skipped"):
        result = {"failed": False, **result}  # 2.19 leaves it out
    # 2.19 keeps a word that a module returns; what a job has changed is true or false.
    changed = str(result["changed"]).lower() in {"true", "yes", "on", "1"}
    left = rules.flat({"result": result, "state": state, "changed": changed})
    right = rules.flat({key: job.get(key) for key in ("result", "state", "changed")})
    for key in sorted(set(left) | set(right)):
        shown = [rules.compared(case, way, key, side[key]) if key in side else "(not there)" for side in (left, right)]
        if shown[0] != shown[1] and not rules.is_known(case, way, key):
            yield f"{case}: {way}: {key}\n    plain: {_short(shown[0])}\n    {way:>5}: {_short(shown[1])}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 600 else f"{text[:300]} ... {text[-300:]}"


def compare(out: Path, rules: Rules) -> int:
    written = json.loads((out / "runs.json").read_text())
    themes, runs = written["themes"], written["runs"]
    results = {way: json.loads((out / f"{way}.json").read_text()) for way in WAYS}
    found, compared = [], 0
    for way in (way for way in WAYS if way != "plain"):
        for theme in themes[way]:
            expected, given = results["plain"][theme], results[way][theme]
            names = [run["name"] for run in runs[theme]]
            if len(expected) != len(names) or [job["name"] for job in given] != names:
                found.append(f"{theme}: {way}: {len(names)} runs, {len(expected)} plain results, {len(given)} jobs")
                continue
            for name, result, job in zip(names, expected, given, strict=True):
                case = f"{theme}: {name}"
                if way == "blocked":
                    found += differences(rules, case, way, result, job["results"][0])
                found += differences(rules, case, "block" if way == "blocked" else way, result, job)
                compared += 1
    needless = [str(rules.known[index][0].pattern) for index in range(len(rules.known)) if index not in rules.used]
    if needless and not found and not WANTED_THEMES and not WANTED_RUNS:
        found.append(f"rules.yml knows of differences that are none: {', '.join(needless)}")
    everything = [run for one in runs.values() for run in one]
    cases = {(theme, run["name"].rpartition(" (")[0]) for theme, one in runs.items() for run in one}
    modules = {run["module"].rpartition(".")[2] for run in everything}
    for line in found:
        print(line)
    print(
        f"{len(cases)} cases, {len(modules)} modules, {len(everything)} plain runs, {compared} results of jobs "
        f"({', '.join(way for way in WAYS if way != 'plain')}) compared with the plain one, {len(found)} differences"
    )
    return 1 if found or not compared else 0


def main(words: list[str]) -> int:
    command, first, second = words
    if command == "write":
        write(Path(first), Path(second))
        return 0
    return compare(Path(first), Rules(yaml.safe_load(Path(second).read_text())))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
