# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way through a script: blocks, includes, handlers, variables, and what is told of them."""

from __future__ import annotations

import json

import pytest

from ansible_collections.background.jobs.plugins.module_utils._late.executor import Executor
from ansible_collections.background.jobs.plugins.module_utils._late.templating import Engine
from ansible_collections.background.jobs.plugins.module_utils._protocol import results

from .scripts import EPOCH, Run, Script, condition, conditions, token

GOOD = {"changed": False}
CHANGED = {"changed": True}
BAD = {"failed": True, "msg": "no", "changed": False}


def block(*nodes, rescue=(), always=()):
    return {"kind": "block", "block": list(nodes), "rescue": list(rescue), "always": list(always)}


def include(s, *body, name="include", **keywords):
    node = s.node(name, "ansible.builtin.include_tasks", None, kind="include", body=list(body), **keywords)
    del node["turns"]
    return node


def role(s, *body, name="r", **keywords):
    return include(s, *body, role=name, **keywords)


def meta(s, what, **keywords):
    return s.local("meta", what, **keywords)


def see(s, expression, name="see"):
    """Return a task whose call gets the value of an expression as its argument `v`."""
    return s.call(name, late=[{"$expr": expression}], arguments={"v": token(0)})


def seen(run, name="see"):
    return [arguments["v"] for called, arguments in run.calls if called == name]


@pytest.fixture(params=["2.19", "2.21"])
def s(request):
    return Script(request.param)


# ---- blocks


@pytest.mark.parametrize(
    ("body", "order", "state"),
    [
        (lambda a, b, c, d: [a, b], "ab", "succeeded"),
        (lambda a, b, c, d: [block(a, b, rescue=[c], always=[d])], "abd", "succeeded"),
        (lambda a, b, c, d: [block(dict(a, name="bad"), b, rescue=[c], always=[d])], "bad cd", "succeeded"),
        (lambda a, b, c, d: [block(dict(a, name="bad"), b, always=[d]), c], "bad d", "failed"),
        (
            lambda a, b, c, d: [block(dict(a, name="bad"), rescue=[dict(c, name="bad")], always=[d])],
            "bad bad d",
            "failed",
        ),
        (lambda a, b, c, d: [block(a, always=[dict(d, name="bad")]), b], "abad", "failed"),
        (lambda a, b, c, d: [block(block(dict(a, name="bad"), always=[b]), rescue=[c]), d], "bad bcd", "succeeded"),
        (lambda a, b, c, d: [dict(a, name="bad", ignore_errors=True), b], "bad b", "succeeded"),
    ],
)
def test_the_way_through_blocks(body, order, state):
    s = Script()
    run = Run(s.of(body(*(s.call(name) for name in "abcd"))), {"bad": [BAD]})
    assert "".join(run.names) == order.replace(" ", "")
    assert run.state == state


def test_a_rescue_knows_what_failed_and_so_do_those_after_it(s):
    failing = s.call("bad", register="out")
    after = see(s, "ansible_failed_task.name", "after")
    run = Run(s.of([block(failing, rescue=[see(s, "ansible_failed_result.msg")]), after]), {"bad": [BAD]})
    assert (seen(run), seen(run, "after")) == (["no"], ["bad"])
    assert run.report["rescued"] is True
    assert run.report["facts"] == {}


@pytest.mark.parametrize("register", [{}, {"register": "out"}])
def test_older_cores_tell_a_rescue_how_a_module_was_called_and_register_it_not(register):
    s = Script("2.19")
    answer = dict(BAD, invocation={"module_args": {"a": 1}})
    rescue = see(s, "[ansible_failed_result.invocation.module_args, out.invocation is defined]")
    run = Run(s.of([block(s.call("bad", **register), rescue=[rescue])]), {"bad": [answer]})
    assert seen(run) == [[{"a": 1}, False]]
    assert json.loads(run.report["results"][0]["result"]) == dict(BAD, exception="(traceback unavailable)")


def test_a_failure_that_nobody_rescues_is_the_job_s(s):
    run = Run(s.of([s.call("fine"), s.call("bad"), s.call("never")]), {"bad": [BAD]})
    assert (run.state, run.result["msg"]) == ("failed", "no")
    assert run.report["culprit"] == 1
    assert run.report["results"][1]["where"] == "tasks.yml:1"


def test_the_last_failure_where_it_is_ignored_is_no_failure_of_the_job(s):
    run = Run(s.of([s.call("bad", ignore_errors=True)]), {"bad": [BAD]})
    assert (run.state, run.result["failed"]) == ("succeeded", False)
    assert run.report["results"][0]["ignored"] is True


