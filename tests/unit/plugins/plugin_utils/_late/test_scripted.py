# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import Job, Node

from ..conftest import expand

OUT = {"command": "first", "register": "out"}


def job_of(*tasks: t.Any, entry: dict[str, t.Any] | None = None, **more: t.Any) -> Job:
    (job,) = expand([{"name": "j", **(entry or {}), "block": list(tasks)}], **more)
    return job


def script_of(*tasks: t.Any, **more: t.Any) -> Node:
    job = job_of(*tasks, **more)
    assert job.refused == [] and job.body == []
    assert job.script is not None
    return job.script


def nodes_of(*tasks: t.Any, **more: t.Any) -> list[Node]:
    (block,) = script_of(*tasks, **more)["body"]
    return list(block["block"])


def refusal_of(*tasks: t.Any, **more: t.Any) -> str:
    (refused,) = job_of(*tasks, **more).refused
    return str(refused)


def values_of(script: Node, node: Node, table: str) -> dict[str, t.Any]:
    return {name: script["values"][index] for name, index in node.get(table, {}).items()}


@pytest.mark.parametrize(
    "task",
    [
        OUT,
        {"command": 1, "until": "yes", "retries": 1},
        {"command": 1, "changed_when": False},
        {"command": 1, "failed_when": False},
        {"command": 1, "notify": "x"},
        {"command": 1, "loop": [1], "loop_control": {"pause": 1}},
        {"command": 1, "loop": [1], "loop_control": {"break_when": "yes"}},
        {"set_fact": {"a": 1}},
        {"debug": {"msg": 1}},
        {"meta": "noop"},
        {"block": [{"command": 1}], "notify": "x"},
        {"block": [{"command": 1}], "rescue": [{"command": "{{ ansible_failed_result }}"}]},
    ],
)
def test_what_takes_a_script(task: dict[str, t.Any]) -> None:
    assert job_of(task, yes=True).script is not None


@pytest.mark.parametrize(
    "task",
    [
        {"command": 1, "retries": 1},
        {"command": 1, "with_items": [1, 2]},
        {"command": 1, "run_once": True},
        {"command": 1, "tags": "x"},
        {"block": [{"command": 1}], "rescue": [{"command": 1}]},
    ],
)
def test_what_takes_none(task: dict[str, t.Any]) -> None:
    job = job_of(task)
    assert job.script is None and job.body


def test_what_the_host_does_between_items_is_told_it() -> None:
    control = {"pause": "0.5", "break_when": ["out == 1", "yes"], "label": "{{ each }}", "loop_var": "each"}
    task = {"command": 1, "loop": [1], "register": "out", "loop_control": control}
    (node,) = nodes_of(task, yes=True)
    told = node["loop_control"]
    assert (told["pause"], told["loop_var"]) == (0.5, "each")
    assert [written for written, dummy in told["break_when"]] == ["out == 1", "yes"]
    (dummy, late) = nodes_of(OUT, {**task, "loop": "{{ out.x }}"}, yes=True)
    assert late["loop_control"]["break_when"][0] == ["out == 1", {"$expr": "out == 1"}]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"command": 1, "loop": [1], "loop_control": 7}, ["'loop_control'", "must be a dictionary", "7"]),
        ({"command": 1, "loop": "{{ out.x }}", "loop_control": 7}, ["'loop_control'", "must be a dictionary", "7"]),
        ({"command": 1, "loop": [1], "loop_control": {"pause": "soon"}}, ["'loop_control.pause'", "seconds", "soon"]),
        (
            {"include_tasks": "f.yml", "loop": [1], "loop_control": {"break_when": "x"}},
            ["break_when", "tasks in the file"],
        ),
        ({"command": 1, "loop": [1], "loop_control": {"brake_when": "x"}}, ["Did you mean 'break_when'"]),
    ],
)
def test_what_is_wrong_with_loop_control(task: dict[str, t.Any], words: list[str]) -> None:
    said = refusal_of(OUT, task, files={"f.yml": []})
    assert all(word in said for word in words), said


