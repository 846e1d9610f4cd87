# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module answers that is asked something."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing
from ansible_collections.background.jobs.plugins.module_utils._verbs import serving


class Exit(Exception):
    pass


class Module:
    def __init__(self, request, async_dir="~/x"):
        self.params = {"_request": request and packing.pack(request), "_async_dir": async_dir}

    def fail_json(self, **result):
        raise Exit(dict(result, failed=True))

    def exit_json(self, **result):
        raise Exit(result)


def served(request):
    asked = []
    handlers = {"forget": lambda *given: asked.append(given) or {"jobs": [], "troubles": []}}
    with pytest.raises(Exit) as caught:
        serving.be(Module(request), handlers)
    return caught.value.args[0], asked


def test_an_answer_says_who_was_asked_where_and_when():
    request = {"op": "forget", "jobs": []}
    result, asked = served(request)
    reply = packing.unpack(result["reply"])
    assert asked == [(request, "~/x")]
    assert reply["async_dir"] == os.path.expanduser("~/x")
    assert reply["user"] and abs(reply["now"] - time.time()) < 60
    assert (result["changed"], reply["jobs"], reply["troubles"]) == (False, [], [])


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (None, "its action plugin makes the requests"),
        ({"op": "wait", "jobs": []}, "nothing was done: 'wait' is not answered here, but forget"),
        ({"op": "forget"}, "nothing was done: 'forget' needs 'jobs'"),
    ],
)
def test_what_is_not_to_be_answered_is_refused_and_nothing_done(request_, words):
    result, asked = served(request_)
    assert result["failed"] and words in result["msg"]
    assert asked == []
