# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A picture of who ran when."""

from __future__ import annotations

DOCUMENTATION = r"""
name: timeline
short_description: Draw which background job ran when
version_added: 0.1.0
author:
  - The background.jobs authors (@background-jobs)
description:
  - Draws one row for each job, with time running from left to right, in characters, as SVG, or as an HTML page.
  - Dots before a bar show the time that a job was queued.
  - The page is self-contained. Its rows can be sorted and filtered, and each unfolds to show why a job did not succeed, what it depends on,
    its failed attempts, the tasks of a block, and the last lines that were printed. Anything that comes from a host is shown as text.
  - Jobs of several hosts are grouped by host, on one scale. Their times are by each host's own clock.
positional: width
options:
  _input:
    description:
      - The jobs that M(background.jobs.async_wait) returned, or its whole result.
      - For several hosts, a dictionary with either of these for each host. A result without jobs, because the task failed, gives a host without rows.
    type: raw
    required: true
  width:
    description:
      - The width of the picture, in characters, or in pixels for SVG. The defaults are V(80) and V(800).
      - A page is as wide as its window.
    type: int
  format:
    description: V(text) for characters, V(svg) for an SVG document, V(html) for an HTML document.
    type: str
    choices: [text, svg, html]
    default: text
"""

EXAMPLES = r"""
- name: Show which job ran when
  ansible.builtin.debug:
    msg: "{{ (done.jobs | background.jobs.timeline).splitlines() }}"

# fetch a.tar   │██████████████▌                                 │ ✔ 2.91s
# fetch b.tar   │████████▊                                       │ ✔ 1.75s
# fetch c.tar   │········█████████████████████████▏              │ ✔ 5.02s
# build         │··············██████████████████████████████████│ ✘ 6.80s
#               └0───────────────────────4.86s──────────────9.71s
# ✔ 3 succeeded  ✘ 1 failed

- name: Save the timeline as a picture
  ansible.builtin.copy:
    content: "{{ done | background.jobs.timeline(format='svg', width=1000) }}"
    dest: timeline.svg
    mode: "0644"
  delegate_to: localhost

- name: Save a page with the jobs of all hosts
  ansible.builtin.copy:
    content: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'done'))) | background.jobs.timeline(format='html') }}"
    dest: timeline.html
    mode: "0644"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
_value:
  description: The picture.
  type: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, nearest
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import timeline as _timeline
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import timeline_html


def timeline(jobs: object, width: int | None = None, format: str = "text") -> str:
    draw: dict[str, t.Callable[[], str]] = {
        "text": lambda: _timeline.text(jobs, int(width or 80)),
        "svg": lambda: _timeline.svg(jobs, int(width or 800)),
        "html": lambda: timeline_html.page(jobs),
    }
    if format not in draw:
        raise AnsibleFilterError(f"timeline: format must be text, svg or html: got {format!r}.{nearest(format, draw)}")
    try:
        return draw[format]()
    except (Refused, TypeError, ValueError, OverflowError) as exc:
        raise AnsibleFilterError(f"timeline cannot be drawn: {exc}") from exc


class FilterModule:
    """The filters of this collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"timeline": timeline}