MISSING = [
    {"command": 1, "notify": "of the pley"},
    {"command": 1, "notify": ["of the play", "of the pley"]},
    {"command": 1, "notify": "{{ pley }}"},
    {"block": [{"command": 1}], "notify": "of the pley"},
    {"command": 1, "when": "out", "notify": "of the pley"},
    {"include_role": {"name": "r"}},
]
ROLE = {"tasks": [], "handlers": [{"name": "own", "command": 1, "listen": "topic", "notify": "of the pley"}]}


@pytest.mark.parametrize("task", MISSING)
def test_a_handler_that_there_is_not_is_refused(task: dict[str, t.Any]) -> None:
    more: dict[str, t.Any] = {"pley": "of the pley", "roles": {"r": ROLE}}
    said = refusal_of(OUT, task, **more)
    assert "'notify': there is no handler 'of the pley'. Did you mean 'of the play'?" in said, said
    script_of(OUT, task, missing_handlers_fail=False, **more)


@pytest.mark.parametrize(
    "task",
    [
        {"command": 1, "notify": ["of the play", "own", "r : own", "topic", "{{ out.x }}"]},
        {"command": 1, "notify": "nobody", "when": "no"},
        {"command": 1, "notify": "nobody", "changed_when": False},
    ],
)
def test_a_handler_that_there_is_or_that_nobody_can_know_of_is_not(task: dict[str, t.Any]) -> None:
    role = {"tasks": [], "handlers": [{"name": "own", "command": 1, "listen": "topic"}]}
    script_of(OUT, {"include_role": {"name": "r"}}, task, roles={"r": role}, no=False)


def test_turns_of_a_loop_see_what_those_before_have_set() -> None:
    task = {"set_fact": {"all": "{{ all }}{{ item }}"}, "loop": [1, 2], "when": "all"}
    (node,) = nodes_of(task, all="a")
    assert [turn["args"]["all"] for turn in node["turns"]] == [{"$template": "{{ all }}{{ item }}"}] * 2
    assert node["when"] == [["all", {"$expr": "all"}]] and "all" in node["vars"]
    (node,) = nodes_of({"command": "{{ own }}", "loop": [1], "when": "not own", "register": "own"}, own="")
    assert node["when"] and node["turns"][0]["late"] == [{"$template": "{{ own }}"}]
    (node,) = nodes_of({"set_fact": {"all": "{{ all }}"}}, all="a")
    assert node["turns"][0]["args"] == {"all": "a"}


SET = {"set_fact": {"x": "{{ known }}"}}
SET_LATE = {"set_fact": {"x": "{{ out }}"}}
USE = {"command": "{{ x }}", "name": "use"}


def used(*tasks: t.Any, **more: t.Any) -> list[t.Any]:
    """Return what the tasks of the name `use` have as their argument: a value, or what is worked out."""

    def found(nodes: list[Node]) -> t.Iterator[Node]:
        for node in nodes:
            if node.get("name") == "use":
                yield node
            for key in ("block", "rescue", "always", "body"):
                yield from found(node.get(key) or [])

    script = script_of(OUT, *tasks, **{"known": "k", "yes": True, "no": False, **more})
    handlers = [handler["task"] for handler in script["handlers"]]
    turns = [turn for node in found([*script["body"], *handlers]) for turn in node["turns"]]
    return [LATELY if turn.get("late") else turn["step"].call.arguments["_raw_params"] for turn in turns]


LATELY = {"$template": "{{ x }}"}
KNOWN_FILES = {"vars.yml": {"x": "v"}, "use.yml": [USE], "set.yml": [SET], "k.yml": [USE]}
SET_IN_ROLE = {"include_role": {"name": "r"}}


@pytest.mark.parametrize(
    "tasks",
    [
        [SET, USE],
        [{"block": [SET]}, USE],
        [{**SET, "loop": [1]}, USE],
        [{"include_tasks": "set.yml"}, USE],
        [{"include_vars": "vars.yml"}, USE],
        [SET_LATE, SET, USE],
        [SET, {"include_tasks": "{{ x }}.yml"}],
        [SET, {"block": [USE], "when": "out"}],
        [SET_IN_ROLE, USE],
    ],
)
def test_what_is_set_to_a_known_value_in_any_case_is_known(tasks: list[t.Any]) -> None:
    assert used(*tasks, files=KNOWN_FILES, roles={"r": [SET]}) == ["{{ x }}"]


