# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import typing as t

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import plans
from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, Block, Body, Job, Step
from ansible_collections.background.jobs.plugins.plugin_utils._plan import payloads, planner
from ansible_collections.background.jobs.plugins.plugin_utils._plan.payloads import Built

WRAPPER = "#!/usr/bin/python3 -B\nwrapper code\nif __name__:\n    _ansiballz_main(\ndate_time=1,\nparams={params!r},\nzip_data='abc',\n)\n"


def built(style: str = "new", data: str = WRAPPER, shebang: str = "#!/usr/bin/env python3 -B") -> Built:
    return Built(style=style, shebang=shebang, data=data.encode(), name="AnsiballZ_x.py", profile="legacy")


def test_a_wrapper_is_cut_at_its_arguments() -> None:
    encoded = json.dumps({"ANSIBLE_MODULE_ARGS": {"a": "it's \\ 'x' \n é"}})
    payload, params = payloads.split(built(data=WRAPPER.format(params=encoded)), encoded, {})
    assert (payload["style"], payload["interpreter"], params) == (
        "ansiballz",
        ["/usr/bin/env", "python3", "-B"],
        encoded,
    )
    assert payload["head"] + repr(params) + payload["tail"] == WRAPPER.format(params=encoded)


@pytest.mark.parametrize(
    "data", ["no wrapper at all", WRAPPER.format(params="other"), WRAPPER.format(params="{}") + "\nparams='{}',\n"]
)
def test_what_is_not_recognised_is_sent_as_it_is(data: str) -> None:
    payload, params = payloads.split(built(data=data), "{}", {})
    assert (payload["style"], params) == ("text", data)
    assert "head" not in payload


@pytest.mark.parametrize(
    ("style", "expected"),
    [("old", "word='it is' n=1 "), ("non_native_want_json", '{"word": "it is"}'), ("binary", '{"word": "it is"}')],
)
def test_other_styles_read_their_arguments_from_a_file(style: str, expected: str) -> None:
    payload, params = payloads.split(
        built(style, data="#!/bin/sh\n", shebang="" if style == "binary" else "#!/bin/sh"),
        '{"word": "it is"}',
        {"word": "it is", "n": 1},
    )
    assert (payload["style"], base64.b64decode(payload["data"]), params) == ("args_file", b"#!/bin/sh\n", expected)
    assert payload["interpreter"] == ([] if style == "binary" else ["/bin/sh"])


def test_keys_tell_payloads_apart() -> None:
    one, two = ({"style": "text", "interpreter": [], "name": name} for name in "ab")
    assert payloads.key_of(one) == payloads.key_of(dict(one)) != payloads.key_of(two)


class FakeAsked:
    def __init__(self, module: str, arguments: dict[str, t.Any], skip: str | None = None) -> None:
        self.module = module
        self.arguments = arguments
        self.skip = skip
        self.calls: tuple[FakeAsked, ...] = ()
        self.recipe: dict[str, t.Any] | None = None
        self.staged: tuple[list[t.Any], ...] = ()


class FakeCall(t.NamedTuple):
    module: str

    @property
    def fqcn(self) -> str:
        return f"ansible.builtin.{self.module}"


class FakeMaker:
    """A step's scope holds the arguments of its module."""

    def __init__(self, style: str = "new", data: str = WRAPPER) -> None:
        self.style = style
        self.data = data
        self.builds: list[str] = []

    def ask(self, step: Step) -> FakeAsked:
        module = step.call.module
        if module == "bad":
            raise Refused("it is bad.")
        if module == "copy":
            return self.copying()
        return FakeAsked(module, {"x": step.scope.get("x")}, skip="no check mode" if module == "skipping" else None)

    @staticmethod
    def copying() -> FakeAsked:
        asked = FakeAsked("stat", {"x": 1})
        command = FakeAsked(payloads.COMMAND, {"command": ["/bin/sh", "-c", "true"]})
        asked.calls = (asked, FakeAsked("stat", {"x": 2}), command)
        asked.recipe, asked.staged = {"kind": "copy"}, (["0/x", "digest", 0o600],)
        return asked

    def complete(self, asked: FakeAsked, step: Step) -> dict[str, t.Any]:
        return {**asked.arguments, "_ansible_check_mode": step.check_mode}

    def overrides(self, step: Step) -> str:
        return str(step.scope.get("ansible_python_interpreter", ""))

    def build(self, asked: FakeAsked, arguments: dict[str, t.Any], step: Step) -> Built:
        self.builds.append(asked.module)
        encoded = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        return built(
            self.style,
            self.data.format(params=encoded) + asked.module,
            f"#!{self.overrides(step) or '/usr/bin/python3'}",
        )


def step(call: str = "command", name: str = "s", **more: t.Any) -> Step:
    common: dict[str, t.Any] = dict(
        environment={"A": "b"}, check_mode=False, diff=False, no_log=False, where=f"[{name}]"
    )
    return Step(call=FakeCall(call), name=name, **{"scope": {}, **common, **more})