@pytest.mark.parametrize(("says", "state"), [("{{ out.changed }}", "succeeded"), ("{{ not out.changed }}", "failed")])
def test_whether_errors_are_ignored_may_be_known_late(s, says, state):
    body = [s.call("first", register="out"), s.call("bad", ignore_errors={"$template": says})]
    assert Run(s.of(body), {"first": [CHANGED], "bad": [BAD]}).state == state


# ---- variables


def test_variables_count_in_the_order_that_core_has():
    s = Script()
    order = ["pinned", "set", "included", "vars", "facts"]
    body = [
        s.local("include_vars", {"data": dict.fromkeys(order[:3], "included")}),
        s.local("set_fact", dict.fromkeys(order[:2], "set")),
    ]
    expression = "[%s]" % ", ".join(order)
    node = see(s, expression)
    node["vars"] = s.pins(**dict.fromkeys(order[:4], "vars"))
    node["facts"] = s.pins(**dict.fromkeys(order, "facts"))
    node["pinned"] = s.pins(pinned="pinned")
    assert seen(Run(s.of([*body, node]))) == [order]


def test_variables_that_were_set_before_count_more_than_those_of_a_file(s):
    node = see(s, "[set, new, out.ansible_facts]")
    node["vars"] = s.pins(set="before", new="before")
    read = s.local("include_vars", {"data": {"set": "read", "new": "read"}, "weaker": ["set"]}, register="out")
    assert seen(Run(s.of([read, node]))) == [["before", "read", {"set": "read", "new": "read"}]]


def test_facts_that_a_module_returns_are_there_at_once_with_both_names(s):
    facts = {"ansible_distribution": "Debian", "packages": {"vim": []}, "ansible_host": "evil"}
    node = see(s, "[ansible_facts.distribution, ansible_distribution, packages, ansible_facts.known, ansible_host]")
    node["facts"] = s.pins(ansible_facts={"known": 1, "distribution": "old"}, ansible_distribution="old")
    node["vars"] = s.pins(ansible_host="host")
    run = Run(s.of([s.call("gather"), node]), {"gather": [dict(GOOD, ansible_facts=facts)]})
    assert seen(run) == [["Debian", "Debian", {"vim": []}, 1, "host"]]
    assert run.report["facts"] == facts


def test_facts_and_notifications_of_what_failed_do_not_count(s):
    s.more["play_handlers"] = ["restart"]
    gather = s.call("gather", ignore_errors=True, notify=["restart"])
    answer = dict(BAD, changed=True, ansible_facts={"f": 1})
    run = Run(s.of([gather, see(s, "f is defined")]), {"gather": [answer]})
    assert (seen(run), run.report["facts"], run.report["notified"]) == ([False], {}, [])


def test_what_a_task_returns_is_seen_by_its_own_conditions(s):
    gather = s.call("gather", changed_when="f == 1 and ansible_facts.f == 1")
    run = Run(s.of([gather]), {"gather": [dict(GOOD, ansible_facts={"f": 1})]})
    assert run.result["changed"] is True


def test_facts_come_back_and_say_which_of_them_are_to_be_kept(s):
    body = [
        s.local("set_fact", {"a": 1, "cacheable": True}),
        s.local("set_fact", {"b": {"$template": "{{ a + 1 }}"}}),
        s.local("set_fact", {"c": 3}, no_log=True),
        see(s, "[a, b, c, ansible_facts.a]"),
    ]
    run = Run(s.of(body))
    assert seen(run) == [[1, 2, 3, 1]]
    assert (run.report["facts"], run.report["cacheable"]) == ({"a": 1, "b": 2}, ["a"])


def test_what_modules_gather_comes_back_as_that_where_nothing_has_set_it(s):
    body = [s.call("gather"), s.local("set_fact", {"set": 2})]
    run = Run(s.of(body), {"gather": [dict(GOOD, ansible_facts={"ansible_f": 1, "set": 1})]})
    assert run.report["facts"] == {"ansible_f": 1, "set": 2}
    assert (run.report["gathered"], run.report["cacheable"]) == (["ansible_f"], [])


def test_included_variables_are_worked_out_where_they_are_used(s):
    body = [
        s.local("include_vars", {"data": {"greeting": {"$template": "hello {{ who }}"}}, "files": ["vars.yml"]}),
        s.local("set_fact", {"who": "you"}),
        see(s, "greeting"),
    ]
    run = Run(s.of(body))
    assert seen(run) == ["hello you"]
    assert run.report["facts"] == {"who": "you"}