@pytest.mark.parametrize(
    "tasks",
    [
        [SET_LATE, USE],
        [SET, SET_LATE, USE],
        [{**SET, "when": "out"}, USE],
        [{**SET, "failed_when": "no"}, USE],
        [{"set_fact": {"x": "{{ x | default('') }}"}, "loop": [1]}, USE],
        [SET, {"command": 1, "register": "x"}, USE],
        [{"block": [SET], "when": "out"}, USE],
        [{"include_tasks": "set.yml", "when": "out"}, USE],
        [{"include_tasks": "set.yml", "loop": "{{ out.x }}"}, USE],
        [{"block": [{"command": 1}, SET], "rescue": [USE]}],
        [{"block": [{"command": 1}, SET], "always": [USE]}],
        [{"block": [{"command": 1}, SET], "rescue": [{"command": 1}]}, USE],
        [{"block": [{"command": 1}], "rescue": [SET]}, USE],
        [SET, {"block": [{"command": 1}], "rescue": [SET_LATE]}, USE],
        [SET, {"block": [{"command": 1}], "always": [{"include_tasks": "set.yml"}]}, USE],
        [SET, {"block": [{"command": 1}], "rescue": [USE]}],
        [SET, {"meta": "flush_handlers"}, USE],
        [SET, {"include_vars": "vars.yml"}, USE],
        [{"include_role": {"name": "ends"}}, USE],
        [{"include_role": {"name": "handles"}}, SET],
    ],
)
def test_what_may_not_be_set_or_not_to_that_is_late(tasks: list[t.Any]) -> None:
    roles = {
        "ends": {"tasks": [{"meta": "end_role", "when": "out"}, SET], "role": "ends"},
        "handles": {"tasks": [], "handlers": [USE]},
    }
    assert used(*tasks, files=KNOWN_FILES, roles=roles) == [LATELY]


def test_what_is_set_is_as_strong_as_in_ansible() -> None:
    (node,) = nodes_of(SET, {"debug": {"msg": "{{ x }}"}, "vars": {"x": "own"}}, known="k")[1:]
    assert node["turns"][0]["args"] == {"msg": "k"}
    files = {"use.yml": [{"debug": {"msg": "{{ x }}"}}]}
    (node,) = nodes_of(SET, {"include_tasks": "use.yml", "vars": {"x": "param"}}, known="k", files=files)[1:]
    assert node["turns"][0]["args"] == {"msg": "param"}


def test_what_is_handed_on_to_the_launch_is_stronger_than_what_a_job_sets() -> None:
    for tasks in ([SET, USE], [SET_LATE, USE], [{"command": 1, "register": "x"}, USE]):
        assert used(*tasks, x="handed", strong=["x"]) == ["{{ x }}"]
        assert used(*tasks, x="handed") != ["{{ x }}"] or tasks == [SET, USE]
    set_to, use = nodes_of(SET, {"debug": {"msg": "{{ x }}"}}, known="k", x="handed", strong=["x"])
    assert (set_to["turns"][0]["args"], use["turns"][0]["args"]) == ({"x": "k"}, {"msg": "handed"})


def test_what_was_set_before_the_launch_is_stronger_than_files_of_variables() -> None:
    more: dict[str, t.Any] = {"files": {"vars.yml": {"x": "v", "y": "v"}}, "x": "before", "set_before": ["x"]}
    told = {"debug": {"msg": "{{ x }} {{ y }}"}}
    read, node = nodes_of({"include_vars": "vars.yml"}, told, **more)
    assert read["turns"][0]["args"] == {
        "files": ["/play/vars/vars.yml"],
        "data": {"x": "v", "y": "v"},
        "weaker": ["x"],
    }
    assert node["turns"][0]["args"] == {"msg": "before v"}
    *dummy, node = nodes_of(OUT, {"include_vars": "vars.yml"}, {"set_fact": {"x": 1}}, told, **more)
    assert node["turns"][0]["args"] == {"msg": "1 v"}
    *dummy, node = nodes_of(OUT, {"include_vars": "vars.yml", "when": "out"}, told, **more)
    assert node["turns"][0]["args"] == {"msg": {"$template": "{{ x }} {{ y }}"}}
    script = script_of(OUT, {"include_vars": "vars.yml", "when": "out"}, told, **more)
    assert values_of(script, script["body"][0]["block"][2], "vars") == {"x": "before"}


