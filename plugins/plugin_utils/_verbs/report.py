# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The result of a wait: the jobs, how many are in each state, and a summary."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable, Mapping

from ansible_collections.background.jobs.plugins.module_utils._protocol import results, states
from ansible_collections.background.jobs.plugins.plugin_utils._core.results import with_messages
from ansible_collections.background.jobs.plugins.plugin_utils._errors import amount, printable, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.progress import duration

if t.TYPE_CHECKING:
    from ansible_collections.background.jobs.plugins.plugin_utils._host.codec import Decoded
    from ansible_collections.background.jobs.plugins.plugin_utils._verbs.waiting import WaitOutcome

Result = dict[str, t.Any]
Decoder = Callable[[str, str], "Decoded"]

_NAMED = 5
_DETAIL_WIDTH = 160
# Keys of the host's answer that playbooks do not get.
_INTERNAL = (
    "asked",
    "deferred",
    "revision",
    "running_for",
    "source",
    "batch_id",
    "module",
    "no_log",
    "ignore_errors",
    "forgotten",
    "tasks",
    "ending",
    "supervisor",
    "always_timeout",
)
_MISSING = (
    "Check that this task has the host, user (remote_user, become) and ansible_async_dir of the one that launched, "
    "and that the records were not removed meanwhile (cleanup: true)."
)
_VERBS = (
    (states.FAILED, "failed"),
    (states.TIMED_OUT, "timed out"),
    (states.CANCELLED, "cancelled"),
    (states.LOST, "lost"),
)
# Messages of modules that say no more than the return code.
_EMPTY_MESSAGES = (
    "non-zero return code",
    "The command exited with a non-zero return code.",
    "MODULE FAILURE",
    "Task failed: Module failed: Unknown error.",
    "Task failed: Action failed: Unknown error.",
)


class Entries:
    """The entries of jobs in the result. Those of jobs that have ended can be made ahead, while others still run."""

    def __init__(self, decode: Decoder) -> None:
        self._decode = decode
        self._made: dict[int, tuple[Result, Result]] = {}

    def prepare(self, views: list[Result]) -> None:
        for index, view in enumerate(views):
            if view["finished"] and not view.get("deferred") and not self._has(index, view):
                self._made[index] = view, job_of(view, self._decode)

    def of(self, views: list[Result]) -> list[Result]:
        return [
            self._made[index][1] if self._has(index, view) else job_of(view, self._decode)
            for index, view in enumerate(views)
        ]

    def _has(self, index: int, view: Result) -> bool:
        """Views are replaced, never changed, once they are final."""
        return index in self._made and self._made[index][0] is view


def build(outcome: WaitOutcome, entries: Entries, on_timeout: str = "fail", timeout: float = 0.0) -> Result:
    """Return the result of a wait."""
    jobs = entries.of(outcome.views)
    ignored = [bool(view.get("ignore_errors")) for view in outcome.views]
    bad = [
        job for job, forgiven in zip(jobs, ignored, strict=True) if job["state"] in states.UNSUCCESSFUL and not forgiven
    ]
    counts = {state: sum(1 for job in jobs if job["state"] == state) for state in states.ALL}
    result: Result = {
        "jobs": jobs,
        "counts": counts,
        "failed_jobs": [job["name"] for job in bad],
        "changed": any(job["changed"] for job in jobs),
        "failed": bool(bad or outcome.errors or (outcome.timed_out and on_timeout != "return")),
        "msg": printable(_message(outcome, jobs, bad, counts, timeout)),
        "elapsed": round(outcome.elapsed, 3),
    }
    if outcome.unreachable is not None:
        result["unreachable"] = True
    for key in ("warnings", "deprecations"):
        lifted = _distinct(item for job in jobs for result in _results_of(job) for item in result.get(key) or ())
        lifted += outcome.warnings if key == "warnings" else []
        if lifted:
            result[key] = lifted
    return result