def test_what_modules_return_is_never_looked_into(s):
    evil = {"stdout": "{{ 1 + 1 }}", "list": [{"$template": "{{ 1 + 1 }}"}, "{% raw %}"], "changed": False}
    body = [s.call("evil", register="out"), see(s, "[out.stdout, out.list]")]
    body.append(s.call("loop", loop={"$expr": "out.list"}, late=[{"$expr": "item"}], arguments={"v": token(0)}))
    run = Run(s.of(body), {"evil": [evil]})
    assert seen(run) == [["{{ 1 + 1 }}", [{"$template": "{{ 1 + 1 }}"}, "{% raw %}"]]]
    assert seen(run, "loop") == evil["list"]


# ---- arguments


def test_arguments_keep_their_types_and_omitted_ones_are_left_out():
    s = Script()
    late = [{"$expr": "out"}, {"$template": "{{ omit }}"}, {"$expr": "out.n"}]
    arguments = {"a": token(0), "b": token(1), "c": "n=" + token(2), "d": [token(1), token(2)], token(2): 1}
    run = Run(s.of([s.call("one", register="out"), s.call("two", late=late, arguments=arguments)]), {"one": [{"n": 3}]})
    got = run.calls[1][1]
    assert (got["a"]["n"], got["c"], got["d"], got["3"]) == (3, "n=3", [3], 1)
    assert "b" not in got


def test_the_words_of_a_command_line_are_texts():
    s = Script()
    node = s.call("script", late=[{"$expr": "1 + 1"}, {"$template": "{{ omit }}"}])
    node["turns"][0]["calls"][0]["params"] = json.dumps({"command": ["echo", token(0), token(1), "x" + token(0)]})
    assert Run(s.of([node])).calls == [("script", {"command": ["echo", "2", "x2"]})]


def test_environments_are_merged_in_order_as_texts():
    s = Script()
    node = s.call(
        "env", environment=[{"A": {"$expr": "1 + 1"}, "B": "late"}, {"$expr": "{'B': true}"}, {"$omit": True}]
    )
    node["turns"][0].update(environment={"A": "known", "C": token(0)}, late=[{"$expr": "3"}])
    assert Run(s.of([node])).steps[0]["environment"] == {"A": "2", "B": "True", "C": "3"}


def test_a_recipe_decides_with_values_in_place(s):
    node = s.call("script", late=[{"$expr": "out.there"}])
    turn = node["turns"][0]
    call = {"payload": "p", "module": "probe", "params": json.dumps({"ANSIBLE_MODULE_ARGS": {"p": token(0)}})}
    turn["calls"] = [call, call]
    turn["recipe"] = {
        "kind": "script",
        "unless": [{"call": 0, "there": True, "result": {"skipped": True, "msg": token(0)}}],
        "run": 1,
    }
    body = [s.call("one", register="out"), node]
    skipped = Run(s.of(body), {"one": [{"there": "/x"}], "script": [{"rc": 0, "stdout": "", "stderr": ""}]})
    assert skipped.names == ["one", "script"]
    assert skipped.entries()[1] == ("script", "skipped")
    assert json.loads(skipped.report["results"][1]["result"])["msg"] == "/x"


def test_a_recipe_goes_on_with_what_its_calls_return(s):
    node = s.call("script", register="out")
    turn = node["turns"][0]
    turn["calls"] *= 2
    turn["recipe"] = {"kind": "script", "unless": [{"call": 0, "there": True, "result": {}}], "run": 1}
    answers = [{"rc": 1, "stdout": "", "stderr": ""}, {"rc": 0, "stdout": "a\nb", "stderr": ""}]
    run = Run(s.of([node, see(s, "out.stdout_lines")]), {"script": answers})
    assert seen(run) == [["a", "b"]]
    assert [step["name"] for step in run.steps] == ["script", "script", "see"]


@pytest.mark.parametrize(
    ("late", "data"),
    [
        ({"content": {"$expr": "out.n"}}, b"3"),
        ({"content": {"$expr": "{'a': out.n}"}}, b'{"a": 3}'),
        ({"template": {"text": "n={{ out.n }}\n", "options": {}}}, b"n=3\n"),
        ({"fill": "x" + token(0) + "\n"}, b"x3\n"),
    ],
)
def test_files_whose_contents_are_late_are_put_in_their_place(late, data):
    s = Script()
    node = s.call("copy", late=[{"$expr": "out.n"}], arguments={"sha1": token(5)})
    node["turns"][0]["render"] = [dict(late, file="0/f", sha1=5, mode=0o644)]
    run = Run(s.of([s.call("one", register="out"), node]), {"one": [{"n": 3}]})
    assert run.files == {"0/f": (data, 0o644)}
    assert len(run.calls[1][1]["sha1"]) == 40