HANDLES = [{"name": "h", "command": 1, "register": "x"}]
FLUSH = {"meta": "flush_handlers"}


@pytest.mark.parametrize(
    "handlers",
    [
        HANDLES,
        [{"name": "h", "set_fact": {"x": "{{ known }}"}}],
        [{"name": "h", "block": HANDLES}],
        [{"name": "h", "include_tasks": "registers.yml"}],
        [{"name": "h", "include_tasks": "flushes.yml"}],
        [{"name": "h", "include_vars": "vars.yml"}],
        [{"name": "h", "include_role": {"name": "registers"}}],
    ],
)
def test_what_handlers_set_is_late_from_where_they_may_have_run(handlers: list[t.Any]) -> None:
    files = {**KNOWN_FILES, "registers.yml": HANDLES, "flushes.yml": [*HANDLES, FLUSH]}
    roles = {"r": {"tasks": [USE, FLUSH, USE], "handlers": handlers}, "registers": HANDLES}
    assert used(SET_IN_ROLE, USE, x="before", files=files, roles=roles) == ["{{ x }}", LATELY, LATELY]
    roles["r"] = {"tasks": [FLUSH], "handlers": [USE, *handlers]}
    assert used(SET_IN_ROLE, files=files, roles=roles) == [LATELY]


def test_a_handler_that_is_refused_is_told_once() -> None:
    handler = {"name": "h", "command": "{{ lookup('file', out) }}", "notify": "nobody"}
    roles = {"r": {"tasks": [FLUSH, FLUSH], "handlers": [handler]}}
    assert "the lookup 'file'" in refusal_of(OUT, SET_IN_ROLE, roles=roles)
    handler["command"] = "1"
    assert "there is no handler 'nobody'" in refusal_of(OUT, SET_IN_ROLE, roles=roles)


DEFAULTS = {
    "ansible.builtin.command": {"chdir": "{{ out.x }}", "creates": "{{ known }}"},
    "ansible.builtin.debug": {"msg": "{{ out.x }}", "verbosity": 1},
}


def test_defaults_of_modules_are_as_late_as_what_they_use() -> None:
    more: dict[str, t.Any] = {"module_defaults": DEFAULTS, "known": "k"}
    dummy, given, of_defaults, told = nodes_of(
        OUT, {"command": 1, "args": {"chdir": "/"}}, {"command": 1}, {"debug": {"verbosity": 0}}, **more
    )
    assert "late" not in given["turns"][0]
    (turn,) = of_defaults["turns"]
    assert turn["late"] == [{"$template": "{{ out.x }}"}]
    assert turn["step"].call.arguments == {"chdir": f"{turn['step'].contents.token}_0_", "_raw_params": 1}
    assert told["turns"][0]["args"] == {"msg": {"$template": "{{ out.x }}"}, "verbosity": 0}


def test_defaults_that_use_what_is_late_take_a_script() -> None:
    more: dict[str, t.Any] = {"module_defaults": {"ansible.builtin.file": {"path": "{{ ansible_facts.x }}"}}}
    gather = {"ansible.builtin.setup": {}}
    assert job_of(gather, {"ansible.builtin.file": {}}, **more).script is not None
    assert job_of(gather, {"ansible.builtin.file": {"path": 1}}, **more).script is None


TEMPLATES = {
    "known.j2": "{{ known }}",
    "late.j2": "{{ out.stdout | default('none') }}",
    "around.j2": "{% include 'late.j2' %}",
    "far.j2": "{% include 'around.j2' %}",
    "loop.j2": "{% for one in known %}{% include one %}{% endfor %}",
    "elsewhere.j2": "{% include 'beside' %}",
    "safe.j2": "{% import 'known.j2' as other %}{{ known }}",
    "facts.j2": "{{ ansible_facts.system | default('none') }}",
}


