# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import os

import pytest

from ansible_collections.background.jobs.plugins.module_utils._supervisor import recipes

ABSENT = {"changed": False, "stat": {"exists": False}}
FOLDER = {"changed": False, "stat": {"exists": True, "isdir": True}}
SAME = {"changed": False, "stat": {"exists": True, "isdir": False, "checksum": "new"}}
OTHER = {"changed": False, "stat": {"exists": True, "isdir": False, "checksum": "old"}}
WRITTEN = {"changed": True, "dest": "/d", "checksum": "module's"}
KEPT = {"changed": False, "path": "/d", "state": "file"}
BROKEN = {"failed": True, "changed": False, "msg": "no"}

COMMON = {"check_mode": False, "no_log": False, "most_shown": 100}
PLACE = {"path": "/d", "stat": "stat", "copy": "copy", "sha1": "new", "file": "file"}
DIFFERING = dict(PLACE, peek="peek", slurp="slurp", after={"after": "b", "after_header": "/src"})
INTO = {"path": "/d/x", "stat": "stat x", "copy": "copy x"}


def run(spec, **results):
    """Return (the result, the calls that were made) of a recipe whose calls give these results, by name."""
    recipe, made = recipes.begin(dict(COMMON, **spec)), []
    try:
        call = next(recipe)
        while True:
            made.append(call)
            call = recipe.send(results[call.replace(" ", "_")])
    except StopIteration as stop:
        return stop.value, made


def copy(*files, **spec):
    return dict({"kind": "copy", "files": list(files), "then": [], "otherwise": {"dest": "/d", "src": "/s"}}, **spec)


CHANGED = {"diff": [], "changed": True, "dest": "/d", "checksum": "module's"}
UNCHANGED = {"diff": [], "changed": False, "path": "/d", "dest": "/d", "state": "file", "checksum": "new"}


@pytest.mark.parametrize(
    ("spec", "results", "expected", "calls"),
    [
        (copy(PLACE), {"stat": ABSENT, "copy": WRITTEN}, CHANGED, ["stat", "copy"]),
        (copy(PLACE), {"stat": OTHER, "copy": WRITTEN}, CHANGED, ["stat", "copy"]),
        (copy(PLACE), {"stat": SAME, "file": KEPT}, UNCHANGED, ["stat", "file"]),
        # a directory without a place in it: the module says what is wrong
        (copy(PLACE), {"stat": FOLDER, "copy": BROKEN}, dict(BROKEN, diff=[], checksum="new"), ["stat", "copy"]),
        (copy(dict(PLACE, into=INTO)), {"stat": ABSENT, "copy": WRITTEN}, CHANGED, ["stat", "copy"]),
        (
            copy(dict(PLACE, into=INTO)),
            {"stat": FOLDER, "stat_x": OTHER, "copy_x": WRITTEN},
            CHANGED,
            ["stat", "stat x", "copy x"],
        ),
        (
            copy(dict(PLACE, into=INTO)),
            {"stat": FOLDER, "stat_x": SAME, "file": KEPT},
            UNCHANGED,
            ["stat", "stat x", "file"],
        ),
        (copy(dict(PLACE, into={"result": BROKEN})), {"stat": FOLDER}, BROKEN, ["stat"]),
        (
            copy({key: PLACE[key] for key in PLACE if key != "file"}),
            {"stat": OTHER},
            {"dest": "/d", "src": "/s", "changed": False},
            ["stat"],
        ),
        (
            copy({key: PLACE[key] for key in PLACE if key != "file"}),
            {"stat": ABSENT, "copy": WRITTEN},
            CHANGED,
            ["stat", "copy"],
        ),
        (copy(PLACE, check_mode=True), {"stat": OTHER}, {"diff": [], "changed": True}, ["stat"]),
        (copy(PLACE, check_mode=True), {"stat": SAME, "file": KEPT}, UNCHANGED, ["stat", "file"]),
        (
            copy(PLACE, PLACE),
            {"stat": SAME, "file": KEPT},
            {"dest": "/d", "src": "/s", "changed": False},
            ["stat", "file"] * 2,
        ),
        (
            copy(PLACE, PLACE, then=["link"]),
            {"stat": SAME, "file": KEPT, "link": {"changed": True}},
            {"dest": "/d", "src": "/s", "changed": True},
            ["stat", "file", "stat", "file", "link"],
        ),
        (
            copy(PLACE, PLACE, then=["link"]),
            {"stat": SAME, "file": BROKEN},
            dict(BROKEN, diff=[], checksum="new"),
            ["stat", "file"],
        ),
        (copy(then=["link", "never"]), {"link": BROKEN}, BROKEN, ["link"]),
        (copy(then=["link"]), {"link": KEPT}, {"dest": "/d", "src": "/s", "changed": False}, ["link"]),
        (
            copy(
                {key: PLACE[key] for key in PLACE if key != "file"},
                dict(PLACE, stat="stat 2", copy="copy 2"),
                then=[{"call": "folder", "unless": [0]}, {"call": "folder 2", "unless": [0, 1]}],
            ),
            {"stat": OTHER, "stat_2": OTHER, "copy_2": WRITTEN, "folder": KEPT},
            {"dest": "/d", "src": "/s", "changed": True},
            ["stat", "stat 2", "copy 2", "folder"],
        ),
        # core's own oddity: with one file, the result is that of the last module
        (
            copy(PLACE, then=["folder"]),
            {"stat": OTHER, "copy": WRITTEN, "folder": {"changed": False, "path": "/f"}},
            {"changed": False, "path": "/f", "dest": "/f"},
            ["stat", "copy", "folder"],
        ),
    ],
)
def test_copy(spec, results, expected, calls):
    assert run(spec, **results) == (expected, calls)


