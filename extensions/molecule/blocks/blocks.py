# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blocks and roles, run plain and as one job each: written out for both ways, and what came of them compared.

    blocks.py write CASES OUT            OUT/WAY/THEME.yml: a file of tasks for each way and theme
    blocks.py compare OUT RULES          of OUT/WAY.json: {theme: {"cases": [...], "host": what the host looks like}}

A theme is a file of CASES. A case has a `block` with keywords beside it, and `registers` (variables that its files and
roles register), `facts` (variables that it sets), `compared` (those registered variables that can be equal, where not all
can), `runs` (`check`, `change`, `again`; all where it names none). What is registered in its own block is found by itself.
"""

from __future__ import annotations

import json
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "differential"))

from differential import RUNS, WANTED_RUNS, WANTED_THEMES, Dumper, Loader, Record, Rules, _short

OWN = {"name", "registers", "facts", "compared", "runs"}
ABSENT = "(not there)"


class Case(t.NamedTuple):
    name: str
    task: Record
    registered: list[str]
    facts: list[str]


def cases_of(path: Path) -> Iterator[Case]:
    """Yield a theme's cases, one a run."""
    theme = yaml.load(path.read_text(), Loader)  # noqa: S506  # it is a safe one
    for case in theme["cases"]:
        runs = case.get("runs", list(RUNS))
        if WANTED_RUNS:
            runs = [run for run in runs if run in WANTED_RUNS] or runs[:1]
        task = {key: value for key, value in case.items() if key not in OWN}
        found = dict.fromkeys([*registered_in(case["block"]), *case.get("registers", [])])
        names = [name for name in found if name in case.get("compared", found)]
        for run in runs:
            name = f"{case['name']} ({run})"
            yield Case(name, {"name": name, **RUNS[run], **task}, names, case.get("facts", []))


def registered_in(tasks: list[Record]) -> Iterator[str]:
    for task in tasks:
        if "register" in task and not task.get("no_log"):
            yield task["register"]
        for section in ("block", "rescue", "always"):
            yield from registered_in(task.get(section, []))


def write(cases: Path, out: Path) -> None:
    themes = []
    for path in sorted(cases.glob("*.yml")):
        if WANTED_THEMES and path.stem not in WANTED_THEMES:
            continue
        themes.append(path.stem)
        found = list(cases_of(path))
        for way, steps in (("plain", plain), ("job", jobs)):
            file = out / way / path.name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                yaml.dump(steps(path.stem, found), Dumper=Dumper, allow_unicode=True, sort_keys=False, width=200)
            )
    print(json.dumps(themes))


def value_of(name: str) -> str:
    return f"{{{{ lookup('ansible.builtin.vars', '{name}', default='{ABSENT}') }}}}"


def plain(theme: str, cases: list[Case]) -> list[Record]:
    """Return the tasks of a theme as anybody would write them, and what keeps the variables that they set."""
    steps: list[Record] = []
    for index, case in enumerate(cases):
        failed = f"failed_{theme}_{index}"
        steps += [
            {
                "name": case.name,
                "block": [
                    {**{key: value for key, value in case.task.items() if key != "name"}, "name": case.name},
                    {"name": "Handlers", "ansible.builtin.meta": "flush_handlers"},
                ],
                "rescue": [
                    {"name": "Keep the failure", "ansible.builtin.set_fact": {failed: "{{ ansible_failed_result }}"}}
                ],
            },
            {
                "name": "Keep what it registered",
                "ansible.builtin.set_fact": {
                    f"kept_{theme}_{index}": {
                        "name": case.name,
                        "failed": value_of(failed),
                        "registered": {name: value_of(name) for name in case.registered},
                        "facts": {name: value_of(name) for name in case.facts},
                    }
                },
            },
        ]
    kept = ", ".join(f"kept_{theme}_{index}" for index in range(len(cases)))
    return [*steps, keep(theme, f"[{kept}]")]