NAMED_IN_A_LOOP = "{% for one in known %}{{ lookup('template', one) }}{% endfor %}"


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"template": {"src": "around.j2"}}, ["the file 'late.j2'", "'out'", "set by tasks[0].block[0]", "one file"]),
        ({"template": {"src": "far.j2"}}, ["the file 'around.j2'", "'out'", "one file"]),
        ({"template": {"src": "loop.j2"}}, ["includes a file that is found only when", "one file"]),
        ({"template": {"src": "elsewhere.j2"}}, ["the file 'beside'", "found only when", "one file"]),
        ({"command": "{{ lookup('template', 'late.j2') }}"}, ["the lookup 'template'", "late.j2", "async_wait"]),
        ({"command": "{{ by_way }}"}, ["the lookup 'template'", "far.j2", "async_wait"]),
        ({"command": "{{ lookup('template', far) }}"}, ["the lookup 'template'", "named {{ far }}", "async_wait"]),
        ({"command": "{{ lookup('template', out.stdout) }}"}, ["the lookup 'template'", "for 'out'", "async_wait"]),
        ({"command": "{{ lookup('template', nope) }}"}, ["named {{ nope }}", "found only when", "async_wait"]),
        ({"command": NAMED_IN_A_LOOP}, ["the lookup 'template'", "async_wait"]),
    ],
)
def test_what_other_files_of_templates_use_is_not_passed_over(task: dict[str, t.Any], words: list[str]) -> None:
    more: dict[str, t.Any] = {"by_way": "{{ lookup('template', 'far.j2') }}", "far": "far.j2"}
    said = refusal_of(OUT, task, files=TEMPLATES, known=[], **more)
    assert all(word in said for word in words), said


def test_templates_that_use_what_is_known_are_left_to_the_launch() -> None:
    for name in ("known.j2", "safe.j2"):
        dummy, node = nodes_of(OUT, {"template": {"src": name}}, files=TEMPLATES, known=1)
        assert "render" not in node["turns"][0]
    looked_up = {"command": "{{ lookup('template', name) }}"}
    dummy, node = nodes_of(OUT, looked_up, files=TEMPLATES, known=1, name="known.j2")
    assert "late" not in node["turns"][0]
    job = job_of({"command": 1}, {"template": {"src": "loop.j2"}}, files=TEMPLATES, known=[])
    assert job.script is None and not job.refused


def test_a_template_of_facts_that_the_job_gathers_takes_a_script() -> None:
    gather = {"ansible.builtin.setup": {}}
    assert job_of(gather, {"template": {"src": "facts.j2"}}, files=TEMPLATES).script is not None
    assert job_of(gather, {"template": {"src": "known.j2"}}, files=TEMPLATES, known=1).script is None


@pytest.mark.parametrize(
    ("task", "text", "late"),
    [
        ({"ansible.builtin.package_facts": None}, "{{ ansible_facts.packages.x }}", True),
        ({"ansible.builtin.package_facts": None}, "{{ ansible_facts.os }}", False),
        ({"set_fact": {"x": "{{ out }}", "cacheable": True}}, "{{ ansible_facts.x }}", True),
        ({"set_fact": {"x": "{{ out }}", "cacheable": True}}, "{{ ansible_facts.os }}", False),
        ({"set_fact": {"x": "{{ out }}"}}, "{{ ansible_facts.x }}", False),
    ],
)
def test_of_the_facts_those_are_late_that_the_job_gathers(task: dict[str, t.Any], text: str, late: bool) -> None:
    known = {"os": "Debian", "packages": {"x": 1}, "x": 1}
    *dummy, node = nodes_of(OUT, task, {"command": text}, ansible_facts=known)
    assert ("late" in node["turns"][0]) is late


def test_late_arguments_are_tokens() -> None:
    script = script_of(OUT, {"command": {"argv": ["{{ out.x }}", "{{ known }}"], "chdir": "/{{ out.y }}"}}, known=1)
    (turn,) = script["body"][0]["block"][1]["turns"]
    token = script["token"]
    assert turn["step"].call.arguments == {"argv": [f"{token}_0_", "{{ known }}"], "chdir": f"{token}_1_"}
    assert turn["late"] == [{"$template": "{{ out.x }}"}, {"$template": "/{{ out.y }}"}]


