# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""A page of when jobs ran: a single file, without external resources, in which text from hosts is never taken for HTML."""

from __future__ import annotations

import base64
import datetime
import hashlib
import html
import typing as t
from collections.abc import Iterator, Mapping

from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.plugin_utils._errors import printable, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.timeline import (
    LOOKS,
    Group,
    Picture,
    Row,
    brief,
    picture,
)

_MAX_NAME = 200
_MAX_REASON = 2000
_TAIL_LINES = 20
_TAIL_CHARACTERS = 4000
_WIDTH = 1000  # of a bar, in its own units; the page stretches it
_LEAST = 3  # of these units, so that short jobs are visible
# States that need attention come first.
_ORDER = (
    *(states.FAILED, states.TIMED_OUT, states.CANCELLED, states.LOST),
    *(states.RUNNING, states.QUEUED, states.SUCCEEDED, states.SKIPPED),
)

Job = Mapping[str, t.Any]


def page(jobs: object) -> str:
    """Return an HTML document about jobs: those of one host, or of several."""
    drawn = picture(jobs)
    style, script = f"{_STYLE}{_colours()}", _SCRIPT
    # The page needs no external resources; this policy keeps it from fetching or running anything else.
    policy = f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_text(policy)}">',
        '<meta name="viewport" content="width=device-width">\n<title>Background jobs</title>',
        f"<style>{style}</style>\n</head>\n<body>",
        *_head(drawn),
        *_controls(drawn.rows),
    ]
    number = 0
    for group in drawn.groups:
        parts += _table(group, drawn.span, number)
        number += len(group.rows)
    parts += ['<p id="none" hidden>No job fits.</p>', f"<script>{script}</script>\n</body>\n</html>"]
    return "\n".join(parts) + "\n"


def _text(value: object) -> str:
    return html.escape(printable(str(value)))


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _colours() -> str:
    return "".join(f".{state}{{--state:{colour}}}\n" for state, (dummy, colour) in LOOKS.items())


def _said(state: str) -> str:
    return state.replace("_", " ")


def _time(seconds: float) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _head(drawn: Picture) -> Iterator[str]:
    count, hosts = len(drawn.rows), [group.host for group in drawn.groups if group.host is not None]
    told = [f"{count} job{'' if count == 1 else 's'}"]
    if hosts:
        told.append(f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}")
    if drawn.origin:
        told += [f"from {_time(drawn.origin)}", f"{brief(drawn.span)} in all"]
    yield f"<header><h1>Background jobs</h1><p>{_text(', '.join(told))}</p></header>"


def _controls(rows: list[Row]) -> Iterator[str]:
    yield '<form id="controls">'
    yield '<label>Find <input type="search" id="find" placeholder="name, host, reason"></label>'
    for state in _ORDER:
        number = sum(1 for row in rows if row.state == state)
        if number:
            yield (
                f'<label class="{state}"><input type="checkbox" name="state" value="{state}" checked> '
                f"<i></i>{number} {_said(state)}</label>"
            )
    yield '<button type="button" id="open">Open all</button> <button type="button" id="theme">Dark or light</button></form>'


_COLUMNS = (("job", "Job"), ("state", "State"), ("attempts", "Attempts"), ("start", "Start"), ("took", "Took"))


def _table(group: Group, span: float, first: int) -> Iterator[str]:
    yield "<section>"
    if group.host is not None:
        yield f"<h2>{_text(shorten(group.host, _MAX_NAME))}</h2>"
    if not group.rows:
        yield "<p>No jobs.</p></section>"
        return
    heads = "".join(
        f'<th scope="col" class="{key}"><button type="button" data-by="{index}">{word}</button></th>'
        for index, (key, word) in enumerate(_COLUMNS)
    )
    scale = "".join(f"<span>{moment}</span>" for moment in ("0", brief(span / 2), brief(span)))
    yield f'<table><thead><tr>{heads}<th scope="col" class="when"><div>{scale}</div></th></tr></thead>'
    numbers = {str(job.get("name")): first + index for index, job in enumerate(group.jobs)}
    for index, (job, row) in enumerate(zip(group.jobs, group.rows, strict=True)):
        more = "".join((*_why(job), *_others(job, numbers), *_times(job), *_parts(job), *_printed(job)))
        found = f"{group.host or ''} {shorten(row.name, _MAX_NAME)} {_reason(job)}".lower()
        yield f'<tbody class="{row.state}" id="job{first + index}" data-state="{row.state}" data-found="{_text(found)}">'
        yield _row(row, job.get("attempts"), span, first + index)
        yield f'<tr id="more{first + index}" class="more" hidden><td colspan="{len(_COLUMNS) + 1}"><dl>{more}</dl></td></tr></tbody>'
    yield "</table></section>"