def jobs(theme: str, cases: list[Case]) -> list[Record]:
    """Return the tasks that run each case as one job."""
    launch = {
        "name": f"Launch and wait: {theme}",
        "background.jobs.async_batch": {
            "concurrency": 1,
            "wait": True,
            "poll": 0,
            "timeout": 120,
            "set_facts": True,
            "tasks": [case.task for case in cases],
        },
        "register": f"{theme}_done",
        # 'jobs' is there whatever came of them, and that is what counts
        "failed_when": f"{theme}_done.jobs is not defined",
    }
    flush = {"name": "Handlers", "ansible.builtin.meta": "flush_handlers"}
    facts = dict.fromkeys(name for case in cases for name in case.facts)
    steps = [launch, flush, keep(theme, f"{theme}_done.jobs")]
    if facts:
        steps.append(
            {
                "name": "Keep the facts",
                "ansible.builtin.set_fact": {f"facts_of_{theme}": {name: value_of(name) for name in facts}},
            }
        )
    return steps


def keep(theme: str, expression: str) -> Record:
    return {"name": "Keep the results", "ansible.builtin.set_fact": {f"results_of_{theme}": f"{{{{ {expression} }}}}"}}


# ---- compare


def different(rules: Rules, where: str, plain_side: object, job_side: object) -> Iterator[str]:
    left, right = rules.flat(plain_side), rules.flat(job_side)
    for key in sorted(set(left) | set(right)):
        shown = [rules.compared(where, "job", key, side[key]) if key in side else ABSENT for side in (left, right)]
        if shown[0] != shown[1] and not rules.is_known(where, "job", key):
            yield f"{where}: {key}\n    plain: {_short(shown[0])}\n      job: {_short(shown[1])}"


def of_case(rules: Rules, where: str, expected: Record, job: Record) -> Iterator[str]:
    failed = expected["failed"] != ABSENT
    states = "failed" if failed else "succeeded", job["state"]
    if states[0] != states[1] and states != ("succeeded", "skipped"):
        yield f"{where}: plain {states[0]}, job {states[1]}: {job.get('msg', '')}"
    registered = {name: job.get("registered", {}).get(name, ABSENT) for name in expected["registered"]}
    yield from different(rules, where, {"registered": expected["registered"]}, {"registered": registered})
    facts = {name: job.get("facts", {}).get(name, ABSENT) for name in expected["facts"]}
    yield from different(rules, where, {"facts": expected["facts"]}, {"facts": facts})
    if failed and job["state"] == "failed":
        yield from different(rules, where, {"failure": failure_of(expected["failed"])}, {"failure": job["result"]})


def failure_of(result: Record) -> Record:
    """Return what a job has as its result: where a loop has failed, that of its first item which did."""
    return next((item for item in result.get("results", []) if item.get("failed")), result)


def compare(out: Path, rules: Rules) -> int:
    sides = {way: json.loads((out / f"{way}.json").read_text()) for way in ("plain", "job")}
    found: list[str] = []
    compared = variables = 0
    for theme, plain_side in sides["plain"].items():
        job_side = sides["job"].get(theme, {"cases": []})
        names = [[case["name"] for case in side["cases"]] for side in (plain_side, job_side)]
        if names[0] != names[1]:
            found.append(f"{theme}: plain has {len(names[0])} results, jobs {len(names[1])}")
            continue
        for expected, job in zip(plain_side["cases"], job_side["cases"], strict=True):
            found += of_case(rules, f"{theme}: {expected['name']}", expected, job)
            compared += 1
            variables += len(expected["registered"]) + len(expected["facts"])
        # the last run of a case leaves its facts behind
        last = {name: value for case in plain_side["cases"] for name, value in case["facts"].items()}
        found += different(rules, f"{theme}: facts of the host", {"facts": last}, {"facts": job_side.get("facts", {})})
        found += different(rules, f"{theme}: the host", plain_side["host"], job_side["host"])
    needless = [str(rules.known[index][0].pattern) for index in range(len(rules.known)) if index not in rules.used]
    if needless and not found and not WANTED_THEMES and not WANTED_RUNS:
        found.append(f"rules.yml knows of differences that are none: {', '.join(needless)}")
    for line in found:
        print(line)
    cases = {
        (theme, case["name"].rpartition(" (")[0]) for theme, side in sides["plain"].items() for case in side["cases"]
    }
    files = sum(len(side["host"]["files"]) for side in sides["plain"].values())
    print(
        f"{len(cases)} blocks and roles, {compared} runs of each way, {variables} variables and {files} files compared, "
        f"{len(found)} differences"
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