def test_a_variable_is_late_from_where_it_is_set() -> None:
    first, second, third = nodes_of({"command": "{{ out }}"}, OUT, {"command": "{{ out }}"}, out="before")
    assert "late" not in first["turns"][0]
    assert "late" not in second["turns"][0]
    assert third["turns"][0]["late"] == [{"$template": "{{ out }}"}]


def test_conditions() -> None:
    script = script_of(
        OUT,
        {"command": 1, "when": ["yes", "out.changed", "not no"]},
        {"command": "{{ nope }}", "when": ["out.changed", "no"]},
        {"command": "{{ nope }}", "when": "out.changed"},
        yes=True,
        no=False,
    )
    dummy, late, false, guarded = script["body"][0]["block"]
    assert late["when"] == [["out.changed", {"$expr": "out.changed"}]]
    assert false["turns"] == [{"skip": "Conditional result was False", "false_condition": "no"}]
    assert guarded["turns"][0]["late"] == [{"$undefined": "'nope' is undefined."}]


def test_what_fails_where_it_runs_for_sure_is_refused() -> None:
    assert "'nope' is undefined" in refusal_of(OUT, {"command": 1, "when": "nope"})
    assert "'nope' is undefined" in refusal_of(OUT, {"debug": {"msg": "{{ nope }}"}})


def test_a_known_loop_has_its_turns() -> None:
    script = script_of(
        OUT,
        {
            "name": "n {{ item }}",
            "command": "{{ item }} {{ out }} {{ of_item }}",
            "loop": ["a", "b"],
            "vars": {"of_item": "<{{ item }}>", "other": "o"},
            "when": "item",
            "changed_when": "item",
            "register": "all",
        },
    )
    node = script["body"][0]["block"][1]
    assert node["looped"] and node["loop_control"] == {"loop_var": "item"}
    assert node["name"] == {"$template": "n {{ item }}"}
    assert node["changed_when"] == [["item", {"$expr": "item"}]]
    assert "vars" not in node and "when" not in node
    assert [turn["item"] for turn in node["turns"]] == ["a", "b"]
    assert [values_of(script, turn, "pinned") for turn in node["turns"]] == [
        {"item": one, "ansible_loop_var": "item", "of_item": f"<{one}>"} for one in ("a", "b")
    ]


def test_late_loops() -> None:
    script = script_of(
        OUT,
        {"command": "{{ one }}", "loop": "{{ out.lines }}", "loop_control": {"loop_var": "one", "index_var": "at"}},
        {"command": "{{ item }}", "with_items": ["{{ out.x }}", "y"]},
        one="not this",
    )
    dummy, loop, items = script["body"][0]["block"]
    assert loop["loop"] == {"$template": "{{ out.lines }}"}
    assert loop["loop_control"] == {"loop_var": "one", "index_var": "at"}
    assert loop["turns"][0]["late"] == [{"$template": "{{ one }}"}]
    assert (items["with"], items["loop"]) == ("items", [{"$template": "{{ out.x }}"}, "y"])
    assert "pinned" not in loop and "vars" not in loop


def test_a_late_loop_of_a_lookup_that_needs_the_controller() -> None:
    assert "with_items" in refusal_of(OUT, {"command": 1, "with_fileglob": "{{ out.x }}"})


def test_what_a_task_says_of_its_result() -> None:
    (node,) = nodes_of(
        {
            "command": 1,
            "register": "own",
            "until": "own.rc",
            "retries": 3,
            "delay": 0,
            "changed_when": ["own.a", "yes"],
            "failed_when": False,
            "ignore_errors": True,
            "notify": ["h", "{{ known }}"],
        },
        yes=True,
        known="k",
        play_handlers=["h", "k"],
    )
    assert node["until"] == [["own.rc", {"$expr": "own.rc"}]]
    assert node["changed_when"] == [["own.a", {"$expr": "own.a"}], ["yes", True]]
    assert node["failed_when"] == [[False, False]]
    assert (node["retries"], node["delay"], node["ignore_errors"], node["notify"]) == (3, 0.0, True, ["h", "k"])


