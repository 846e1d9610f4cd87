# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._entries.flow import Flow
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._late.view import View

from ..conftest import FakeLanguage


def view_of(*names: str, pinned: tuple[str, ...] = (), facts: str | None = None, **variables: t.Any) -> View:
    flow = Flow()
    flow.set(names, "task one")
    if facts:
        flow.gather(facts, "task two")
    return View(FakeLanguage(**variables), {}, flow, pinned=pinned)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{ known }}", 7),
        ("plain", "plain"),
        ("{{ out }}", {"$template": "{{ out }}"}),
        ("{{ by_way }}", {"$template": "{{ by_way }}"}),
        (["{{ known }}", "{{ out }}"], [7, {"$template": "{{ out }}"}]),
        ({"k": "{{ out }}", "l": "{{ omit }}"}, {"k": {"$template": "{{ out }}"}, "l": {"$omit": True}}),
        ({"{{ out }}": 1}, {"$items": [[{"$template": "{{ out }}"}, 1]]}),
        ({"$template": "{{ known }}"}, {"$literal": {"$template": 7}}),
        ([{"$expr": "{{ known }}"}, "{{ out }}"], [{"$literal": {"$expr": 7}}, {"$template": "{{ out }}"}]),
    ],
)
def test_values(value: object, expected: object) -> None:
    assert view_of("out", known=7, by_way="{{ out.rc }}").value(value) == expected


def test_what_a_late_expression_uses_travels_rendered_as_far_as_it_can_be() -> None:
    view = view_of(
        "out", pinned=("item",), known="{{ deeper }}", deeper=1, by_way=["{{ out }}", "{{ deeper }}"], item="i"
    )
    view.value("{{ out }} {{ known }} {{ by_way }} {{ item }} {{ nowhere }} {{ ansible_x }}")
    assert view.tables == {
        "vars": {"known": 1, "by_way": [{"$template": "{{ out }}"}, 1]},
        "pinned": {"item": "i"},
        "facts": {},
    }


def test_a_variable_that_the_job_sets_too_has_its_value_from_before() -> None:
    view = view_of("out", out="before")
    view.value("{{ out }}")
    assert view.tables["vars"] == {"out": "before"}


def test_what_is_pinned_is_not_late() -> None:
    assert view_of("out", pinned=("out",), out="mine").value("{{ out }}") == "mine"


def test_what_cannot_be_rendered_fails_where_it_is_used() -> None:
    view = view_of("out", broken="{{ nope }}")
    view.value("{{ out }}{{ broken }}")
    assert view.tables["vars"] == {"broken": {"$undefined": "'nope' is undefined."}}
    with pytest.raises(Refused):
        view.value("{{ broken }}")
    assert view.value("{{ broken }}", lenient=True) == {"$undefined": "'nope' is undefined."}


@pytest.mark.parametrize(
    ("facts", "text", "late"),
    [
        ("setup", "{{ ansible_facts.x }}", True),
        ("ansible.builtin.gather_facts", "{{ ansible_x }}", True),
        ("setup", "{{ services }}", False),
        ("service_facts", "{{ services }}", True),
        ("community.x.y_facts", "{{ ansible_facts.y }}", True),
        ("command", "{{ ansible_facts.x }}", False),
        ("getent", "{{ getent_passwd }}", True),
        ("package_facts", "{{ ansible_facts.packages }}", True),
        ("package_facts", "{{ ansible_facts['packages'].x }}", True),
        ("package_facts", "{{ ansible_facts.get('packages') }}", True),
        ("package_facts", "{{ ansible_facts | length }}", True),
        ("package_facts", "{{ ansible_facts[known] }}", True),
        ("package_facts", "{{ ansible_facts.items() }}", True),
        ("package_facts", "{% set all = ansible_facts %}{{ all.os }}", True),
        ("package_facts", "{{ ansible_facts.os }} {{ ansible_facts }}", True),
        ("package_facts", "{{ hostvars.this.ansible_facts.os }}", True),
        ("package_facts", "{{ ansible_facts.os }}", False),
        ("package_facts", "{{ ansible_facts['os'] ~ ansible_facts.get('more', '') }}", False),
        ("package_facts", "{{ by_way }}", False),
        ("ansible.builtin.service_facts", "{{ ansible_facts.packages }}", False),
        ("ansible.builtin.hostname", "{{ ansible_facts.fqdn }}", True),
        ("ansible.builtin.getent", "{{ ansible_facts.getent_group }}", True),
        ("some.other.package_facts", "{{ ansible_facts.os }}", True),
        ("some.other.package_facts", "{{ packages }}", True),
        ("community.x.y_facts", "{{ y }}", False),
    ],
)
def test_facts_that_the_job_gathers(facts: str, text: str, late: bool) -> None:
    assert (view_of(facts=facts, known="os", by_way="{{ ansible_facts.os }}").trail(text) is not None) is late


