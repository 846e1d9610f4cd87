# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that have the shape of one, and those that are refused with what is wrong."""

from __future__ import annotations

import math

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import requests, shapes

OPS = ("wait", "cancel", "list", "forget", "prune", "update")
JOBS = [{"jid": "j1.2", "dir": None}, {"jid": "j1.3", "dir": "/d", "ending": [[7, 8], [9, None]]}]
SELECT = {"names": ["a*"], "batch_ids": None, "states": ["lost"], "older_than": 1, "newer_than": 2.5, "core": False}
WAIT = {"op": "wait", "jobs": JOBS, "mode": "any", "block": 0.0, "max_bytes": 1}
CANCEL = {"op": "cancel", "select": SELECT, "grace": 1, "block": 15.0, "max_bytes": 1}
LIST = {"op": "list", "select": SELECT}
UPDATE = {"op": "update", "jobs": [], "block": 5.0, "check": False}
PRUNE = {"op": "prune", "jobs": [], "remove": True}


def without(request, key):
    return {name: value for name, value in request.items() if name != key}


@pytest.mark.parametrize(
    "request_",
    [
        WAIT,
        dict(WAIT, mode="all"),
        CANCEL,
        dict(CANCEL, signal=15, told=True),
        dict(without(CANCEL, "select"), jobs=JOBS),
        LIST,
        dict(LIST, tail=0),
        {"op": "list", "jobs": []},
        {"op": "forget", "jobs": JOBS},
        PRUNE,
        dict(PRUNE, leftovers=SELECT),
        UPDATE,
        dict(without(UPDATE, "jobs"), select=SELECT, concurrency=0, pools={"p": 1}),
    ],
)
def test_what_action_plugins_ask_is_let_through(request_):
    requests.check(request_, OPS)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "a request is a dictionary"),
        ({}, "None is not answered here, but cancel, forget"),
        ({"op": "launch"}, "'launch' is not answered here"),
        ({"op": ["wait"]}, r"\['wait'\] is not answered here"),
        (dict(WAIT, protocol=1), "'wait' takes no 'protocol'"),
        (dict(LIST, jobs=JOBS), "'list' takes no 'jobs'"),
        (dict(without(WAIT, "jobs"), select=SELECT), "'wait' takes no 'select'"),
        ({"op": "forget"}, "'forget' needs 'jobs'"),
        (without(WAIT, "block"), "'wait' needs 'block'"),
        (without(CANCEL, "grace"), "'cancel' needs 'grace'"),
        (dict(WAIT, mode="some"), "'mode' of 'wait' can't be 'some'"),
        (dict(WAIT, block=-1), "'block' of 'wait' can't be -1"),
        (dict(WAIT, block=math.nan), "'block' of 'wait' can't be nan"),
        (dict(WAIT, block=True), "'block' of 'wait' can't be True"),
        (dict(WAIT, max_bytes=1.5), "'max_bytes' of 'wait'"),
        (dict(WAIT, jobs={}), "'jobs' of 'wait'"),
        (dict(WAIT, jobs=[{"jid": "j1.2"}]), "'jobs' of 'wait'"),
        (dict(WAIT, jobs=[{"jid": None, "dir": None}]), "'jobs' of 'wait'"),
        (dict(WAIT, jobs=[{"jid": "j1.2", "dir": 1}]), "'jobs' of 'wait'"),
        (dict(WAIT, jobs=[{"jid": "j1.2", "dir": None, "ending": [7]}]), "'jobs' of 'wait'"),
        (dict(WAIT, jobs=[{"jid": "j1.2", "dir": None, "ending": [["7", 8]]}]), "'jobs' of 'wait'"),
        (dict(CANCEL, signal=65), "'signal' of 'cancel' can't be 65"),
        (dict(CANCEL, told=1), "'told' of 'cancel' can't be 1"),
        (dict(LIST, tail=-1), "'tail' of 'list' can't be -1"),
        (dict(LIST, select=without(SELECT, "core")), "'select' of 'list'"),
        (dict(LIST, select=dict(SELECT, more=1)), "'select' of 'list'"),
        (dict(LIST, select=dict(SELECT, names="a")), "'select' of 'list'"),
        (dict(LIST, select=dict(SELECT, states=["sleeping"])), "'select' of 'list'"),
        (dict(LIST, select=dict(SELECT, older_than="1d")), "'select' of 'list'"),
        (dict(LIST, select=dict(SELECT, core=None)), "'select' of 'list'"),
        (without(UPDATE, "check"), "'update' needs 'check'"),
        (dict(UPDATE, concurrency=-1), "'concurrency' of 'update' can't be -1"),
        (dict(UPDATE, concurrency=True), "'concurrency' of 'update' can't be True"),
        (dict(UPDATE, pools={"../x": 1}), "'pools' of 'update'"),
        (dict(UPDATE, pools={"p": 0}), "'pools' of 'update'"),
        (dict(UPDATE, pools=["p"]), "'pools' of 'update'"),
        (dict(PRUNE, remove=None), "'remove' of 'prune' can't be None"),
        (dict(PRUNE, leftovers=[]), r"'leftovers' of 'prune' can't be \[\]"),
    ],
)
def test_what_is_no_request_is_refused_with_what_is_wrong(request_, words):
    with pytest.raises(shapes.Malformed, match=words):
        requests.check(request_, OPS)


def test_a_long_value_is_told_in_short():
    with pytest.raises(shapes.Malformed) as caught:
        requests.check(dict(WAIT, mode="x" * 10000), OPS)
    assert len(str(caught.value)) < 200
