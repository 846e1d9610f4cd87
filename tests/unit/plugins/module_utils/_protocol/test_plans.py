# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans that have the shape of one, and those that are refused with what is wrong."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import plans, shapes

CALL = {"module": "ansible.builtin.command", "payload": "key", "params": "{}"}
STEP = {"name": "s", "module": "ansible.builtin.command", "calls": [CALL], "environment": {"A": "b"}}
SKIPPED = {"name": "s", "module": "ansible.builtin.command", "calls": [], "skip": "why"}
TASK = {"kind": "task", "module": "m", "turns": [{"calls": [CALL], "environment": {}}, {"local": "debug", "args": {}}]}
SCRIPT = {
    "token": "t",
    "values": [],
    "body": [{"kind": "block", "block": [TASK], "always": [{"kind": "include", "body": [TASK]}]}],
    "handlers": [{"names": ["h"], "listen": [], "task": TASK}],
}


def job(**more):
    return dict(
        {
            "name": "j",
            "module": "ansible.builtin.command",
            "timeout": 0.0,
            "no_log": False,
            "ignore_errors": False,
            "depends_on": [],
            "skip": None,
            "body": [STEP],
        },
        **more,
    )


def plan(*jobs, **more):
    payload = {"style": "ansiballz", "interpreter": ["python3"], "name": "x.py", "head": "", "tail": ""}
    return dict(
        {
            "protocol": 1,
            "batch_id": "b000000000000042",
            "concurrency": 0,
            "payloads": {"key": payload},
            "jobs": list(jobs),
        },
        **more,
    )


def without(value, key):
    return {name: one for name, one in value.items() if name != key}


@pytest.mark.parametrize(
    "made",
    [
        plan(),
        plan(job(), job(depends_on=[0], run_when="always", retries=2, delay=1, backoff=2.0, nice=-5, item=None)),
        plan(job(pool="p"), job(pool="q", skip="no", body=[]), pools={"p": 3}),
        plan(job(body=[{"block": [STEP, {"block": [SKIPPED]}], "rescue": [STEP], "always": []}])),
        plan(job(body=[], script=SCRIPT)),
        plan(job(body=[], skip="never")),
        plan(job(body=[dict(STEP, calls=[dict(CALL, become=0)])]), become=[{"user": "u", "command": ["sudo"]}]),
        plan(job(body=[dict(STEP, recipe={"kind": "copy"}, staged=[["0/x", "sum", 384]], calls=[])])),
        plan(job(), keep_output=1, max_failures=0.0, on_failure="cancel", start_delay=1, max_load=0.5),
        plan(job(), payloads={"key": {"style": "command", "interpreter": [], "name": "command", "fork": False}}),
    ],
)
def test_what_a_launch_plans_is_let_through(made):
    plans.check(copy.deepcopy(made))


def run(**more):
    return plan(job(body=[dict(STEP, **more)]))


def called(**more):
    return run(calls=[dict(CALL, **more)])


def scripted(**more):
    return plan(job(body=[], script=dict(SCRIPT, **more)))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([], "a plan is a dictionary"),
        (without(plan(), "jobs"), "a plan needs 'jobs'"),
        (plan(protocol=2), "'protocol' of a plan can't be 2"),
        (plan(batch_id="b42/.."), "'batch_id' of a plan can't be 'b42/..'"),
        (plan(concurrency=-1), "'concurrency' of a plan"),
        (plan(secret="x"), "a plan takes no 'secret'"),
        (plan(payloads={"key": {"style": "elf"}}), "'style' of payload 'key' can't be 'elf'"),
        (plan(payloads={"key": {"style": "text", "interpreter": [], "name": "n", "head": ""}}), "takes no 'head'"),
        (plan(job(), {}), "job 1 needs 'body'"),
        (plan(job(timeout=-1)), "'timeout' of job 0 can't be -1"),
        (plan(job(retries="2")), "'retries' of job 0 can't be '2'"),
        (plan(job(depends_on=[1])), "job 0 can't depend on 1"),
        (plan(job(pool="../p"), pools={"p": 1}), "'pool' of job 0 can't be '../p'"),
        (plan(job(pool="p"), pools={"q": 1}), "job 0: there is no size of its pool 'p'"),
        (plan(pools={"p": 0}), "'pools' of a plan"),
        (plan(pools={"p/q": 1}), "'pools' of a plan"),
        (plan(job(run_when="never")), "'run_when' of job 0"),
        (plan(job(body=[{"block": STEP}])), "job 0: a block of|job 0: a block"),
        (plan(job(body=[{"block": [[]]}])), "job 0: a step or block is a dictionary"),
        (plan(job(body=[without(STEP, "environment")])), "a step that runs needs 'environment'"),
        (run(calls=[]), "a step that runs needs 'calls'"),
        (run(environment={"A": 1}), "'environment' of job 0: a step"),
        (run(staged=[["0/x", "sum"]]), "'staged' of job 0: a step"),
        (called(payload="other"), "job 0: there is no payload 'other'"),
        (called(become=0), "job 0: there is no such user to become"),
        (called(params={}), "'params' of job 0: a call"),
        (scripted(body={}), "'body' of a script"),
        (scripted(body=[{"kind": "loop"}]), "'kind' of a node can't be 'loop'"),
        (scripted(body=[{"kind": "block"}]), "sections of a node are lists"),
        (scripted(body=[without(TASK, "turns")]), "a task needs 'turns'"),
        (scripted(handlers=[{}]), "a handler needs 'task'"),
        (scripted(body=[dict(TASK, turns=[{"calls": [dict(CALL, payload="x")]}])]), "there is no payload 'x'"),
    ],
)
def test_what_is_none_is_refused_in_words(made, words):
    with pytest.raises(shapes.Malformed, match=words):
        plans.check(made)


class Silent:
    """A value whose text must not be made."""

    def __repr__(self):
        raise AssertionError("the text of a value that fits was made")


def test_the_text_of_what_fits_is_not_made():
    shapes.check_keys({"a": Silent()}, {"a": shapes.is_anything}, {}, "a plan")
