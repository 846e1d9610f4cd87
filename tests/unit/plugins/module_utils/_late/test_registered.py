# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks register, compared with what ansible-core has registered of the same tasks."""

from __future__ import annotations

import pytest

from .registered import ALIKE, APART
from .scripts import Run, Script, condition, token

TEMPLATE = {"$template": "{{ nope }}"}
NOT_HERE = ("start", "end", "delta", "stop")


def _command(core, **changes):
    result = {"changed": True, "cmd": ["echo", "hi"], "msg": "", "rc": 0, "stderr": "", "stdout": "hi"}
    return dict(result, **changes)


def _failing(core):
    message = {"2.19": "non-zero return code", "2.21": "The command exited with a non-zero return code."}[core]
    return _command(core, cmd=["false"], msg=message, rc=1, stdout="", failed=True)


class _Tasks:
    """Makes (node, what its calls return)."""

    def __init__(self, core):
        self.s = Script(core)
        self.good, self.bad = _command(core), _failing(core)
        self.echo = [_command(core, cmd=["echo", str(n)], stdout=str(n)) for n in (1, 2)]

    def command(self, name, *answers, **keywords):
        node = self.s.call(name, **keywords)
        node["module"] = "ansible.builtin.command"
        return node, answers or [self.good]

    def local(self, name, action, args=None, **keywords):
        return self.s.local(action, args, name=name, **keywords), ()

    def include(self, name, **keywords):
        turn = {"local": "include", "args": {"file": "inc.yml", "args": {}}}
        keywords.update(kind="include", body=[])
        return self.s.node(name, "ansible.builtin.include_tasks", turn, **keywords), ()

    def commands(self):
        yield self.command("cmd_ok")
        yield self.command("cmd_rc", self.bad)
        yield self.command("skip2", when=[True, "cmd_ok.rc == 1"])
        yield self.command("when_undef", when="nope.x")
        yield self.command("arg_undef", arguments={"_raw_params": token(0)}, late=[{"$template": "echo {{ nope }}"}])
        yield self.command("cw_false", changed_when=False)
        yield self.command("cw_undef", changed_when="nope")
        yield self.command("cw_undef_rc", self.bad, changed_when="nope")
        yield self.command("fw_true", failed_when=True)
        yield self.command("fw_false", self.bad, failed_when=False)
        yield self.command("fw_true_rc", self.bad, failed_when=[True])
        yield self.command("fw_undef", failed_when="nope")
        yield self.command("fw_undef_rc", self.bad, failed_when="nope")
        yield self.command("until_never", until=False, retries=2, delay=0)
        yield self.command("retries_only", self.bad, retries=2, delay=0)
        yield self.command("until_ok", until=True, retries=2, delay=0)
        yield self.command("until_undef", until="nope", retries=2, delay=0)
        yield self.command("un_attempts", until="un_attempts.attempts == 2", retries=3, delay=0)
        yield self.command("until_fw", self.bad, until=False, retries=1, delay=0, failed_when=False)

    def actions(self):
        yield self.local("debug_msg", "debug", {"msg": "x"})
        yield self.local("debug_none", "debug")
        yield self.local("debug_var", "debug", {"var": {"$expr": "cmd_ok.rc"}})
        yield self.local("debug_undef", "debug", {"var": {"$expr": "nope"}})
        yield self.local("debug_verb", "debug", {"msg": "x", "verbosity": 3})
        yield self.local("debug_arg_undef", "debug", {"msg": TEMPLATE})
        yield self.local("debug_failed", "debug", {"msg": "x"}, failed_when=True)
        yield self.local("assert_ok", "assert", {"that": [condition(True)]})
        yield self.local("assert_no", "assert", {"that": [condition("1 == 2")]})
        yield self.local("assert_no2", "assert", {"that": [condition("1 == 1")], "success_msg": True})
        yield self.local("assert_undef", "assert", {"that": [condition("nope")]})
        yield self.local("assert_nonbool", "assert", {"that": [condition("cmd_ok.rc")]})
        yield self.local("assert_empty", "assert", {"that": [], "quiet": True, "success_msg": "good"})
        yield self.local("fail_none", "fail")
        yield self.local("fail_msg", "fail", {"msg": False})
        yield self.local("fail_dict", "fail", {"msg": {"a": 1}})
        yield self.local("sf", "set_fact", {"a": 1, "b": {"$template": "{{ cmd_ok.rc }}"}})
        yield self.local("sf_cache", "set_fact", {"a": 1, "cacheable": True})
        yield self.local("sf_none", "set_fact")
        yield self.local("sf_bad", "set_fact", {"bad-name": 1})
        yield self.local("sf_undef", "set_fact", {"a": TEMPLATE})
        yield self.local("pause1", "pause", {"seconds": 1})
        yield self.local(
            "iv", "include_vars", {"data": {"iv_a": {"$expr": "cmd_ok.stdout"}}, "files": ["/srv/play/v.yml"]}
        )
        yield self.local(
            "iv_name",
            "include_vars",
            {"data": {"vv": {"iv_a": {"$expr": "cmd_ok.stdout"}}}, "files": ["/srv/play/v.yml"]},
        )

    def loops(self):
        yield self.command("loop_ok", *self.echo, loop=[1, 2])
        yield self.command(
            "loop_fail", self.bad, _command(self.s.more["core"], cmd=["true"], stdout=""), loop=["false", "true"]
        )
        yield self.command("loop_part", self.echo[0], loop=[1, 2], when="item == 1")
        yield self.command("loop_skip", loop=[1, 2], when=False)
        yield self.command("loop_empty", loop=[])
        yield self.command("loop_undef", loop=TEMPLATE)
        yield self.command("loop_undef_skip", loop=TEMPLATE, when=False)
        yield self.command("loop_str", loop={"$template": "{{ cmd_ok.stdout }}"})
        control = {"loop_var": "it", "index_var": "ix", "extended": True, "label": {"$template": "L{{ it }}"}}
        yield self.command("loop_ext", *self.echo, loop=[1, 2], loop_control=control)
        yield self.local("loop_debug", "debug", {"msg": {"$expr": "item"}}, loop=[1, 2], changed_when="item == 2")
        yield self.local(
            "loop_sf", "set_fact", {"$items": [[{"$template": "x_{{ item }}"}, {"$expr": "item"}]]}, loop=[1, 2]
        )
        yield self.command("loop_until", self.bad, loop=[1, 2], until=False, retries=1, delay=0)
        yield self.command("loop_fw", self.bad, loop=[1, 2], failed_when="item == 2")
        yield self.include("inc")
        yield self.include("inc_skip", when=False)
        yield self.include("inc_loop", loop=[1, 2])
        yield self.command("timeout", timeout=1)

    def all(self):
        for some in (self.commands(), self.actions(), self.loops()):
            yield from some


