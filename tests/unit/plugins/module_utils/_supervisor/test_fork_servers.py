# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_client, fork_servers


class FakeTemplate:
    """Stands for a template process."""

    def __init__(self, payload, environment, directory, label, source, *, becoming=None, zygote=None):
        self.label = label
        self.payload, self.source = payload, source
        self.patience = None
        self.closed = False
        self.ended = False

    def close(self):
        self.closed = True

    @staticmethod
    def is_awaited_from(zygote):
        return False

    def has_ended(self):
        return self.ended

    def reap(self, patience):
        assert self.closed and not self.ended


def job(*payloads):
    calls = [{"module": "module of " + payload, "payload": payload, "params": "{}"} for payload in payloads]
    return {"body": [{"environment": {}, "calls": [call]} for call in calls]}


class Place:
    def __init__(self, *jobs):
        self.jobs = jobs
        self.watched = []
        plan = {"batch_id": "b1", "payloads": {"a": {}, "b": {}}, "jobs": jobs}
        sources = {"template": {"loader": "", "parts": {}}, "capture": ""}
        self.pool = fork_servers.ForkServers(
            plan, "/run", sources, {}, watch=self.watched.append, unwatch=self.watched.remove
        )

    def get(self, number):
        """Return the templates of a job."""
        return [self.pool.get(environment, call) for environment, call in fork_servers.calls(self.jobs[number]["body"])]

    def labels(self):
        return [template.label for template in self.watched]


@pytest.fixture
def place(monkeypatch):
    monkeypatch.setattr(fork_client, "Template", FakeTemplate)
    return Place


def test_what_runs_the_same_is_one_template_that_goes_with_its_last_job(place):
    here = place(job("a"), job("a", "b"))
    assert here.get(0) == here.get(1)[:1]
    assert here.labels() == ["b1 module of a", "b1 module of b"]
    here.pool.release(here.jobs[1])
    assert here.labels() == ["b1 module of a"]
    here.pool.release(here.jobs[0])
    assert here.labels() == []


def test_the_one_after_those_in_use_is_prepared_once_and_where_it_is_needed(place):
    here = place(job("a"), job("b"))
    here.pool.prepare()
    here.pool.prepare()
    assert here.labels() == ["b1 module of a"]
    here.pool.release(here.jobs[1])
    (call,) = fork_servers.calls(here.jobs[0]["body"])
    here.pool.took(*call)
    here.pool.prepare()
    assert here.labels() == ["b1 module of a"]


def test_a_template_that_is_gone_is_replaced(place):
    here = place(job("a"))
    (first,) = here.get(0)
    here.pool.drop(first)
    assert first.closed
    assert here.get(0) != [first]
    assert len(here.watched) == 1


def test_the_end_of_a_template_that_was_let_go_is_no_news(place):
    here = place(job("a", "b"))
    first, second = here.get(0)
    here.pool.release(here.jobs[0])
    here.pool.drop(second)
    assert first.closed and second.closed
    here.pool.close()


def test_a_template_that_was_let_go_is_forgotten_as_soon_as_it_has_ended(place):
    here = place(job("a"), job("b"))
    (first,), (second,) = here.get(0), here.get(1)
    here.pool.release(here.jobs[0])
    first.ended = True
    here.pool.reap()
    here.pool.release(here.jobs[1])
    here.pool.close()  # waits for the second one only
    assert second.closed


def scripted(*payloads, **environment):
    """Return a job with a script; the last of its tasks has an environment that only the host knows."""
    calls = [{"module": "module of " + payload, "payload": payload, "params": "{}"} for payload in payloads]
    body = [{"kind": "task", "turns": [{"environment": {}, "calls": [call]}]} for call in calls]
    body[-1].update(environment)
    return {
        "body": [],
        "script": {"token": "t", "values": [], "body": [{"kind": "block", "block": body}]},
        "calls": calls,
    }


def test_templates_are_known_from_scripts_and_go_with_the_last_job(place):
    one, two = scripted("a"), job("a")
    here = place(one, two)
    here.pool.get({}, one["calls"][0])
    one["script"] = None  # it has begun
    here.pool.took({}, one["calls"][0], one)
    here.pool.release(one)
    assert here.labels() == ["b1 module of a"]
    here.pool.release(two)
    assert here.labels() == []


def test_the_module_after_those_in_use_is_read_in_for_scripts_too(place):
    one = scripted("a", "b")
    here = place(one)
    here.pool.get({}, one["calls"][0])
    here.pool.took({}, one["calls"][0], one)
    here.pool.prepare()
    assert here.labels() == ["b1 module of a", "b1 module of b"]


def test_templates_for_environments_that_only_the_host_knows_go_with_their_jobs(place):
    one, two = scripted("a", environment=[{"PATH": {"$template": "{{ x }}"}}]), scripted("b")
    here = place(one, two)
    for number in range(2):
        here.pool.get({"PATH": "/x"}, one["calls"][0])
        here.pool.took({"PATH": "/x"}, one["calls"][0], (one, two)[number])
    assert here.labels() == ["b1 module of a"]
    here.pool.release(one)
    assert here.labels() == ["b1 module of a"]
    here.pool.release(two)
    assert here.labels() == []


def test_what_is_compiled_is_not_for_other_users(monkeypatch):
    monkeypatch.setattr(fork_client, "Template", FakeTemplate)
    own = {"module": "m", "payload": "a", "params": "{}"}
    calls = [own, dict(own, become=0)]
    plan = {"batch_id": "b1", "payloads": {"a": {}}, "become": [{"user": "other", "command": ["su"]}]}
    plan["jobs"] = [{"body": [{"environment": {}, "calls": [call]} for call in calls]}]
    sources = {"template": {"loader": "", "parts": {}}, "capture": "", "compiled": "/kept.code"}
    servers = fork_servers.ForkServers(plan, "/run", sources, {}, watch=lambda one: None, unwatch=lambda one: None)
    mine, theirs = [servers.get({}, call) for call in calls]
    assert mine.payload["compiled"] == "/kept.code" and b"/kept.code" in mine.source
    assert "compiled" not in theirs.payload and b"/kept.code" not in theirs.source
