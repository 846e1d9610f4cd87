# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from xml.etree import ElementTree

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.background.jobs.plugins.filter.timeline import FilterModule

draw = FilterModule().filters()["timeline"]

JOBS: list[dict[str, t.Any]] = [
    {"name": "first", "state": "succeeded", "queued_at": 100.0, "started_at": 100.0, "ended_at": 105.0},
    {"name": "second", "state": "failed", "queued_at": 100.0, "started_at": 105.0, "ended_at": 110.0},
    {"name": "never", "state": "skipped", "queued_at": 100.0, "ended_at": 100.0},
    {"name": "<&> 'x' 🎉", "state": "running", "queued_at": 100.0, "started_at": 109.0},
]


def test_a_row_a_job_in_time() -> None:
    lines = draw(JOBS, width=60).splitlines()
    bars = [line.split("│")[1] for line in lines[:4]]
    room = len(bars[0])
    assert bars[0] == "█" * (room // 2) + " " * (room - room // 2)
    assert bars[1] == "·" * (room // 2) + "█" * (room - room // 2)
    assert bars[2] == " " * room
    assert bars[3].endswith("█") and bars[3].startswith("·")
    assert [line.split("│")[2].split() for line in lines[:4]] == [["✔", "5.00s"], ["✘", "5.00s"], ["-"], ["▶", "1.00s"]]
    assert lines[4].strip().startswith("└0") and lines[4].endswith("10s")
    assert lines[5] == "▶ 1 running  ✔ 1 succeeded  ✘ 1 failed  - 1 skipped"


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_is_as_wide_as_asked(width: int) -> None:
    picture = draw([*JOBS, {**JOBS[0], "name": "n" * 300}], width=width).splitlines()
    assert max(len(line) for line in picture[:-1]) <= width
    assert len({line.index("│") for line in picture[:3]}) == 1


def test_it_takes_the_result_of_a_wait_too() -> None:
    assert draw({"jobs": JOBS, "counts": {}}) == draw(JOBS)


def test_no_jobs_and_no_times() -> None:
    assert draw([]) == "no jobs"
    assert "queued" in draw([{"name": "a", "state": "queued"}])
    assert "█" in draw([{**JOBS[0], "ended_at": 100.0}])
    # Jobs of core's own async: nobody knows when they started.
    assert "succeeded" in draw([{"name": "a", "state": "succeeded", "ended_at": 5.0}])


def test_svg_is_well_formed_and_has_a_bar_a_job_that_ran() -> None:
    root = ElementTree.fromstring(draw(JOBS, format="svg", width=900))
    assert root.get("width") == "900"
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["first: succeeded 5.00s", "second: failed 5.00s", "<&> 'x' 🎉: running 1.00s"]
    bars = [
        element
        for element in root.iter("{http://www.w3.org/2000/svg}rect")
        if element.find("{http://www.w3.org/2000/svg}title") is not None
    ]
    first, second = (float(rect.get("x") or 0) for rect in bars[:2])
    assert second - first == pytest.approx(float(bars[0].get("width") or 0), abs=0.2)


@pytest.mark.parametrize("jobs", ["text", 3, None, [{"name": "a"}], ["j1.2"], [{"name": "a", "state": "fine"}]])
def test_what_is_not_jobs_is_refused(jobs: object) -> None:
    with pytest.raises(AnsibleFilterError, match="timeline"):
        draw(jobs)


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="text, svg or html"):
        draw(JOBS, format="png")


HOSTS = {
    "web1": {"jobs": JOBS[:1]},
    "web2": [{**JOBS[1], "queued_at": 110.0, "started_at": 110.0, "ended_at": 120.0}],
    "db1": {"unreachable": True, "msg": "no route to host"},
}


def test_several_hosts_stand_in_groups_on_one_scale() -> None:
    lines = draw(HOSTS, width=60).splitlines()
    assert [line.split("│")[0].strip() for line in lines[:5]] == ["web1", "first", "web2", "second", "db1"]
    first, second = (lines[index].split("│")[1] for index in (1, 3))
    room = len(first)
    assert len(first.rstrip()) == room // 4 + 1 and second == " " * (room // 2) + "█" * (room - room // 2)
    assert lines[-1] == "✔ 1 succeeded  ✘ 1 failed"

    root = ElementTree.fromstring(draw(HOSTS, format="svg"))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [one for one in texts if one in (*HOSTS, "first", "second")] == ["web1", "first", "web2", "second", "db1"]


@pytest.mark.parametrize("hosts", [{"web1": "j1.2"}, {"web1": [{"state": "fine"}]}, {"web1": {"rc": 0}}])
def test_what_is_not_jobs_of_a_host_is_refused_with_its_name(hosts: object) -> None:
    with pytest.raises(AnsibleFilterError, match="web1"):
        draw(hosts)


def test_times_that_no_clock_has_are_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="cannot be drawn"):
        draw([{**JOBS[0], "ended_at": float("inf")}])


def test_what_would_act_on_a_terminal_is_not_drawn() -> None:
    jobs = [{**JOBS[0], "name": "a\x1b[2J\u202eb\x07"}]
    for drawn in (draw(jobs), draw(jobs, format="svg")):
        assert not {"\x1b", "\u202e", "\x07"} & set(drawn)
    ElementTree.fromstring(draw(jobs, format="svg"))