@pytest.mark.parametrize("late", [{"content": {"$expr": "nope"}}, {"fill": "x" + token(0)}])
def test_contents_that_cannot_be_worked_out_are_those_of_an_argument(s, late):
    node = s.node("copy", "ansible.builtin.copy", s.turn([{"$expr": "nope"}], dest="/f"))
    node["turns"][0]["render"] = [dict(late, file="0/f", sha1=5, mode=0o644)]
    assert Run(s.of([node])).result["msg"] == (
        "Task failed: Finalization of task args for 'ansible.builtin.copy' failed: "
        "Error while resolving value for 'content': 'nope' is undefined"
    )


@pytest.mark.parametrize(("expression", "text"), [("out.n", "3"), ("{'a': out.n}", '{"a": 3}')])
def test_a_difference_shows_the_text_that_a_content_comes_to(s, expression, text):
    content = {"$expr": expression}
    node = s.call("copy", late=[content], arguments={"after": token(0)})
    node["turns"][0]["render"] = [{"content": content, "number": 0, "file": "0/f"}]
    run = Run(s.of([s.call("one", register="out"), node]), {"one": [{"n": 3}]})
    assert run.calls[1][1]["after"] == text


# ---- loops


@pytest.mark.parametrize(("core", "without"), [("2.19", ["warnings"]), ("2.21", None)])
def test_older_cores_move_the_messages_of_items_to_the_loop(core, without):
    s = Script(core)
    run = Run(s.of([s.call("warns", loop=[1, 2], register="out")]), {"warns": [dict(GOOD, warnings=["odd"])]})
    assert run.report["registered"]["out"].get("without") == without
    assert run.report["registered"]["out"]["more"]["warnings"] == ["odd", "odd"]


@pytest.mark.parametrize(("core", "told"), [("2.19", [None, 1]), ("2.21", ["none", 1])])
def test_an_item_that_is_null_is_told_by_older_cores_only(core, told):
    s = Script(core)
    run = Run(
        s.of([s.call(loop=[None, 1], register="out"), see(s, "out.results | map(attribute='item', default='none')")])
    )
    assert seen(run) == [told]


def test_all_turns_of_a_loop_run_even_where_one_fails(s):
    node = s.call(
        "loop", loop={"$expr": "out.list"}, late=[{"$expr": "item"}], arguments={"v": token(0)}, register="all"
    )
    body = [s.call("one", register="out"), block(node, rescue=[see(s, "all.results | map(attribute='failed') | list")])]
    run = Run(s.of(body), {"one": [{"list": [1, 2, 3]}], "loop": [GOOD, BAD, GOOD]})
    assert seen(run, "loop") == [1, 2, 3]
    assert seen(run) == [[False, True, False]]
    assert [entry.get("item") for entry in run.report["results"][1:4]] == [1, 2, 3]


def test_a_loop_known_at_launch_registers_as_any(s):
    turns = [dict(s.turn(), item="shown %d" % n, pinned=s.pins(item={"n": n}, own=n)) for n in (1, 2)]
    turns[1].update(skip="Conditional result was False", false_condition="item.n == 1")
    node = s.node(
        "loop", "ansible.builtin.probe", None, turns=turns, looped=True, register="out", changed_when="own == 1"
    )
    body = [node, see(s, "out.results | map(attribute='item.n') | list"), see(s, "out.results[1].false_condition")]
    run = Run(s.of(body))
    assert seen(run) == [[1, 2], "item.n == 1"]
    assert [entry.get("item") for entry in run.report["results"][:2]] == ["shown 1", "shown 2"]
    assert run.report["registered"]["out"]["entries"] == [0, 1]


def test_later_turns_see_what_those_before_have_registered(s):
    node = s.call("loop", loop=[1, 2, 3], register="out", when="out is not defined or out.n < 2")
    run = Run(s.of([node]), {"loop": [{"n": 1}, {"n": 2}]})
    assert run.names == ["loop", "loop"]
    assert run.entries()[2] == ("loop", "skipped")


def test_loops_pause_between_turns_and_show_labels():
    s = Script()
    control = {"pause": 3, "label": {"$template": "no. {{ item }}"}, "index_var": "i"}
    node = s.call("loop", loop=[5, 6], loop_control=control, late=[{"$expr": "i"}], arguments={"v": token(0)})
    run = Run(s.of([node]))
    assert (run.waits, seen(run, "loop")) == ([3.0], [0, 1])
    assert [entry["item"] for entry in run.report["results"]] == ["no. 5", "no. 6"]