def test_an_environment_is_late_from_its_first_late_layer_on() -> None:
    own = [{"B": "2"}, {"B": "{{ out }}"}, {"C": "3"}]
    dummy, node = nodes_of(OUT, {"command": 1, "environment": own}, entry={"environment": {"A": "1"}})
    assert node["turns"][0]["step"].environment == {"A": "1", "B": "2"}
    assert node["environment"] == [{"B": {"$template": "{{ out }}"}}, {"C": "3"}]


def test_tasks_without_a_module() -> None:
    nodes = nodes_of(
        OUT,
        {"set_fact": {"x": "{{ out }}", "cacheable": True}},
        {"debug": {"var": "x"}},
        {"assert": {"that": "x", "fail_msg": "{{ out }}"}},
        {"fail": {"msg": "m"}},
        {"pause": {"seconds": 1}},
        {"meta": "flush_handlers"},
        {"include_vars": "some.yml"},
        {"command": "{{ of_file }}"},
        files={"some.yml": {"of_file": "{{ x }}"}},
    )
    assert [node["turns"][0].get("local") for node in nodes] == [
        None, "set_fact", "debug", "assert", "fail", "pause", "meta", "include_vars", None,
    ]  # fmt: skip
    args = [node["turns"][0].get("args") for node in nodes]
    assert args[1:8] == [
        {"x": {"$template": "{{ out }}"}, "cacheable": True},
        {"var": {"$expr": "x"}},
        {"that": [["x", {"$expr": "x"}]], "fail_msg": {"$template": "{{ out }}"}},
        {"msg": "m"},
        {"seconds": 1},
        "flush_handlers",
        {"files": ["/play/vars/some.yml"], "data": {"of_file": {"$template": "{{ x }}"}}},
    ]
    assert nodes[8]["turns"][0]["late"] == [{"$template": "{{ of_file }}"}]


def test_a_cacheable_fact_stands_in_ansible_facts() -> None:
    dummy, plain, cached = nodes_of(
        {"set_fact": {"x": 1, "cacheable": True}},
        {"debug": {"msg": "{{ ansible_facts.x }}"}},
        {"debug": {"msg": "{{ x }}"}},
    )
    assert plain["turns"][0]["args"] == {"msg": {"$template": "{{ ansible_facts.x }}"}}
    assert cached["turns"][0]["args"] == {"msg": 1}


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"meta": "end_play"}, ["meta: end_play", "flush_handlers", "Put it in the play"]),
        ({"meta": "{{ out }}"}, ["meta: {{ out }}"]),
        ({"pause": None}, ["'pause'", "'seconds' or 'minutes'"]),
        ({"include_vars": "{{ out.file }}"}, ["'_raw_params'", "'out'", "read at launch"]),
        ({"set_fact": {"{{ out.x }}": 1}}, ["the name of the variable", "'out'"]),
        ({"command": 1, "register": "not a name"}, ["'register'"]),
        ({"command": "{{ lookup('file', out.x) }}"}, ["lookup 'file'", "'out'"]),
    ],
)
def test_refusals_that_stay(task: dict[str, t.Any], words: list[str]) -> None:
    found = refusal_of(OUT, task)
    assert all(word in found for word in ["tasks[0].block[1]", "Nothing was started", *words]), found


FILES = {
    "some.yml": [{"command": "{{ given }} {{ item }}"}, {"command": 2, "register": "inner"}],
    "round.yml": [{"command": "{{ inner }}"}, {"command": 2, "register": "inner"}],
}