@pytest.mark.parametrize(
    "failure", [{"failed": True, "msg": "no stat"}, {"failed": True, "module_stderr": "no stat"}, {}]
)
def test_what_cannot_be_looked_at_fails_the_task(failure):
    result, dummy = run(copy(PLACE), stat=failure)
    said = "no stat" if failure else "None"
    assert result == {
        "failed": True,
        "changed": False,
        "msg": "Task failed: Failed to get information on remote file (/d): %s" % said,
    }


TEXT = {"content": base64.b64encode(b"a\xff").decode(), "encoding": "base64"}
AFTER = {"after": "b", "after_header": "/src"}


@pytest.mark.parametrize(
    ("peek", "shown", "calls"),
    [
        ({"state": "absent"}, dict(AFTER, before=""), ["peek"]),
        ({}, dict(AFTER, before=""), ["peek"]),
        ({"state": "file", "appears_binary": True}, dict(AFTER, dst_binary=1), ["peek"]),
        ({"state": "file", "size": 101}, dict(AFTER, dst_larger=100), ["peek"]),
        ({"state": "file", "size": 100}, dict(AFTER, before="a\ufffd", before_header="/d"), ["peek", "slurp"]),
        ({"failed": True, "msg": "no"}, {}, ["peek"]),
        ({"rc": 1}, {}, ["peek"]),
    ],
)
def test_a_difference(peek, shown, calls):
    result, made = run(copy(DIFFERING), stat=OTHER, peek=peek, slurp=TEXT, copy=WRITTEN)
    assert (result["diff"], made) == ([shown], ["stat", *calls, "copy"])
    checked, made = run(copy(DIFFERING, check_mode=True), stat=OTHER, peek=peek, slurp=TEXT)
    assert (checked, made) == ({"diff": [shown], "changed": True}, ["stat", *calls])


def test_a_difference_shows_no_secret_and_all_where_there_is_no_limit():
    peek = {"state": "file", "size": 10**9}
    spec = copy(DIFFERING, no_log=True, most_shown=0)
    result, dummy = run(spec, stat=OTHER, peek=peek, slurp=TEXT, copy=WRITTEN)
    assert result["diff"][0]["before"] == ""
    spec["no_log"] = False
    result, dummy = run(spec, stat=OTHER, peek=peek, slurp=TEXT, copy=WRITTEN)
    assert result["diff"][0]["before"] == "a\ufffd"


def test_the_difference_that_a_module_returns_counts():
    result, dummy = run(copy(DIFFERING), stat=SAME, file=dict(KEPT, diff={"before": {}}))
    assert result["diff"] == {"before": {}}