def _row(row: Row, attempts: object, span: float, number: int) -> str:
    name = shorten(row.name, _MAX_NAME)
    return (
        "<tr>"
        f'<td class="job" data-value="{_text(name.lower())}"><button type="button" aria-expanded="false" '
        f'aria-controls="more{number}">{_text(name)}</button></td>'
        f'<td class="state" data-value="{_ORDER.index(row.state)}"><i></i>{LOOKS[row.state][0]} {_said(row.state)}</td>'
        f'<td class="attempts" data-value="{_number(attempts)}">{_text("" if attempts is None else attempts)}</td>'
        f'<td class="start" data-value="{_number(row.start)}">{"" if row.start is None else brief(row.start)}</td>'
        f'<td class="took" data-value="{_number(row.length)}">{"" if row.length is None else brief(row.length)}</td>'
        f'<td class="when">{_bar(row, span)}</td></tr>'
    )


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else "-1"


def _bar(row: Row, span: float) -> str:
    if row.start is None or row.end is None:
        return ""
    scale = _WIDTH / span if span > 0 else 0.0
    length = max((row.end - row.start) * scale, _LEAST)
    x = min(row.start * scale, _WIDTH - length)
    waited = min(row.queued * scale, x)
    label = f"queued at {brief(row.queued)}, ran from {brief(row.start)} to {brief(row.end)}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} 10" preserveAspectRatio="none" role="img" aria-label="{label}"><title>{label}</title>'
        f'<rect class="waited" x="{waited:.1f}" y="4" width="{x - waited:.1f}" height="2"/>'
        f'<rect class="ran" x="{x:.1f}" y="0" width="{length:.1f}" height="10"/></svg>'
    )


# The details of a job below its row, as terms and descriptions.


def _reason(job: Job) -> str:
    return str(job.get("msg") or "")[:_MAX_REASON]


def _why(job: Job) -> Iterator[str]:
    if job.get("msg"):
        yield _term("Why", f"<p>{_text(_reason(job))}</p>")
    if job.get("item") is not None:
        yield _term("Item", f"<code>{_text(shorten(job['item'], _MAX_REASON))}</code>")


def _others(job: Job, numbers: Mapping[str, int]) -> Iterator[str]:
    if names := _list(job.get("depends_on")):
        yield _term("Depends on", ", ".join(_link(str(name), numbers) for name in names))


def _times(job: Job) -> Iterator[str]:
    for word, key in (("Queued", "queued_at"), ("Started", "started_at"), ("Ended", "ended_at")):
        if job.get(key) is not None:
            yield _term(word, _time(float(job[key])))


def _parts(job: Job) -> Iterator[str]:
    for word, key, told in (("Failed attempts", "failed_attempts", _attempt), ("Tasks", "results", _task)):
        if lines := [told(one) for one in _list(job.get(key)) if isinstance(one, Mapping)]:
            yield _term(word, f"<ol>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ol>")


def _printed(job: Job) -> Iterator[str]:
    result = job.get("result")
    for key in ("stdout", "stderr"):
        if tail := _tail(result.get(key) if isinstance(result, Mapping) else None) or _tail(job.get(key)):
            yield _term(key, f"<pre>{_text(tail)}</pre>")
    if job.get("ansible_job_id"):
        yield _term("Id", f"<code>{_text(job['ansible_job_id'])}</code>")


def _term(word: str, said: str) -> str:
    return f"<dt>{word}</dt><dd>{said}</dd>"