def job(
    name: str,
    call: str = "command",
    item: object = ABSENT,
    skip: str | None = None,
    body: Body | None = None,
    **scope: t.Any,
) -> Job:
    return Job(
        name=name,
        where=f"tasks[{name}]",
        fqcn=f"ansible.builtin.{call}",
        timeout=5.0,
        ignore_errors=True,
        no_log=False,
        item=item,
        skip=skip,
        body=[step(call, name, scope=scope, where=f"tasks[{name}]")] if body is None else body,
    )


def plan(jobs: list[Job], maker: FakeMaker | None = None) -> dict[str, t.Any]:
    made = planner.Planner(maker or FakeMaker()).plan(jobs, "b000000000000042", 3)
    plans.check(json.loads(json.dumps(made)))
    return made


def test_the_plan_is_what_the_host_expects() -> None:
    made = plan([job("a", x=1, item={"k": 1})])
    (record,) = made["jobs"]
    (task,) = record.pop("body")
    assert {key: value for key, value in made.items() if key not in ("jobs", "payloads")} == {
        "protocol": 1,
        "batch_id": "b000000000000042",
        "concurrency": 3,
    }
    assert record == {
        "name": "a",
        "module": "ansible.builtin.command",
        "item": {"k": 1},
        "timeout": 5.0,
        "no_log": False,
        "ignore_errors": True,
        "depends_on": [],
        "skip": None,
    }
    (call,) = task.pop("calls")
    assert task == {"name": "a", "module": "ansible.builtin.command", "environment": {"A": "b"}}
    assert call["module"] == "command"
    assert json.loads(call["params"]) == {"ANSIBLE_MODULE_ARGS": {"x": 1, "_ansible_check_mode": False}}
    assert set(made["payloads"]) == {call["payload"]}
    assert json.loads(json.dumps(made)) == made | {"jobs": [record]}


def test_jobs_of_a_module_share_a_payload() -> None:
    maker = FakeMaker()
    made = plan(
        [job("a", x=1), job("b", x=2), job("c", "file"), job("d", ansible_python_interpreter="/opt/python")], maker
    )
    keys = [record["body"][0]["calls"][0]["payload"] for record in made["jobs"]]
    assert keys[0] == keys[1] and len(set(keys)) == 3 == len(made["payloads"])
    assert maker.builds == ["command", "file", "command"]
    assert [
        json.loads(record["body"][0]["calls"][0]["params"])["ANSIBLE_MODULE_ARGS"]["x"] for record in made["jobs"]
    ] == [
        1,
        2,
        None,
        None,
    ]


def test_a_recipe_has_all_calls_it_may_choose_from() -> None:
    maker = FakeMaker()
    made = plan([job("a", "copy")], maker)
    (step,) = made["jobs"][0]["body"]
    assert (step["recipe"], step["staged"]) == ({"kind": "copy"}, [["0/x", "digest", 0o600]])
    first, second, command = step["calls"]
    assert maker.builds == ["stat"] and first["payload"] == second["payload"]
    assert [json.loads(call["params"])["ANSIBLE_MODULE_ARGS"]["x"] for call in (first, second)] == [1, 2]
    assert json.loads(command["params"]) == {"command": ["/bin/sh", "-c", "true"]}
    assert made["payloads"][command["payload"]]["style"] == "command"


def test_what_is_not_recognised_is_built_for_each_job() -> None:
    maker = FakeMaker(data="#!x {params} ")
    made = plan([job("a", x=1), job("b", x=2)], maker)
    assert maker.builds == ["command", "command"]
    assert len(made["payloads"]) == 1
    assert len({record["body"][0]["calls"][0]["params"] for record in made["jobs"]}) == 2


def test_skipped_jobs_have_no_body() -> None:
    jobs = [job("a", skip="its condition was false: x"), job("b", "skipping")]
    made = plan(jobs)
    assert [(record["skip"], record["body"]) for record in made["jobs"]] == [
        ("its condition was false: x", []),
        ("no check mode", []),
    ]
    assert jobs[1].skip == "no check mode"


def test_a_refusal_names_the_job() -> None:
    with pytest.raises(JobRefused, match=r"tasks\[b\] \('b'\): it is bad. Nothing was started."):
        plan([job("a"), job("b", "bad")])


def test_only_what_is_not_the_default_is_told() -> None:
    usual = job("a")
    unusual = job("b")
    unusual.run_when, unusual.retries, unusual.delay, unusual.backoff, unusual.always_timeout = (
        "always",
        3,
        1.0,
        2.0,
        9.0,
    )
    unusual.nice, unusual.memory_max, unusual.cpu_quota = -5, 1 << 20, 12.5
    twice = job("c")
    twice.retries = 2
    plain, rare, counted = plan([usual, unusual, twice])["jobs"]
    told = ("run_when", "retries", "delay", "backoff", "always_timeout", "nice", "memory_max", "cpu_quota")
    assert [plain.get(key) for key in told] == [None] * len(told)
    assert [rare[key] for key in told] == ["always", 3, 1.0, 2.0, 9.0, -5, 1 << 20, 12.5]
    assert {key: counted[key] for key in told if key in counted} == {"retries": 2}


