# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import typing as t
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ansible_collections.background.jobs.plugins.filter.timeline import FilterModule

draw = FilterModule().filters()["timeline"]

EVIL = "</pre></script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>\" onclick='x' &lt; {{ 7 * 7 }}"
BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


def jobs(said: str = "words") -> list[dict[str, t.Any]]:
    """Jobs that hold all that a page shows, with what a host says put in wherever it can."""
    return [
        {
            "name": f"b {said}",
            "state": "succeeded",
            "attempts": 1,
            "queued_at": 0.0,
            "started_at": 1.0,
            "ended_at": 9.0,
        },
        {
            "name": "a",
            "state": "failed",
            "attempts": 3,
            "ansible_job_id": said,
            "item": {said: said},
            "msg": said,
            "depends_on": [f"b {said}", said],
            "queued_at": 0.0,
            "started_at": 9.0,
            "ended_at": 10.0,
            "failed_attempts": [{"attempt": 1, "state": said, "msg": said, "ended_at": 9.5}],
            "results": [
                {"name": said, "state": said, "duration": 1, "msg": said},
                {"module": said, "state": "skipped"},
            ],
            "result": {"stdout": f"first\n{said}", "stderr": said},
        },
        {"name": "c", "state": "running", "attempts": said, "queued_at": 0.0, "started_at": 5.0},
        {"name": "d", "state": "skipped", "msg": "its condition was false"},
    ]


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "what is open is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in ("meta", "input"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)


def test_a_page_tells_of_each_job() -> None:
    page = Page(draw(jobs(), format="html"))
    assert page.tags["table"] == 1 and page.tags["tbody"] == 4
    assert page.texts["p"][0].startswith("4 jobs, from 1970") or page.texts["p"][0] == "4 jobs"
    assert {"words", "b words"} <= {*page.texts["a"], *page.texts["p"], *page.texts["code"]}
    assert page.texts["pre"] == ["first\nwords", "words"]
    assert page.texts["li"] == ["words: words", "words: words after 1.00s: words", "words: skipped"]
    assert ("href", "#job0") in page.attributes  # the job that it depends on


def test_hosts_have_a_table_each() -> None:
    page = Page(draw({"web1": {"jobs": jobs()}, "web2": jobs(), "db1": {"failed": True, "msg": "x"}}, format="html"))
    assert page.texts["h2"] == ["web1", "web2", "db1"]
    assert page.tags["table"] == 2
    assert [value for name, value in page.attributes if name == "href"] == ["#job0", "#job4"]


def test_nothing_that_a_host_says_is_taken_for_html() -> None:
    plain = Page(draw({"words": jobs()}, format="html"))
    evil = Page(draw({EVIL: jobs(EVIL)}, format="html"))
    assert evil.tags == plain.tags
    assert Counter(name for name, dummy in evil.attributes) == Counter(name for name, dummy in plain.attributes)
    assert evil.texts["script"] == plain.texts["script"]
    assert EVIL in evil.texts["pre"] and EVIL in evil.texts["h2"]


def test_nothing_is_fetched_and_nothing_else_is_run() -> None:
    text = draw(jobs(), format="html")
    page = Page(text)
    assert not {"src", "srcset", "style", "action"} & {name for name, dummy in page.attributes}
    assert not [name for name, dummy in page.attributes if name.startswith("on")]
    assert all(str(value).startswith("#") for name, value in page.attributes if name == "href")
    assert not re.search(r"https?:|@import|url\(", text)
    policy = next(str(value) for name, value in page.attributes if name == "content" and "default-src" in str(value))
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    for part in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256("".join(page.texts[part]).encode()).digest()).decode()
        assert f"{part}-src 'sha256-{digest}'" in policy


def test_output_is_shown_by_its_end() -> None:
    long = "\n".join(str(number) for number in range(1000))
    wide = "x" * 100_000
    page = Page(draw([{**jobs()[1], "result": {"stdout": long, "stderr": wide}}], format="html"))
    assert page.texts["pre"][0] == "\n".join(str(number) for number in range(980, 1000))
    assert len(page.texts["pre"][1]) == 4000


def test_what_would_act_on_a_terminal_is_not_there() -> None:
    assert not {"\x1b", "\u202e", "\x07"} & set(draw({"h\x1b": jobs("a\x1b[2J\u202eb\x07")}, format="html"))


def test_no_jobs() -> None:
    assert "No jobs." in draw([], format="html")
    assert Page(draw({}, format="html")).tags["table"] == 0


# What somebody does with a page, and what is there then.
USE = """
const seen = {};
const shown = () => all("tbody").filter((job) => !job.hidden).map((job) => job.rows[0].cells[0].textContent);
const order = (by) => { document.querySelector("button[data-by='" + by + "']").click(); return shown(); };
seen.title = document.title;
seen.images = all("img").length;
seen.first = shown();
seen.name = order(0);
seen.down = order(0);
seen.state = order(1);
seen.start = order(3);
const find = document.getElementById("find");
find.value = "WORDS failed?";
find.dispatchEvent(new Event("input", {bubbles: true}));
seen.none = [shown(), document.getElementById("none").hidden];
find.value = "B";
find.dispatchEvent(new Event("input", {bubbles: true}));
seen.found = shown();
find.value = "";
document.querySelector("input[value=failed]").click();
seen.states = shown();
const button = document.querySelector("td.job button");
button.click();
seen.open = [button.getAttribute("aria-expanded"), document.getElementById(button.getAttribute("aria-controls")).hidden];
const paper = () => getComputedStyle(document.body).backgroundColor;
const before = paper();
document.getElementById("theme").click();
seen.turned = before !== paper();
seen.bar = getComputedStyle(document.querySelector("#job0 rect.ran")).fill;
document.body.dataset.seen = JSON.stringify(seen);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: nobody has looked whether the page can be used")
def test_a_browser_sorts_filters_and_unfolds(tmp_path: Path) -> None:
    text = draw(jobs(EVIL), format="html")
    script = "".join(Page(text).texts["script"])
    used = script + USE
    old, new = (base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in (script, used))
    (tmp_path / "page.html").write_text(text.replace(script, used).replace(old, new))
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom")
    command = [str(CHROMIUM), *options, f"file://{tmp_path}/page.html"]
    # Its socket is in TMPDIR, which is shorter than a folder of pytest, as paths of sockets have to be.
    env = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    found = Page(done.stdout)
    seen = json.loads(next(str(value) for name, value in found.attributes if name == "data-seen"))

    b = f"b {EVIL}"
    assert seen == {
        "title": "Background jobs",
        "images": 0,
        "first": [b, "a", "c", "d"],
        "name": ["a", b, "c", "d"],
        "down": ["d", "c", b, "a"],
        "state": ["a", "c", b, "d"],
        "start": ["d", b, "c", "a"],
        "none": [[], False],
        "found": [b],
        "states": ["d", b, "c"],
        "open": ["true", False],
        "turned": True,
        "bar": "rgb(58, 157, 93)",
    }