def job_of(view: Result, decode: Decoder) -> Result:
    """Return the entry of a job in the result."""
    job = {key: value for key, value in view.items() if key not in _INTERNAL and value is not None}
    why = None
    if isinstance(job.get("result"), str):
        job["result"], why = decode(job["result"], job["state"])
        _sync(job)
    culprit = None
    if "result" in job:
        job["changed"] = results.has_changed(job["result"])
    if isinstance(view.get("tasks"), str):
        culprit = _add_tasks(job, view["tasks"], decode)
    if "facts" not in job:
        _gather(job)
    job.setdefault("changed", False)
    if job["state"] in states.UNSUCCESSFUL and not job.get("msg"):
        job["msg"] = printable(why) if why else reason(job)
        if culprit:
            job["msg"] = f"{culprit}: {job['msg']}"
    return job


def _gather(job: Result) -> None:
    """Add to a job the facts that its modules have returned; with a script, the host has collected them."""
    facts: Result = {}
    for result in _results_of(job):
        found = result.get("ansible_facts")
        facts.update(found if isinstance(found, Mapping) else {})
    if facts:
        job.update(facts=facts, gathered=sorted(facts))


def _sync(told: Result) -> None:
    """Turn a success into a failure if Ansible, other than the host, takes the result for a failure."""
    if told["result"].get("failed") and told["state"] == states.SUCCEEDED:
        told["state"] = states.FAILED


def _add_tasks(job: Result, text: str, decode: Decoder) -> str | None:
    """Add to a job what each of its tasks returned; return the name of the task that made it fail."""
    told = json.loads(text)
    if told.get("final"):
        return _add_final(job, told)
    job["results"] = told["results"]
    for entry in job["results"]:
        entry["result"], why = decode(entry["result"], entry["state"])
        _sync(entry)
        entry["changed"] = results.has_changed(entry["result"])
        if entry["state"] in states.UNSUCCESSFUL:
            entry["msg"] = printable(why) if why else reason(entry)
    if job["results"] and job["results"][-1].get("ignored"):
        job["result"] = job["results"][-1]["result"]  # its results file says that the job succeeded
    job["changed"] = any(entry.get("changed") for entry in job["results"])
    if told["rescued"]:
        job["rescued"] = True
    culprit = told.get("culprit")
    return None if culprit is None else str(job["results"][culprit]["name"])


def _add_final(job: Result, told: Result) -> str | None:
    """Do the same for a job with a script, of which the host has already made the results that a playbook registers."""
    entries = told["results"]
    for entry in entries:
        if isinstance(entry["result"], str):
            entry["result"] = with_messages(json.loads(entry["result"]))
        if entry["state"] in states.UNSUCCESSFUL and not entry.get("msg"):
            entry["msg"] = reason(entry)
    job["registered"] = {name: _registered(place, entries) for name, place in told["registered"].items()}
    job.update({key: told[key] for key in ("facts", "notified")})
    job.update({key: told[key] for key in ("cacheable", "gathered") if told.get(key)})
    job["changed"] = any(entry.get("changed") for entry in entries)
    if entries and (told.get("alone") or entries[-1].get("ignored")):
        job["result"] = entries[-1]["result"]
    if told["rescued"]:
        job["rescued"] = True
    if told.get("alone"):
        return None
    job["results"] = entries
    culprit = told.get("culprit")
    if culprit is None:
        return None
    job["result"] = entries[culprit]["result"]
    return str(entries[culprit]["name"])


def _registered(place: Result, entries: list[Result]) -> Result:
    """Return the registered value of a name: the result of one task, or of all turns of a loop."""
    if "entry" in place:
        return t.cast("Result", entries[place["entry"]]["result"])
    left_out = place.get("without") or ()
    items = [entries[index]["result"] for index in place["entries"]]
    return {**place["more"], "results": [_without(left_out, item) for item in items] if left_out else items}


def _without(keys: t.Collection[str], result: Result) -> Result:
    return {key: value for key, value in result.items() if key not in keys}


