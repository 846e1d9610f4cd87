# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Pictures of when jobs ran: one row for each job, time from left to right."""

from __future__ import annotations

import typing as t
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, kind, shorten
from ansible_collections.background.jobs.plugins.plugin_utils._verbs.progress import duration

_MIN_WIDTH = 40
_MAX_NAME = 28
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_WAITING = "·"

# How each state looks: its mark in text, and its colour in pictures.
LOOKS = {
    states.QUEUED: ("…", "#b0b7c3"),
    states.RUNNING: ("▶", "#4c8dd6"),
    states.SUCCEEDED: ("✔", "#3a9d5d"),
    states.FAILED: ("✘", "#d64541"),
    states.TIMED_OUT: ("◷", "#e08a1e"),
    states.CANCELLED: ("■", "#8e6bbf"),
    states.SKIPPED: ("-", "#b0b7c3"),
    states.LOST: ("?", "#6b7280"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One job; its times count from the start of the picture."""

    name: str
    state: str
    queued: float
    start: float | None
    end: float | None

    @property
    def length(self) -> float | None:
        return None if self.start is None or self.end is None else self.end - self.start


@dataclass(frozen=True, slots=True)
class Group:
    """The jobs of one host, and their rows; `host` is None if there is only one, without a name."""

    host: str | None
    jobs: list[Mapping[str, t.Any]]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn, from `origin` (seconds since 1970) to `span` seconds later."""

    groups: list[Group]
    origin: float
    span: float

    @property
    def rows(self) -> list[Row]:
        return [row for group in self.groups for row in group.rows]

    def lines(self) -> Iterator[Row | str]:
        """Yield the rows, with the name of each host, if there are several, before its rows."""
        for group in self.groups:
            if group.host is not None:
                yield group.host
            yield from group.rows


def picture(jobs: object) -> Picture:
    """Return the Picture of jobs, of a result that has them, or of a dictionary with these for several hosts."""
    if isinstance(jobs, Mapping) and not _has_jobs(jobs):
        listed = [(str(host), _listed(one, f"[{str(host)!r}]")) for host, one in jobs.items()]
    else:
        listed = [("", _listed(jobs, ""))]
    every = [job for dummy, some in listed for job in some]
    times = [
        float(job[key]) for job in every for key in ("queued_at", "started_at", "ended_at") if job.get(key) is not None
    ]
    origin, last = (min(times), max(times)) if times else (0.0, 0.0)
    groups = [Group(host or None, some, [_row(job, origin, last) for job in some]) for host, some in listed]
    return Picture(groups, origin, last - origin)


def _has_jobs(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("jobs"), (list, tuple))


def _listed(jobs: object, where: str) -> list[Mapping[str, t.Any]]:
    if isinstance(jobs, Mapping) and {"failed", "skipped", "unreachable"} & jobs.keys() and "jobs" not in jobs:
        return []  # of a host on which the task did not get that far
    if _has_jobs(jobs):
        jobs = t.cast("Mapping[str, object]", jobs)["jobs"]
    if not isinstance(jobs, Iterable) or isinstance(jobs, (str, Mapping)):
        raise Refused(
            "timeline needs the jobs that async_wait returned, its result, or a dictionary with the result of each host: "
            f"got {kind(jobs)}{where and f' in {where}'}."
        )
    listed = list(jobs)
    for index, job in enumerate(listed):
        if not isinstance(job, Mapping) or job.get("state") not in LOOKS:
            raise Refused(f"timeline: {where}[{index}] is not a job that async_wait returned: got {kind(job)}.")
    return listed


def _row(job: Mapping[str, t.Any], origin: float, last: float) -> Row:
    def since(key: str) -> float | None:
        return None if job.get(key) is None else float(job[key]) - origin

    start, end = since("started_at"), since("ended_at")
    if (
        start is None
        and end is not None
        and job["state"] not in (states.SKIPPED, states.CANCELLED)
        and job.get("duration")
    ):
        start = end - float(job["duration"])
    if start is not None and end is None:
        end = last - origin
    return Row(
        name=str(job.get("name") or job.get("ansible_job_id") or "?"),
        state=job["state"],
        queued=since("queued_at") or 0.0,
        start=start,
        end=end,
    )


def text(jobs: object, width: int = 80) -> str:
    """Return a picture in characters, no line of it wider than `width`."""
    drawn = picture(jobs)
    listed, span = drawn.rows, drawn.span
    if not listed:
        return "no jobs"
    width = max(width, _MIN_WIDTH)
    named = min(_MAX_NAME, max(_cells(shorten(row.name, _MAX_NAME)) for row in listed))
    room = width - named - len(" │") - len("│ ✔ ") - len("10m00s")
    lines = [
        shorten(line, width) if isinstance(line, str) else _line(line, named, room, span) for line in drawn.lines()
    ]
    lines.append(f"{' ' * named} └{_scale(room, span)}")
    lines += _tally(listed, width)
    return "\n".join(line.rstrip() for line in lines)


def _line(row: Row, named: int, room: int, span: float) -> str:
    mark = LOOKS[row.state][0]
    took = "" if row.length is None else brief(row.length)
    return f"{_fit(row.name, named)} │{_bar(row, room, span)}│ {mark} {took}"


def _bar(row: Row, room: int, span: float) -> str:
    if row.start is None or row.end is None:
        return " " * room
    eighths = (lambda seconds: round(seconds / span * room * 8)) if span > 0 else (lambda seconds: 0)
    start, end, queued = eighths(row.start), eighths(row.end), eighths(row.queued)
    first = min(start // 8, room - 1)
    # At least a whole cell, so that short jobs are visible.
    cells, rest = divmod(max(end - first * 8, 8), 8)
    block = "█" * cells + (_EIGHTHS[rest] if rest else "")
    waited = _WAITING * (first - queued // 8)
    return f"{' ' * (first - len(waited))}{waited}{block}"[:room].ljust(room)


def _scale(room: int, span: float) -> str:
    """Return the line under the rows, with the time at its end and, if there is room, in its middle."""
    end, middle = brief(span), brief(span / 2)
    line = ["─"] * room
    line[room - len(end) :] = end
    if room >= 30:
        at = room // 2 - len(middle) // 2
        line[at : at + len(middle)] = middle
    line[0] = "0"
    return "".join(line)


def _tally(listed: list[Row], width: int) -> list[str]:
    counts = {state: sum(1 for row in listed if row.state == state) for state in LOOKS}
    lines: list[str] = []
    for state, number in counts.items():
        part = f"{LOOKS[state][0]} {number} {state.replace('_', ' ')}"
        if number and lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        elif number:
            lines.append(part)
    return lines


def brief(seconds: float) -> str:
    return f"{seconds:.2f}s" if seconds < 10 else duration(round(seconds))


def _cells(text_: str) -> int:
    """Return how many cells of a terminal a text takes: emoji and East Asian characters take two."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text_
    )


def _fit(name: str, cells: int) -> str:
    name = shorten(name, cells)
    while _cells(name) > cells:
        name = shorten(name[:-2] + "…", cells)
    return name + " " * (cells - _cells(name))


_ROW, _BAR, _LEFT, _RIGHT, _TOP = 24, 14, 190, 70, 16


def svg(jobs: object, width: int = 800) -> str:
    """Return a picture as a standalone SVG document, `width` pixels wide."""
    drawn = picture(jobs)
    lines, span = list(drawn.lines()), drawn.span
    width = max(width, _LEFT + _RIGHT + 100)
    room = width - _LEFT - _RIGHT
    height = _TOP + _ROW * len(lines) + 52
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    parts += _svg_grid(room, span, _TOP + _ROW * len(lines))
    for index, line in enumerate(lines):
        y = _TOP + _ROW * index
        parts += _svg_host(line, y) if isinstance(line, str) else _svg_row(line, y, room, span)
    parts += _svg_legend(drawn.rows, height - 14)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _svg_grid(room: int, span: float, bottom: int) -> list[str]:
    parts = []
    for quarter in range(5):
        x = _LEFT + room * quarter / 4
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="#e5e7eb"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#6b7280">{brief(span * quarter / 4)}</text>'
        )
    return parts


def _svg_host(host: str, y: int) -> list[str]:
    return [
        f'<text x="10" y="{y + _ROW / 2 + 2:.1f}" font-weight="bold" fill="#111827">{escape(shorten(host, 60))}</text>'
    ]


def _svg_row(row: Row, y: int, room: int, span: float) -> list[str]:
    middle = y + _ROW / 2 - 2
    label = f'<text x="{_LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end" fill="#111827">{escape(shorten(row.name, _MAX_NAME))}</text>'
    took = "" if row.length is None else brief(row.length)
    title = f"<title>{escape(shorten(row.name, 200))}: {row.state.replace('_', ' ')} {took}</title>"
    if row.start is None or row.end is None:
        return [
            label,
            f'<text x="{_LEFT + 4}" y="{middle + 4:.1f}" fill="#6b7280">{row.state.replace("_", " ")}</text>',
        ]
    scale = room / span if span > 0 else 0.0
    x, length = _LEFT + row.start * scale, max((row.end - row.start) * scale, 2.0)
    waited = _LEFT + row.queued * scale
    return [
        label,
        f'<line x1="{waited:.1f}" y1="{middle:.1f}" x2="{x:.1f}" y2="{middle:.1f}" stroke="#b0b7c3" stroke-dasharray="2 3"/>',
        f'<rect x="{x:.1f}" y="{middle - _BAR / 2:.1f}" width="{length:.1f}" height="{_BAR}" rx="3" '
        f"fill={quoteattr(LOOKS[row.state][1])}>{title}</rect>",
        f'<text x="{x + length + 6:.1f}" y="{middle + 4:.1f}" fill="#6b7280">{took}</text>',
    ]


def _svg_legend(listed: list[Row], y: int) -> list[str]:
    parts, x = [], _LEFT
    for state, (dummy, colour) in LOOKS.items():
        number = sum(1 for row in listed if row.state == state)
        if number:
            words = f"{number} {state.replace('_', ' ')}"
            parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" rx="2" fill="{colour}"/>')
            parts.append(f'<text x="{x + 15}" y="{y}" fill="#374151">{words}</text>')
            x += 30 + 7 * len(words)
    return parts