def breaking(condition, **more):
    return dict(more, loop=[1, 2, 3], register="out", loop_control={"break_when": conditions(condition)})


def test_a_loop_ends_with_the_item_that_breaks_it(s):
    run = Run(s.of([s.call("loop", **breaking(["out.n == 2", "item > 1"]))]), {"loop": [{"n": 1}, {"n": 2}]})
    assert run.names == ["loop", "loop"]
    told = [json.loads(entry["result"]).get("break_when_result") for entry in run.report["results"]]
    assert told == ([False, True] if s.more["core"] == "2.21" else [None, None])


def test_items_that_are_skipped_are_looked_at_too(s):
    run = Run(s.of([s.call("loop", when="item > 1", **breaking("out is skipped"))]))
    assert (run.names, run.state) == ([], "succeeded")


def test_a_loop_fails_where_it_cannot_be_told_whether_it_ends(s):
    run = Run(s.of([s.call("loop", **breaking("nope == item"))]))
    assert (run.names, run.state) == (["loop"], "failed")
    told = run.report["registered"]["out"]
    failed = run.report["results"][run.report["culprit"]]
    assert "'nope' is undefined" in str(json.loads(failed["result"])) and failed["state"] == "failed"
    assert told == {"entry": 1} if s.more["core"] != "2.21" else told["entries"] == [0] and told["more"]["failed"]


def test_what_changes_a_result_afterwards_tells_nothing_that_is_hidden(s):
    bodies = [
        s.call("bad", no_log=True, **breaking("nope")),
        s.call("bad", no_log=True, notify=["nobody"]),
    ]
    for body in bodies:
        run = Run(s.of([body]), {"bad": [{"v": "hidden value", "changed": True}]})
        assert run.state == "failed"
        assert "hidden value" not in "".join(run.executor.report())


def test_a_registered_loop_refers_to_its_turns_and_is_not_told_twice():
    s = Script()
    run = Run(s.of([s.call("loop", loop=[1, 2], register="out")]), {"loop": [dict(GOOD, text="x" * 1000)]})
    assert run.report["registered"] == {
        "out": {"entries": [0, 1], "more": {"changed": False, "failed": False, "msg": "All items completed"}}
    }
    assert "".join(run.executor.report()).count("x" * 1000) == 2


# ---- trying again


def test_a_task_is_tried_again_until_its_condition_holds(s):
    node = s.call("try", until="out.n == 3", retries=5, delay=7, register="out")
    run = Run(s.of([node]), {"try": [{"n": 1}, {"n": 2}, {"n": 3}]})
    assert (run.waits, run.result["attempts"]) == ([7.0, 7.0], 3)
    assert run.report["results"][0]["attempts"] == 3


def test_arguments_are_worked_out_once_for_all_attempts(s):
    node = s.call(
        "try", until="out.n == 2", retries=5, register="out", late=[{"$expr": "out.n"}], arguments={"v": token(0)}
    )
    run = Run(s.of([s.call("first", register="out"), node]), {"first": [{"n": 0}], "try": [{"n": 1}, {"n": 2}]})
    assert [arguments["v"] for name, arguments in run.calls if name == "try"] == [0, 0]


def test_how_often_may_be_known_late():
    s = Script()
    body = [
        s.call("one", register="out"),
        s.call("bad", retries={"$expr": "out.n"}, delay={"$expr": "out.n + 1"}, backoff=2),
    ]
    run = Run(s.of(body), {"one": [{"n": 2}], "bad": [BAD]})
    assert (run.state, run.waits) == ("failed", [3.0, 6.0])


def test_a_task_with_until_is_tried_four_times_where_it_does_not_say():
    s = Script()
    assert Run(s.of([s.call("bad", until="out is succeeded", register="out")]), {"bad": [BAD]}).waits == [5.0] * 3


# ---- includes and roles


def test_an_include_asks_its_condition_once(s):
    body = [
        s.local("set_fact", {"go": True}),
        include(s, s.local("set_fact", {"go": False}), s.call("inside"), when="go"),
        include(s, s.call("never"), when="go", register="left_out"),
    ]
    run = Run(s.of(body))
    assert run.names == ["inside"]
    assert run.variables["left_out"]["skipped"] is True


