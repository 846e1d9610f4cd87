# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs with scripts under a real supervisor."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile

import jinja2
import markupsafe
import pytest

from .scripts import Script, token

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


def _archive():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for package in (jinja2, markupsafe):
            folder = os.path.dirname(package.__file__)
            for name in os.listdir(folder):
                if name.endswith(".py"):
                    archive.write(os.path.join(folder, name), "%s/%s" % (package.__name__, name))
    return base64.b64encode(data.getvalue()).decode("ascii")


ARCHIVE = _archive()


def run(script, program, name="probe", **keywords):
    return script.call(name, arguments={"run": program}, **keywords)


@pytest.fixture
def launch(batch):
    """A function that launches jobs with these bodies, written with a Script."""

    def scripted(script, *bodies, plan=None, **settings):
        settings["script"] = [script.of(body) for body in bodies]
        return batch([[]] * len(bodies), plan=dict({"archive": ARCHIVE}, **(plan or {})), **settings)

    return scripted


def tasks(answer):
    return json.loads(answer["tasks"])


def entries(answer):
    return [(entry["name"], entry["state"]) for entry in tasks(answer)["results"]]


def test_a_job_goes_on_with_what_its_tasks_return(launch):
    s = Script()
    body = [
        run(s, "result['n'] = 3", "first", register="out"),
        run(s, "1/0", "left out", when="out.n > 3"),
        s.local("set_fact", {"m": {"$template": "{{ out.n + 1 }}"}}),
        run(s, token(0), "last", late=[{"$template": "result['got'] = {{ m }}"}], when="m == 4"),
    ]
    (answer,) = launch(s, body).wait()
    assert answer["state"] == "succeeded", answer
    assert json.loads(answer["result"])["got"] == 4
    assert entries(answer) == [("first", "succeeded"), ("left out", "skipped"), ("set_fact", "succeeded"), ("last", "succeeded")]
    assert tasks(answer)["facts"] == {"m": 4}
    assert tasks(answer)["registered"] == {"out": {"entry": 0}}