def _without_times(value):
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in NOT_HERE}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def _expected(core):
    expected = dict(ALIKE, **APART[core])
    message = expected["assert_nonbool"]["msg"]
    expected["assert_nonbool"]["msg"] = message.replace("/srv/play/p.yml:42:23", "<unknown>")
    if core == "2.19":  # its results of includes have no `changed`, which makes no difference
        for turn in expected["inc_loop"]["results"]:
            turn["changed"] = False
    return expected


@pytest.fixture(scope="module", params=["2.19", "2.21"])
def registered(request):
    core = request.param
    tasks, body, answers = _Tasks(core), [], {}
    for node, given in tasks.all():
        node.update(register=node["name"], ignore_errors=True)
        body.append(node)
        answers[node["name"]] = given
    run = Run(tasks.s.of(body), answers, interfere=lambda executor, name: name == "timeout")
    assert (run.state, run.waits.count(1.0)) == ("succeeded", 1)
    return {name: run.variables.get(name) for name in answers}, _expected(core)


@pytest.mark.parametrize("name", sorted({*ALIKE, *APART["2.21"]}))
def test_what_is_registered_is_what_core_registers(registered, name):
    got, expected = registered
    assert _without_times(got[name]) == expected[name]


def test_each_task_is_compared(registered):
    got, expected = registered
    assert sorted(got) == sorted(expected)