def test_what_is_included_sees_the_variables_of_the_loop(s):
    inner = s.call(
        "inner", loop={"$expr": "[outer * 10]"}, late=[{"$expr": "[outer, item, i]"}], arguments={"v": token(0)}
    )
    control = {"loop_var": "outer", "index_var": "i"}
    body = [
        s.call("one", register="out"),
        include(s, inner, see(s, "outer"), loop={"$expr": "out.list"}, loop_control=control),
    ]
    run = Run(s.of(body), {"one": [{"list": [1, 2]}]})
    assert seen(run, "inner") == [[1, 10, 0], [2, 20, 1]]
    assert run.names == ["one", "inner", "see", "inner", "see"]


def test_a_failing_include_fails_as_a_task(s):
    body = [block(include(s, s.call("never"), when="nope"), rescue=[s.call("saved")])]
    assert Run(s.of(body)).names == ["saved"]


@pytest.mark.parametrize("role", [role, lambda s, *body: dict(block(*body), role="r")], ids=["include", "block"])
def test_the_end_of_a_role_leaves_out_the_rest_of_it_and_no_more(s, role):
    inside = role(
        s, s.call("a"), block(meta(s, "end_role", when="stop"), s.call("b"), always=[s.call("c")]), s.call("d")
    )
    nested = role(s, inside, s.call("e"))
    body = [s.local("set_fact", {"stop": True}), nested, s.call("f")]
    assert Run(s.of(body)).names == ["a", "e", "f"]
    body[0] = s.local("set_fact", {"stop": False})
    assert Run(s.of(body)).names == ["a", "b", "c", "d", "e", "f"]


# ---- handlers


def handler(s, name, *, listen=(), names=(), **keywords):
    return {"names": [name, "r : " + name, *names], "listen": list(listen), "task": s.call(name, **keywords)}


def test_handlers_run_once_at_the_end_in_the_order_of_definition(s):
    s.more["handlers"] = [handler(s, "h1"), handler(s, "h2", listen=["topic"]), handler(s, "h3", listen=["topic"])]
    body = [s.call("a", notify=["h3", "topic"]), s.call("b", notify=["r : h1"]), s.call("c", notify=["h1"])]
    run = Run(s.of(body), {"a": [CHANGED], "c": [CHANGED], "b": [CHANGED]})
    assert run.names == ["a", "b", "c", "h1", "h2", "h3"]


def test_only_what_has_changed_something_notifies(s):
    s.more["handlers"] = [handler(s, "h")]
    assert Run(s.of([s.call("a", notify=["h"])])).names == ["a"]
    assert Run(s.of([s.call("a", notify=["h"], changed_when=True)])).names == ["a", "h"]


@pytest.mark.parametrize("forced", [False, True])
def test_handlers_do_not_run_after_a_failure_unless_they_are_forced(s, forced):
    s.more.update(handlers=[handler(s, "h")], force_handlers=forced)
    run = Run(s.of([s.call("a", notify=["h"]), s.call("bad")]), {"a": [CHANGED], "bad": [BAD]})
    assert (run.names, run.state) == (["a", "bad", *(["h"] if forced else [])], "failed")


def test_handlers_can_be_flushed_and_notified_again(s):
    s.more["handlers"] = [handler(s, "h")]
    body = [s.call("a", notify=["h"]), meta(s, "flush_handlers"), s.call("b"), s.call("c", notify=["h"])]
    run = Run(s.of(body), {"a": [CHANGED], "c": [CHANGED]})
    assert run.names == ["a", "h", "b", "c", "h"]


def test_handlers_are_flushed_only_where_the_condition_holds(s):
    s.more["handlers"] = [handler(s, "h")]
    body = [
        s.call("a", notify=["h"], register="out"),
        meta(s, "flush_handlers", when="out is not changed"),
        s.call("b"),
    ]
    assert Run(s.of(body), {"a": [CHANGED]}).names == ["a", "b", "h"]


def test_handlers_notify_handlers(s):
    s.more["handlers"] = [handler(s, "h1"), handler(s, "h2", notify=["h3", "h1"]), handler(s, "h3")]
    run = Run(s.of([s.call("a", notify=["h2"])]), {"a": [CHANGED], "h2": [CHANGED]})
    assert run.names == ["a", "h2", "h3", "h1"]  # that before it waits for the next flush


def test_a_failing_handler_fails_the_job_and_those_after_it_do_not_run(s):
    s.more["handlers"] = [handler(s, "bad"), handler(s, "h")]
    run = Run(s.of([s.call("a", notify=["h", "bad"])]), {"a": [CHANGED], "bad": [BAD]})
    assert (run.names, run.state, run.result["msg"]) == (["a", "bad"], "failed", "no")