def test_a_block_is_planned_as_it_is_nested() -> None:
    inner = Block(block=[step(name="in")], always=[step("skipping", "last")])
    block = Block(
        block=[step(name="first", item={1: 2}), inner], rescue=[step(name="help", skip="its condition was false")]
    )
    (record,) = plan([job("a", body=[block])])["jobs"]
    assert record["skip"] is None

    def names(nodes: list[dict[str, t.Any]]) -> list[object]:
        return [node.get("name") or {key: names(section) for key, section in node.items()} for node in nodes]

    assert names(record["body"]) == [
        {"block": ["first", {"block": ["in"], "always": ["last"]}], "rescue": ["help"]},
    ]
    (outer,) = record["body"]
    assert outer["block"][0]["item"] == {"1": 2}
    assert outer["rescue"] == [
        {"name": "help", "module": "ansible.builtin.command", "calls": [], "skip": "its condition was false"}
    ]
    assert outer["block"][1]["always"] == [
        {"name": "last", "module": "ansible.builtin.skipping", "calls": [], "skip": "no check mode"}
    ]


def test_an_inner_task_tells_what_is_not_the_default() -> None:
    rare = step(timeout=3.0, retries=2, delay=0.0, backoff=1.5, ignore_errors=True, no_log=True)
    (record,) = plan([job("a", body=[Block(block=[rare, step(delay=1.0)])])])["jobs"]
    first, second = record["body"][0]["block"]
    assert {key: first[key] for key in sorted(first) if key not in ("calls", "environment", "module", "name")} == {
        "backoff": 1.5,
        "delay": 0.0,
        "ignore_errors": True,
        "no_log": True,
        "retries": 2,
        "timeout": 3.0,
    }
    assert sorted(second) == ["calls", "environment", "module", "name"]


def test_all_refusals_of_a_block_are_told_at_once() -> None:
    body: Body = [Block(block=[step("bad", "one"), step(), step("bad", "two")])]
    with pytest.raises(Refused) as caught:
        plan([job("a", body=body)])
    assert str(caught.value).splitlines() == [
        "2 tasks cannot run in the background. Nothing was started.",
        "- [one] ('one'): it is bad.",
        "- [two] ('two'): it is bad.",
    ]


def test_ids() -> None:
    batch_id = planner.new_batch_id()
    assert len(batch_id) == 16 and batch_id[0] == "b" and batch_id[1:].isdigit()
    assert planner.jid("b000000000000042", 7) == "j000000000000042.7"


def scripted(one: Step, **turn: t.Any) -> Job:
    made = job("j", body=[])
    node = {"kind": "task", "module": "ansible.builtin.command", "turns": [{"step": one, **turn}]}
    made.script = {
        "token": "T",
        "values": [],
        "body": [{"kind": "block", "block": [node]}],
        "handlers": [{"task": node}],
    }
    return made


def test_the_calls_of_a_script_stand_in_its_turns() -> None:
    record = plan([scripted(step())])["jobs"][0]
    assert record["body"] == []
    (turn,) = record["script"]["body"][0]["block"][0]["turns"]
    assert turn["calls"][0]["module"] == "command" and turn["environment"] == {"A": "b"} and "step" not in turn
    assert record["script"]["handlers"][0]["task"]["turns"] == [turn]


def test_a_late_value_that_an_action_plugin_uses_up_is_refused() -> None:
    late = [{"$template": "{{ out }}"}]
    assert plan([scripted(step(scope={"x": "T_0_"}), late=late)])
    with pytest.raises(Refused, match=r"uses an argument on the controller.*async_wait"):
        plan([scripted(step(), late=late)])


def test_a_script_in_check_mode_needs_no_late_value() -> None:
    record: dict[str, t.Any] = {"late": [{"$template": "{{ out }}"}], "calls": []}
    planner._check_tokens({**record, "recipe": {"kind": "script", "checked": {"skipped": True}}}, "T")
    with pytest.raises(Refused, match="uses an argument on the controller"):
        planner._check_tokens({**record, "recipe": {"kind": "copy"}}, "T")


def test_all_calls_of_a_script_that_cannot_be_made_are_told() -> None:
    with pytest.raises(Refused, match=r"2 tasks cannot run[^$]*it is bad"):
        plan([scripted(step("bad"))])


def test_a_job_that_is_skipped_has_no_script() -> None:
    skipped = scripted(step())
    skipped.skip = "no"
    assert "script" not in plan([skipped])["jobs"][0]