def test_of_the_facts_that_are_known_those_travel_that_are_used() -> None:
    view = view_of(facts="setup", ansible_facts={"a": 1, "b": 2, "c": 3})
    view.value("{{ ansible_facts.a }} {{ ansible_facts['b'] }}")
    assert view.tables["facts"] == {"ansible_facts": {"a": 1, "b": 2}}
    view.value("{{ ansible_facts.get('c') }}")
    assert view.tables["facts"] == {"ansible_facts": {"a": 1, "b": 2, "c": 3}}
    view = view_of(facts="setup", ansible_facts={"a": 1, "b": 2, "c": 3})
    view.value("{{ ansible_facts }}")
    assert view.tables["facts"] == {"ansible_facts": {"a": 1, "b": 2, "c": 3}}


@pytest.mark.parametrize(
    ("text", "expression", "rewritten", "ahead"),
    [
        ("{{ out ~ lookup('env', 'X') }}", False, "{{ (out ~ %s) }}", ['{{ lookup("env", "X") }}']),
        (
            "out.rc == 0 and groups['web'] | length > 1",
            True,
            "((out.rc == 0) and %s)",
            ['{{ ((groups["web"] | length) > 1) }}'],
        ),
        ("{{ known | x.y.z | default(out) }}", False, "{{ (%s | default(out)) }}", ["{{ (known | x.y.z) }}"]),
        ("{{ out }}{{ ansible_facts.os }}", False, "{{ out }}{{ %s }}", ["an os"]),
        ("x is file and out", True, "(%s and out)", ["{{ (x is file) }}"]),
        ("{{ c | map('x.y.z') | list + out }}", False, "{{ (%s + out) }}", ['{{ ((c | map("x.y.z")) | list) }}']),
        ("{% for h in groups.all %}{{ hostvars[h].ip }}{% endfor %}{{ out }}", False, "{{ %s }}{{ out }}", None),
    ],
)
def test_what_needs_the_controller_is_worked_out_ahead(
    text: str, expression: bool, rewritten: str, ahead: list[str] | None
) -> None:
    view = view_of("out", known=1, c=[1], ansible_facts={"os": "an os"})
    value = view.value(text, expression)
    names = tuple(view.tables["pinned"])
    assert value == {"$expr" if expression else "$template": rewritten % names}
    if ahead is not None:
        # the language of this test knows no lookups: it leaves such a template as it is
        assert list(view.tables["pinned"].values()) == ahead


def test_a_fact_that_the_job_does_not_gather_is_worked_out_ahead_beside_one_that_it_does() -> None:
    view = view_of(facts="package_facts", ansible_facts={"os": "an os"})
    value = view.value("{{ ansible_facts.packages[lookup('env', ansible_facts.os)] }}")
    assert list(view.tables["pinned"].values()) == ['{{ lookup("env", ansible_facts.os) }}'], value
    with pytest.raises(Refused, match=r"for 'ansible_facts[.]packages', which .* set by task two"):
        view.value("{{ lookup('env', ansible_facts.packages.x) }}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ lookup('file', out.stdout) }}", ["the lookup 'file'", "'out'", "set by task one"]),
        ("{{ query(out.x, 1) }}", ["the lookup '?'"]),
        ("{{ out | community.general.json_query('a') }}", ["the filter 'community.general.json_query'"]),
        ("{{ out | map('a.b.c') }}", ["the filter 'a.b.c'"]),
        ("{{ out | select('file') }}", ["the test 'file'"]),
        ("{{ out is ansible.builtin.directory }}", ["the test 'ansible.builtin.directory'"]),
        ("{{ hostvars[out.stdout].x }}", ["'hostvars'"]),
        ("{{ vars['out'] }}", ["'vars'"]),
        ("{{ lookup('file', by_way) }}", ["'by_way'", "set by task one"]),
    ],
)
def test_what_only_the_controller_has_is_refused_for_late_values(text: str, words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        view_of("out", by_way="{{ out.stdout }}").value(text)
    assert all(word in str(caught.value) for word in [*words, "async_wait"]), str(caught.value)


def test_files_of_templates() -> None:
    view = view_of("out", known=1)
    assert view.file("{{ known }}", {}) is None
    assert view.file("{{ out }}\n", {"trim_blocks": True}) == {"text": "{{ out }}\n", "options": {"trim_blocks": True}}
    made = view.file("#jinja2: trim_blocks:False\n{% if out %}\n{{ q('env', 'X') }}{% endif %}", {})
    assert made["text"] == "{% if out %}\n\n{{ " + next(iter(view.tables["pinned"])) + " }}{% endif %}"
    with pytest.raises(Refused, match="one file"):
        view.file("{{ out }}{% include 'x.j2' %}", {})
