# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing, shared
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import launching


@pytest.mark.parametrize(
    ("hosts", "forks", "is_said"), [(6, 5, True), (5, 5, False), (1, 5, False), (6, None, False), (None, 5, False)]
)
def test_more_hosts_than_forks_wait_for_each_other(hosts: t.Any, forks: t.Any, is_said: bool) -> None:
    names = None if hosts is None else [f"host{number}" for number in range(hosts)]
    said = launching.crowded({"ansible_play_batch": names, "ansible_forks": forks})
    assert bool(said) is is_said
    if said:
        assert said[0].startswith("There are 6 hosts and 5 forks")


class Remote:
    """A host, as far as it is sent plans: what it keeps, what it is told to answer beside that, and what it was brought."""

    def __init__(self, *answers: dict[str, t.Any], keeps: t.Iterable[str] = ()) -> None:
        self.answers = list(answers)
        self.noted = set(keeps)
        self.brought: list[list[str]] = []

    def keeps(self) -> set[str]:
        return set(self.noted)

    def note_kept(self, hashes: t.Collection[str], before: t.Collection[str]) -> None:
        self.noted = {*hashes, *before}

    def send(self, call: t.Callable[[], dict[str, t.Any]], patience: float) -> tuple[dict[str, t.Any], bool]:
        return call(), True

    def execute(self, **arguments: t.Any) -> dict[str, t.Any]:
        plan = packing.unpack(arguments["_plan"])
        self.brought.append(sorted(plan["shared"]))
        return {"async_dir": "/d", **self.answers.pop(0)}


def plan() -> dict[str, t.Any]:
    return {
        "batch_id": "b1",
        "jobs": [{}],
        "payloads": {"p": {"tail": "one" * 9999}},
        "evaluator": "two" * 9999,
    }


HASHES = sorted(shared.take_out(plan()))


def send(remote: Remote) -> dict[str, t.Any]:
    return launching._send(t.cast("t.Any", remote), plan(), singleton=None, request=None)[0]


def test_what_a_host_keeps_is_not_sent_again() -> None:
    remote = Remote({"pid": 1, "shared": HASHES}, {"pid": 2, "shared": HASHES})
    send(remote)
    send(remote)
    assert remote.brought == [HASHES, []]


def test_what_is_missing_is_sent_again_with_all_else() -> None:
    remote = Remote({"missing": HASHES[:1]}, {"pid": 1, "shared": HASHES[1:]}, keeps=[*HASHES, "other"])
    assert send(remote)["pid"] == 1
    assert remote.brought == [[], HASHES]
    assert remote.noted == set(HASHES[1:]), "what it did not keep is sent with the next launch"


def test_a_host_that_keeps_nothing_any_more_is_not_asked_for_it_again() -> None:
    remote = Remote({"missing": HASHES[:1]}, {"pid": 1}, {"pid": 2}, keeps=HASHES)
    send(remote)
    send(remote)
    assert remote.brought == [[], HASHES, HASHES], "the second launch is one call"


def test_a_host_keeps_what_it_was_sent_and_nothing_else() -> None:
    remote = Remote({"pid": 1, "shared": [*HASHES, "f" * 64]})
    send(remote)
    assert remote.noted == set(HASHES)


def test_a_host_that_misses_what_it_was_sent_is_not_believed() -> None:
    for keeps in ((), HASHES):
        remote = Remote(*[{"missing": HASHES}] * 2, keeps=keeps)
        with pytest.raises(launching.LaunchFailed, match="it lacks what it was sent"):
            send(remote)
        assert remote.brought[-1] == HASHES
