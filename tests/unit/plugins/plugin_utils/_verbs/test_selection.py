# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import selection

JID = "j123456789012.345"
CORE = {
    "ansible_job_id": JID,
    "started": True,
    "finished": False,
    "results_file": f"/root/.ansible_async/{JID}",
    "changed": True,
}
JOB = {"name": "n", "ansible_job_id": "j1.0", "results_file": "/a/j1.0", "state": "queued"}


def jids(value: object) -> list[str | None]:
    return [target.jid for target in selection.select(value)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (JID, [JID]),
        ("123456.789", ["123456.789"]),
        ([], []),
        (CORE, [JID]),
        (JOB, ["j1.0"]),
        ({"batch_id": "b1", "changed": True, "jobs": [JOB]}, ["j1.0"]),
        ({"ansible_job_id": "j1.0", "results_file": "/a/j1.0", "changed": True, "jobs": [JOB]}, ["j1.0"]),
        ({"changed": True, "jobs": []}, []),
        ({"changed": True, "results": [CORE, {"skipped": True, "item": 2}]}, [JID, None]),
        ({"changed": False, "results": [], "skipped": True}, []),
        ([[JID], [["j9.9", CORE]], ({"results": [{"jobs": [JOB]}]},)], [JID, "j9.9", "j1.0"]),
        ([JID, JID, "j2.2", JID], [JID, "j2.2"]),
        # What a module returned under a name of ours stays what it is: part of a result.
        ({**CORE, "results": ["Installed: x"]}, [JID]),
        ({**CORE, "jobs": ["nightly"]}, [JID]),
    ],
)
def test_all_forms_of_jobs(value: object, expected: list[str | None]) -> None:
    assert jids(value) == expected


def test_where_the_record_is_comes_from_the_results_file() -> None:
    (target,) = selection.select(CORE)
    assert (target.directory, target.known) == ("/root/.ansible_async", None)
    (bare,) = selection.select(JID)
    assert bare.directory is None


@pytest.mark.parametrize("path", ["relative/" + JID, "/elsewhere/other", None, 3])
def test_a_results_file_that_does_not_fit_is_not_used(path: object) -> None:
    assert selection.select({**CORE, "results_file": path})[0].directory is None


def test_a_job_that_is_given_twice_is_waited_for_once_where_its_record_is() -> None:
    (target,) = selection.select([JID, CORE])
    assert target.directory == "/root/.ansible_async"


def test_items_and_names_of_a_loop() -> None:
    targets = selection.select(
        {
            "results": [
                {**CORE, "item": "a", "ansible_loop_var": "item"},
                {**CORE, "ansible_job_id": "j2.2", "it": 1, "ansible_loop_var": "it"},
            ]
        }
    )
    assert [(target.item, target.name) for target in targets] == [("a", "item=a"), (1, "it=1")]
    assert selection.select(CORE)[0].item is ABSENT


@pytest.mark.parametrize(
    ("value", "state", "words"),
    [
        ({"skipped": True, "skip_reason": "Conditional result was False", "changed": False}, "skipped", "Conditional"),
        ({"skipped": True, "changed": False}, "skipped", "skipped"),
        ({"failed": True, "msg": "no such file"}, "failed", "it was not launched: no such file"),
        ({"unreachable": True, "msg": "ssh"}, "failed", "it was not launched: ssh"),
    ],
)
def test_what_was_never_launched_is_reported(value: dict[str, t.Any], state: str, words: str) -> None:
    (target,) = selection.select(value)
    assert target.jid is None and target.known is not None
    assert (target.known["state"], target.known["finished"]) == (state, True)
    assert words in target.known["msg"]


def test_what_was_waited_for_already_is_not_asked_for_again() -> None:
    done = {
        "name": "n",
        "ansible_job_id": "j1.0",
        "state": "succeeded",
        "finished": True,
        "changed": True,
        "result": {"rc": 0},
    }
    assert selection.select({"jobs": [done], "counts": {}})[0].known == done
    polled = {**CORE, "finished": True, "rc": 1, "failed": True}
    (target,) = selection.select(polled)
    assert target.known is not None and target.known["state"] == "failed"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("../../etc/passwd", ["jobs is not a job", "'../../etc/passwd'", "job id"]),
        ("nightly", ["For the names"]),
        (["j1.2", "j1.2\n/x"], ["jobs[1]"]),
        ({"ansible_job_id": "../x"}, ["jobs.ansible_job_id"]),
        ([None], ["jobs[0]", "nothing"]),
        ([[1.5]], ["jobs[0][0]", "a number", "quotes"]),
        (True, ["a boolean"]),
        ({"stdout": "x"}, ["without 'ansible_job_id'", "its keys: stdout"]),
        ({"results": [{"rc": 0}]}, ["jobs.results[0]"]),
    ],
)
def test_what_is_not_a_job_is_named_with_its_place(value: object, words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        selection.select(value)
    assert all(word in str(caught.value) for word in words), str(caught.value)