def to_hand_on(jobs: t.Iterable[Result]) -> tuple[Result, Result, list[str]]:
    """Return what jobs hand on to the play: variables, facts, and the handlers that they notify."""
    variables: Result = {}
    facts: Result = {}
    notified: list[str] = []
    for job in jobs:
        own, gathered = job.get("facts") or {}, job.get("gathered") or ()
        variables.update((name, value) for name, value in own.items() if name not in gathered)
        facts.update((name, own[name]) for name in (*gathered, *(job.get("cacheable") or ())))
        notified += [topic for topic in job.get("notified") or () if topic not in notified]
    return variables, facts, notified


def _results_of(job: Result) -> list[Result]:
    if "results" in job:
        return [entry["result"] for entry in job["results"]]
    return [job.get("result") or {}]


def _distinct(items: t.Iterable[t.Any]) -> list[t.Any]:
    seen: dict[str, t.Any] = {}
    for item in items:
        seen.setdefault(repr(item), item)
    return list(seen.values())


def reason(job: Result) -> str:
    """Return in one line why a job did not succeed, such as: rc 2: make: *** No targets."""
    result = job.get("result") or {}
    rc = result.get("rc")
    message = "" if result.get("msg") in (None, *_EMPTY_MESSAGES) else str(result["msg"])
    if rc in (None, 0):
        return shorten(_last_line(message) or job["state"].replace("_", " "), _DETAIL_WIDTH)
    said = _last_line(str(result.get("stderr") or "")) or message or _last_line(str(result.get("stdout") or ""))
    words = results.describe_rc(rc)
    return shorten(f"{words}: {said}" if said else words, _DETAIL_WIDTH)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _message(
    outcome: WaitOutcome, jobs: list[Result], bad: list[Result], counts: dict[str, int], timeout: float
) -> str:
    if outcome.errors:
        text = f"Cannot wait for {len(outcome.errors)} of {amount(len(jobs), 'job')}: {_listed(outcome.errors, '; ')}."
        return f"{text} {_MISSING}" if outcome.missing else text
    if not jobs:
        return "There were no jobs to wait for."
    sentences = []
    if outcome.unreachable is not None:
        ids = _listed([job["ansible_job_id"] for job in jobs if not job["finished"]])
        sentences.append(
            f"The host can no longer be reached ({shorten(outcome.unreachable, 200)}). Its jobs are left as they are: {ids}."
        )
    sentences += _sentences_of_bad(bad, len(jobs))
    unfinished = [_unfinished(job) for job in jobs if not job["finished"]]
    if unfinished and outcome.unreachable is None:
        within = f" within {duration(timeout)}" if outcome.timed_out else " yet"
        sentences.append(
            f"{len(unfinished)} of {amount(len(jobs), 'job')} did not finish{within}: {_listed(unfinished)}. Running jobs continue."
        )
    forgiven = sum(counts[state] for state in states.UNSUCCESSFUL) - len(bad)
    if forgiven:
        sentences.append(f"{forgiven} failed and {'is' if forgiven == 1 else 'are'} ignored.")
    if counts[states.SUCCEEDED]:
        sentences.append(
            f"{counts[states.SUCCEEDED]} succeeded."
            if sentences
            else f"{amount(counts[states.SUCCEEDED], 'job')} succeeded."
        )
    if counts[states.SKIPPED]:
        sentences.append(
            f"{counts[states.SKIPPED]} skipped." if sentences else f"{amount(counts[states.SKIPPED], 'job')} skipped."
        )
    return " ".join(sentences)


def _unfinished(job: Result) -> str:
    return f"{job['name']} ({job['msg']})" if job.get("in_line") else str(job["name"])


def _sentences_of_bad(bad: list[Result], total: int) -> list[str]:
    sentences: list[str] = []
    for state, verb in _VERBS:
        named = [
            f"{shorten(job['name'], 60)} ({shorten(str(job['msg']).rstrip('.'), _DETAIL_WIDTH)})"
            for job in bad
            if job["state"] == state
        ]
        if named:
            head = f"{len(named)} of {amount(total, 'job')}" if not sentences else str(len(named))
            sentences.append(f"{head} {verb}: {_listed(named)}.")
    return sentences


def _listed(items: list[str], separator: str = ", ") -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return separator.join(items[:_NAMED]) + more