@pytest.mark.parametrize(
    ("place", "results", "expected", "calls"),
    [
        (PLACE, {"stat": ABSENT, "copy": WRITTEN}, WRITTEN, ["stat", "copy"]),
        (PLACE, {"stat": SAME, "file": KEPT}, KEPT, ["stat", "file"]),
        (
            DIFFERING,
            {"stat": OTHER, "peek": {"state": "absent"}, "copy": WRITTEN},
            dict(WRITTEN, diff=dict(AFTER, before="")),
            ["stat", "peek", "copy"],
        ),
        (DIFFERING, {"stat": OTHER, "peek": BROKEN, "copy": WRITTEN}, WRITTEN, ["stat", "peek", "copy"]),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_assemble(place, results, expected, calls, check_mode):
    assert run(dict(place, kind="assemble", check_mode=check_mode), **results) == (expected, calls)


CREATED = {"call": "creates", "there": True, "result": {"skipped": True, "msg": "is there"}}
REMOVED = {"call": "removes", "there": False, "result": {"skipped": True, "msg": "is not there"}}
YES, NO = {"rc": 0, "stdout": "", "stderr": ""}, {"rc": 1, "stdout": "", "stderr": ""}


@pytest.mark.parametrize(
    ("unless", "results", "expected", "calls"),
    [
        ([], {"stat": FOLDER, "run": WRITTEN}, WRITTEN, ["stat", "run"]),
        ([], {"stat": ABSENT}, {"failed": True, "msg": "dest 'HOME/x' must"}, ["stat"]),
        ([], {"stat": OTHER}, {"failed": True, "msg": "dest 'HOME/x' must"}, ["stat"]),
        ([CREATED], {"creates": YES}, CREATED["result"], ["creates"]),
        ([CREATED], {"creates": NO, "stat": FOLDER, "run": BROKEN}, BROKEN, ["creates", "stat", "run"]),
    ],
)
def test_unarchive(unless, results, expected, calls):
    missing = {"failed": True, "msg": "dest '~/x' must"}
    spec = {"kind": "unarchive", "unless": unless, "path": "~/x", "stat": "stat", "missing": missing, "run": "run"}
    if "HOME" in expected.get("msg", ""):
        expected = dict(expected, msg=expected["msg"].replace("HOME", os.path.expanduser("~")))
    assert run(spec, **results) == (expected, calls)


@pytest.mark.parametrize(
    ("unless", "results", "expected", "calls"),
    [
        (
            [],
            {"run": {"rc": 0, "stdout": "a\nb\n", "stderr": ""}},
            {
                "rc": 0,
                "stdout": "a\nb\n",
                "stdout_lines": ["a", "b"],
                "stderr": "",
                "stderr_lines": [],
                "changed": True,
            },
            ["run"],
        ),
        (
            [],
            {"run": {"rc": 3, "stdout": "", "stderr": "e"}},
            {
                "rc": 3,
                "stdout": "",
                "stdout_lines": [],
                "stderr": "e",
                "stderr_lines": ["e"],
                "changed": True,
                "failed": True,
                "msg": "non-zero return code",
            },
            ["run"],
        ),
        ([], {"run": BROKEN}, BROKEN, ["run"]),
        ([CREATED, REMOVED], {"creates": YES}, CREATED["result"], ["creates"]),
        ([CREATED, REMOVED], {"creates": NO, "removes": NO}, REMOVED["result"], ["creates", "removes"]),
        ([CREATED, REMOVED], {"creates": NO, "removes": YES, "run": BROKEN}, BROKEN, ["creates", "removes", "run"]),
    ],
)
def test_script(unless, results, expected, calls):
    assert run({"kind": "script", "unless": unless, "run": "run"}, **results) == (expected, calls)


def test_a_script_in_check_mode():
    spec = {"kind": "script", "unless": [CREATED], "check_mode": True, "checked": {"changed": True}}
    assert run(spec, creates=NO) == ({"changed": True}, ["creates"])
    assert run(spec, creates=YES) == (CREATED["result"], ["creates"])
    assert run(dict(spec, unless=[])) == ({"changed": True}, [])


def test_home_directories_are_found_on_the_host():
    home = os.path.expanduser("~")
    place = dict(DIFFERING, path="~/d", after={"after": "b", "after_header": "~/d"})
    result, dummy = run(copy(place), stat=OTHER, peek={"state": "file", "size": 1}, slurp=TEXT, copy=WRITTEN)
    assert (result["diff"][0]["before_header"], result["diff"][0]["after_header"]) == (home + "/d", home + "/d")
    result, dummy = run(copy(PLACE, PLACE, otherwise={"dest": "~/d", "src": "~/s"}), stat=SAME, file=KEPT)
    assert (result["dest"], result["src"]) == (home + "/d", "~/s")


def test_what_a_command_line_printed():
    assert recipes.command_result(b'{"a": 1}\xff', b"e", 2) == {"rc": 2, "stdout": '{"a": 1}\ufffd', "stderr": "e"}


def test_a_recipe_can_be_ended():
    recipe = recipes.begin(dict(COMMON, **copy(PLACE)))
    next(recipe)
    recipe.close()


@pytest.mark.parametrize(
    ("spec", "results", "told"),
    [
        (copy(PLACE, PLACE, invocation="of the task"), {"stat": SAME, "file": KEPT}, "of the task"),
        (copy(PLACE, check_mode=True, invocation="of the task"), {"stat": ABSENT}, "of the task"),
        (copy(PLACE, invocation="of the task"), {"stat": SAME, "file": dict(KEPT, invocation="of file")}, "of file"),
        (copy(PLACE), {"stat": SAME, "file": KEPT}, None),
    ],
)
def test_copy_tells_its_invocation_where_no_module_does(spec, results, told):
    assert run(spec, **results)[0].get("invocation") == told