def test_a_handler_that_is_flushed_can_be_rescued(s):
    s.more["handlers"] = [handler(s, "bad")]
    body = [block(s.call("a", notify=["bad"]), meta(s, "flush_handlers"), rescue=[s.call("saved")])]
    run = Run(s.of(body), {"a": [CHANGED], "bad": [BAD]})
    assert (run.names, run.state) == (["a", "bad", "saved"], "succeeded")


def test_the_last_handler_of_a_name_counts(s):
    second = handler(s, "h", register="second")
    s.more["handlers"] = [handler(s, "h", register="first"), second]
    run = Run(s.of([s.call("a", notify=["h"])]), {"a": [CHANGED]})
    assert sorted(run.variables) == ["second"]


def test_notifications_for_the_play_are_handed_back(s):
    s.more.update(play_handlers=["restart", "reload", "topic"], handlers=[handler(s, "h", listen=["topic"])])
    body = [s.call("a", notify=["restart", "topic"]), s.call("b", notify=["reload"]), s.call("c", notify=["restart"])]
    run = Run(s.of(body), {"a": [CHANGED], "c": [CHANGED]})
    assert run.report["notified"] == ["restart", "topic"]
    assert run.names == ["a", "b", "c", "h"]


def test_a_notification_may_be_known_late_and_each_turn_has_its_own(s):
    s.more["play_handlers"] = ["restart a", "restart b", "restart c"]
    node = s.call("loop", loop=["a", "b", "c"], when="item != 'c'", notify=[{"$template": "restart {{ item }}"}])
    assert Run(s.of([node]), {"loop": [CHANGED, GOOD]}).report["notified"] == ["restart a", "restart b"]


def test_a_notification_that_nobody_listens_to_is_an_error(s):
    run = Run(s.of([s.call("a", notify=["nobody"]), s.call("b")]), {"a": [CHANGED]})
    assert (run.state, run.names) == ("failed", ["a"])
    assert run.result["msg"].startswith("The requested handler 'nobody' was not found in either the main handlers")


def test_ansible_may_be_told_to_forgive_that_there_is_no_handler(s):
    s.more.update(missing_handlers_fail=False, play_handlers=["restart"])
    node = s.call("a", notify=["nobody", "restart"])
    run = Run(s.of([node]), {"a": [CHANGED]})
    assert (run.state, run.report["notified"]) == ("succeeded", ["restart"])


# ---- what is hidden


def test_nothing_of_a_hidden_task_is_told_but_expressions_see_it(s):
    secret = {"changed": True, "rc": 0, "v": "secret", "ansible_facts": {"f": "secret"}}
    body = [s.call("hidden", no_log=True, register="out", loop=["secret"]), see(s, "[out.results[0].v, f]")]
    run = Run(s.of(body), {"hidden": [secret]})
    assert seen(run) == [["secret", "secret"]]
    assert "secret" not in json.dumps(run.report)
    assert run.report["results"][0]["changed"] is True


def test_what_is_hidden_later_does_not_come_back_with_what_it_was(s):
    body = [s.call("open", register="out"), s.call("hidden", register="out", no_log=True)]
    run = Run(s.of(body), {"open": [dict(GOOD, v=1)]})
    assert run.report["registered"] == {}


def test_a_hidden_job_tells_nothing(s):
    run = Run(
        s.of([s.call("a", register="out"), s.local("set_fact", {"f": "secret"})]),
        {"a": [{"v": "secret"}]},
        {"no_log": True},
    )
    assert "secret" not in json.dumps(run.report)
    assert (run.report["registered"], run.report["facts"]) == ({}, {})


# ---- what is told


def test_times_and_attempts_are_told_of_each_task():
    s = Script()
    run = Run(s.of([s.call("a"), s.local("pause", {"seconds": 2})]))
    first, second = run.report["results"]
    assert (first["started_at"], first["ended_at"], first["duration"]) == (EPOCH + 1, EPOCH + 1, 0.0)
    assert second["duration"] == 2.0
    assert (first["section"], first["module"]) == ("block", "ansible.builtin.probe")


@pytest.mark.parametrize(("nodes", "alone"), [(1, True), (2, False)])
def test_a_job_of_one_task_says_so(nodes, alone):
    s = Script()
    run = Run(s.of([s.call() for dummy in range(nodes)]))
    assert (run.executor.is_block, run.report.get("alone", False)) == (not alone, alone)


def test_messages_are_said_while_the_job_runs():
    s = Script()
    body = [s.local("debug", {"msg": "one"}), s.local("debug", {"msg": "two"}, no_log=True), s.call("a")]
    assert Run(s.of(body)).executor.take_said() == "one\n"