def test_includes() -> None:
    script = script_of(
        OUT,
        {"include_tasks": "some.yml", "when": "out.changed", "vars": {"given": "{{ out }}", "item": "i"}},
        {"include_tasks": "some.yml", "loop": ["a", "b"], "vars": {"given": "g"}},
        {"include_tasks": "round.yml", "loop": "{{ out.lines }}"},
        {"import_tasks": "some.yml", "when": "out.changed", "vars": {"given": "g", "item": "i"}},
        files=FILES,
        inner="before",
    )
    dummy, conditional, *unrolled = script["body"][0]["block"]
    assert (conditional["kind"], conditional["when"]) == ("include", [["out.changed", {"$expr": "out.changed"}]])
    inner = conditional["body"][0]
    assert values_of(script, inner, "pinned") == {"given": {"$template": "{{ out }}"}, "item": "i"}
    assert [node["kind"] for node in unrolled] == ["task"] * 4 + ["include"] + ["task"] * 2
    assert unrolled[4]["loop"] == {"$template": "{{ out.lines }}"}
    # what a task of it registers is late for those before it: from the second turn on
    assert unrolled[4]["body"][0]["turns"][0]["late"] == [{"$template": "{{ inner }}"}]
    assert unrolled[5]["when"] == [["out.changed", {"$expr": "out.changed"}]]


def test_handlers_of_roles() -> None:
    role = {
        "tasks": [{"command": 1, "notify": "restart"}, {"meta": "end_role"}],
        "handlers": [
            {"name": "restart", "command": "{{ out }}", "listen": ["topic"]},
            {"name": "other {{ known }}", "debug": {"msg": 1}},
        ],
        "role": "web",
    }
    script = script_of(OUT, {"include_role": {"name": "web"}}, roles={"web": role}, known="k")
    assert [(one["names"], one["listen"]) for one in script["handlers"]] == [
        (["restart", "web : restart"], ["topic"]),
        (["other k", "web : other k"], []),
    ]
    assert script["handlers"][0]["task"]["turns"][0]["late"] == [{"$template": "{{ out }}"}]
    assert script["play_handlers"] == ["of the play"]
    assert [node.get("role") for node in script["body"][0]["block"]] == [None, "web"]


def test_what_a_role_needs_is_looked_at_as_far_as_it_is_known() -> None:
    role = {"tasks": [{"command": 1}], "spec": {"argument_spec": {"size": {}, "colour": {}}}}
    task = {"include_role": {"name": "r"}, "vars": {"size": "{{ out }}"}}
    assert script_of(OUT, task, roles={"r": role}, colour="red")
    assert "missing required arguments: colour" in refusal_of(
        {"debug": None}, {**task, "vars": {"size": 1}}, roles={"r": role}
    )


@pytest.mark.parametrize(
    ("tags", "names"),
    [([], ["a", "b"]), (["never"], ["b"])],
)
def test_what_tags_leave_out_is_not_there(tags: list[str], names: list[str]) -> None:
    nodes = nodes_of({"name": "a", "debug": None, "tags": tags}, {"name": "b", "debug": None})
    assert [node["name"] for node in nodes] == names


@pytest.mark.parametrize(("first", "count"), [(None, 2), ("this", 2), ("another", 1)])
def test_what_runs_once_runs_on_one_host(first: str | None, count: int) -> None:
    assert len(nodes_of({"debug": None, "run_once": True}, {"debug": None}, first_host=first)) == count


def test_what_runs_once_has_nothing_for_the_other_hosts() -> None:
    found = refusal_of(OUT, {"command": 1, "run_once": True, "register": "x"}, first_host="this")
    assert "'run_once'" in found and "before the launch" in found


def test_a_job_of_one_task() -> None:
    task = {"name": "n", "command": 1, "until": "x", "retries": 4, "loop": ["a"], "when": "yes", "timeout": 5}
    (job,) = expand([task], x=True, yes=True)
    assert (job.retries, job.timeout) == (0, 5.0)
    assert job.script is not None
    (node,) = job.script["body"]
    assert (node["retries"], node["until"], node["name"]) == (4, [["x", True]], job.name)
    assert "looped" not in node and "when" not in node and "timeout" not in node


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"block": [{"command": 1}], "until": "x"}, ["'until'", "tasks inside"]),
        ({"command": 1, "register": "x"}, ["'register'", "async_wait"]),
        ({"command": 1, "loop": [1], "with_items": [1]}, ["'loop'", "one loop"]),
    ],
)
def test_bad_jobs(entry: dict[str, t.Any], words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        expand([entry])
    assert all(word in str(caught.value) for word in words), str(caught.value)