def _list(value: object) -> list[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _link(name: str, numbers: Mapping[str, int]) -> str:
    shown = _text(shorten(name, _MAX_NAME))
    return f'<a href="#job{numbers[name]}">{shown}</a>' if name in numbers else shown


def _attempt(told: Job) -> str:
    return f"{_said(str(told.get('state', '')))}: {shorten(told.get('msg') or '', _MAX_REASON)}"


def _task(told: Job) -> str:
    took = told.get("duration")
    after = f" after {brief(float(took))}" if isinstance(took, (int, float)) else ""
    why = f": {shorten(told['msg'], _MAX_REASON)}" if told.get("msg") else ""
    name = shorten(told.get("name") or told.get("module") or "?", _MAX_NAME)
    return f"{name}: {_said(str(told.get('state', '')))}{after}{why}"


def _tail(output: object) -> str:
    """Return the last lines of the output, as many as a page can take."""
    if not isinstance(output, str):
        return ""
    kept = "\n".join(output.rstrip().splitlines()[-_TAIL_LINES:])
    return kept if len(kept) <= _TAIL_CHARACTERS else f"…{kept[1 - _TAIL_CHARACTERS :]}"


_STYLE = """
:root{color-scheme:light;--paper:#fff;--ink:#111827;--soft:#5b6472;--line:#e2e6ec;--field:#f6f7f9;--link:#1d5fb4}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;
--paper:#14171c;--ink:#e8eaee;--soft:#a2abb9;--line:#2c323b;--field:#1d2229;--link:#82b4f5}}
:root[data-theme=dark]{color-scheme:dark;
--paper:#14171c;--ink:#e8eaee;--soft:#a2abb9;--line:#2c323b;--field:#1d2229;--link:#82b4f5}
body{margin:1.5rem;background:var(--paper);color:var(--ink);font:14px/1.45 system-ui,sans-serif}
h1{font-size:1.3rem;margin:0}
h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
header p{margin:.2rem 0 1rem;color:var(--soft)}
form{display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:center;padding:.6rem .8rem;background:var(--field);border-radius:6px}
form input[type=search]{font:inherit;width:14rem}
form button{font:inherit}
i{display:inline-block;width:.65em;height:.65em;margin-right:.4em;border-radius:2px;background:var(--state)}
table{width:100%;border-collapse:collapse;margin-top:.6rem;table-layout:fixed}
th,td{padding:.3rem .5rem;text-align:left;vertical-align:middle;border-bottom:1px solid var(--line)}
th button,td.job button{all:unset;cursor:pointer}
th button:focus-visible,td.job button:focus-visible{outline:2px solid var(--link)}
th{color:var(--soft);font-weight:600}
th[aria-sort=ascending] button::after{content:" \\25b2"}
th[aria-sort=descending] button::after{content:" \\25bc"}
th.job{width:24%}th.state{width:8.5rem}th.attempts{width:5.5rem}th.start,th.took{width:4.5rem}
td.job{overflow-wrap:anywhere}
td.job button::before{content:"\\25b8";display:inline-block;width:1.1em;color:var(--soft)}
td.job button[aria-expanded=true]::before{content:"\\25be"}
td.attempts,td.start,td.took,th.attempts,th.start,th.took{text-align:right;font-variant-numeric:tabular-nums}
th.when div{display:flex;justify-content:space-between;font-weight:400;font-variant-numeric:tabular-nums}
td.when svg{display:block;width:100%;height:14px;border-radius:3px;background:var(--field)}
rect.ran{fill:var(--state)}
rect.waited{fill:var(--soft);opacity:.45}
tr.more td{background:var(--field)}
tbody:target tr:first-child td{background:var(--field)}
dl{display:grid;grid-template-columns:8rem 1fr;gap:.25rem 1rem;margin:.3rem 0}
dt{color:var(--soft)}
dd{margin:0;min-width:0}
dd p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
dd ol{margin:0;padding-left:1.4rem;overflow-wrap:anywhere}
pre{margin:0;padding:.5rem .7rem;overflow:auto;background:var(--paper);border:1px solid var(--line);border-radius:4px;font:12px/1.4 ui-monospace,monospace}
a{color:var(--link)}
@media (max-width:900px){.attempts,.start,th.when span:nth-child(2){display:none}}
@media print{form{display:none}}
"""

_SCRIPT = """
"use strict";
const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
const jobs = all("tbody");

function show() {
  const words = document.getElementById("find").value.toLowerCase().split(/\\s+/);
  const states = new Set(all("input[name=state]:checked").map((box) => box.value));
  for (const job of jobs) {
    job.hidden = !states.has(job.dataset.state) || !words.every((word) => job.dataset.found.includes(word));
  }
  for (const section of all("section")) {
    const inside = all("tbody", section);
    section.hidden = inside.length > 0 && inside.every((job) => job.hidden);
  }
  document.getElementById("none").hidden = jobs.length === 0 || jobs.some((job) => !job.hidden);
}

function unfold(button, isOpen) {
  button.setAttribute("aria-expanded", isOpen);
  document.getElementById(button.getAttribute("aria-controls")).hidden = !isOpen;
}

function sort(by) {
  const heads = all("th").filter((head) => head.querySelector("button[data-by='" + by + "']"));
  const isDown = heads[0].getAttribute("aria-sort") === "ascending";
  all("th").forEach((head) => head.removeAttribute("aria-sort"));
  heads.forEach((head) => head.setAttribute("aria-sort", isDown ? "descending" : "ascending"));
  const value = (job) => job.rows[0].cells[by].dataset.value;
  const compare = (a, b) => by === 0 ? value(a).localeCompare(value(b), undefined, {numeric: true}) : value(a) - value(b);
  for (const table of all("table")) {
    Array.from(table.tBodies).sort((a, b) => isDown ? compare(b, a) : compare(a, b)).forEach((job) => table.append(job));
  }
}

document.getElementById("controls").addEventListener("input", show);
document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("open").addEventListener("click", () => {
  const folded = all("td.job button[aria-expanded=false]");
  (folded.length ? folded : all("td.job button")).forEach((button) => unfold(button, folded.length > 0));
});
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button && button.dataset.by) sort(Number(button.dataset.by));
  if (button && button.hasAttribute("aria-controls")) unfold(button, button.getAttribute("aria-expanded") === "false");
});
"""