def test_names_may_be_known_late():
    s = Script()
    body = [s.call("one", register="out"), s.call({"$template": "number {{ out.n }}"}, arguments={"name": ""})]
    assert Run(s.of(body), {"one": [{"n": 3}]}).names == ["one", "number 3"]


def test_nothing_to_do_is_a_success():
    s = Script()
    run = Run(s.of([s.call("a", when=False)]))
    assert (run.state, run.result["skipped"]) == ("succeeded", True)


# ---- endings


def test_an_aborted_job_does_what_is_always_done():
    s = Script()
    body = [
        block(
            s.call("a"),
            s.call("b"),
            rescue=[s.call("r")],
            always=[s.call("c"), block(s.call("d"), always=[s.call("e")])],
        ),
        s.call("f"),
    ]

    def interfere(executor, name):
        return name == "a" and executor.abort("cancelled", "cancelled while it ran")

    run = Run(s.of(body), interfere=interfere)
    assert run.names == ["a", "c", "d", "e"]
    assert (run.state, run.result["msg"]) == ("cancelled", "cancelled while it ran")
    assert run.entries()[0] == ("a", "cancelled")


def test_what_is_always_done_can_be_given_up():
    s = Script()

    def interfere(executor, name):
        if name == "a":
            return executor.abort("timed_out", "too long")
        if name == "c":
            executor.give_up("; and so was this")
            return True
        return False

    run = Run(s.of([block(s.call("a"), always=[s.call("c"), s.call("d")])]), interfere=interfere)
    assert (run.names, run.result["msg"]) == (["a", "c"], "too long; and so was this")


@pytest.mark.parametrize("node", ["pause", "retry", "loop"])
def test_an_abort_cuts_waiting_short(node):
    s = Script()
    waiting = {
        "pause": lambda: s.local("pause", {"minutes": 5}),
        "retry": lambda: s.call("bad", retries=5),
        "loop": lambda: s.call("turn", loop=[1, 2], loop_control={"pause": 9}),
    }[node]()

    def interfere(executor, name):
        return name is None and executor.abort("cancelled", "enough")

    run = Run(s.of([waiting, s.call("never")]), {"bad": [BAD]}, interfere=interfere)
    assert (run.state, "never" in run.names, len(run.waits)) == ("cancelled", False, 1)


def test_handlers_do_not_run_where_the_job_was_ended():
    s = Script(force_handlers=True)
    s.more["handlers"] = [handler(s, "h")]

    def interfere(executor, name):
        return name == "b" and executor.abort("cancelled", "enough")

    assert Run(s.of([s.call("a", notify=["h"]), s.call("b")]), {"a": [CHANGED]}, interfere=interfere).names == [
        "a",
        "b",
    ]


def test_actions_see_that_their_arguments_are_wrong():
    s = Script()
    wrong = [
        s.local("set_fact", {"a": 1, "cacheable": "perhaps"}, ignore_errors=True),
        s.local("pause", {"seconds": "some"}, ignore_errors=True),
        s.local("debug", {"verbosity": "much"}, ignore_errors=True),
        s.local("assert", {"that": [condition(True)], "fail_msg": 3}, ignore_errors=True),
    ]
    run = Run(s.of(wrong))
    assert run.entries() == [(node["name"], "failed") for node in wrong]
    assert all("msg" in json.loads(entry["result"]) for entry in run.report["results"])


def test_modules_that_read_other_arguments_than_json_get_values_as_text():
    s = Script()
    node = s.call("old", late=[{"$expr": "1 + 1"}, {"$template": "{{ omit }}"}])
    node["turns"][0]["calls"][0]["params"] = "a=%s b='%s'" % (token(0), token(1))
    run_of = Executor({"no_log": False}, s.of([node]), Engine("2.21"), lambda now: now)
    assert run_of.begin(0.0).call["params"] == "a=2 b=''"


def test_results_wait_outside_of_memory_unless_they_are_variables():
    s, kept = Script(), []

    def put(text):
        kept.append(text)
        return lambda: text

    body = [s.call("a"), s.call("b", register="out"), s.call("c", no_log=True)]
    run_of = Executor({"no_log": False}, s.of(body), Engine("2.21"), lambda now: now, put=put)
    run_of.begin(0.0)
    for n in range(3):
        run_of.took(results.of({"n": n}), 1.0)
    assert [json.loads(text).get("n") for text in kept] == [0, None]
    report = json.loads("".join(run_of.report()))
    assert [json.loads(entry["result"]).get("n") for entry in report["results"]] == [0, 1, None]
