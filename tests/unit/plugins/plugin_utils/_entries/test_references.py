# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._entries import references
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT


def find(value: object, expression: bool = False, **variables: t.Any) -> list[str] | None:
    return references.find(
        value, {"r"}, lambda name: variables.get(name, ABSENT), lambda text: "plain" not in text, expression
    )


@pytest.mark.parametrize(
    "text",
    [
        "{{ r }}",
        "a{{ x | default(r.stdout) }}b",
        "{% if r %}x{% endif %}",
        "{% for one in r %}{{ one }}{% endfor %}",
        "{{ lookup('ansible.builtin.vars', 'r') }}",
        "{{ query('vars', x, 'r') }}",
        "{{ vars['r'] }}",
        "{{ vars.r }}",
        "{{ hostvars[inventory_hostname]['r'] }}",
        "{{ hostvars.web.r.stdout }}",
        {"key": [{"deep": ("{{ r }}",)}]},
        {"{{ r }}": 1},
    ],
)
def test_a_template_that_uses_the_variable(text: object) -> None:
    assert find(text) == ["r"]


@pytest.mark.parametrize(
    "text",
    [
        "r",
        "{{ 'r' }}",
        "{{ x.r }}",
        "{{ f(r=1) }}",
        "{{ {'r': 1} }}",
        "{% for r in x %}{{ r }}{% endfor %}",
        "{% set r = 1 %}{{ r }}",
        "{% raw %}{{ r }}{% endraw %}",
        "{# {{ r }} #}",
        "plain {{ r }}",
        "{{ r ",
        "{{ ansible_facts }}{{ hostvars }}{{ vars }}",
        1,
        None,
    ],
)
def test_a_text_that_does_not(text: object) -> None:
    assert find(text, ansible_facts="{{ r }}", hostvars={"r": "{{ r }}"}, vars="{{ r }}") is None


OF_ANSIBLE = ["basename", "ansible.builtin.combine({})", "community.general.json_query('x')", "no_such_filter(1, x=2)"]


@pytest.mark.parametrize("filters", OF_ANSIBLE)
@pytest.mark.parametrize("before", ["r", "r.stdout", "x | default(r)", "'/a/b' | basename ~ r"])
def test_filters_that_jinja_does_not_know(before: str, filters: str) -> None:
    assert find(f"{{{{ {before} | {filters} }}}}") == ["r"]
    assert find(f"{before} | {filters}", expression=True) == ["r"]
    assert find(f"{{{{ '/a/b' | {filters} }}}}{{% if 1 | {filters} %}}{{% endif %}}") is None


@pytest.mark.parametrize("test", ["file", "ansible.builtin.version('1', '<')", "community.general.fqdn_valid", "nope"])
def test_tests_that_jinja_does_not_know(test: str) -> None:
    assert find(f"r is {test}", expression=True) == ["r"]
    assert find(f"x is not {test}", expression=True) is None
    assert find(f"{{{{ x | select('nope') }}}}{{{{ lookup('file', r) is {test} }}}}") == ["r"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("r is changed", True),
        ("x and not (r.rc == 0)", True),
        ("x | selectattr('r')", False),
        ("'r' in x", False),
        ("{{ r }}", True),
        ("x or {{ r }}", True),
        (True, False),
    ],
)
def test_conditions_are_expressions(text: object, found: bool) -> None:
    assert (find(text, expression=True) is not None) is found


def test_the_way_is_told() -> None:
    assert find("{{ a }}", a="{{ b }}", b=["{{ c.d }}"], c={"d": "{{ r }}"}) == ["a", "b", "c", "r"]


def test_variables_that_use_each_other_have_an_end() -> None:
    assert find("{{ a }}", a="{{ b }}", b="{{ a }}") is None


@pytest.mark.parametrize(("register", "names"), [("r", ["r"]), ({"a": "x", "b": "y"}, ["a", "b"])])
def test_what_is_registered(register: object, names: list[str]) -> None:
    assert references.names_of(register) == names


@pytest.mark.parametrize(
    ("text", "trail"),
    [
        ("{% include 'in.j2' %}", ["the template in.j2", "r"]),
        ("{% from 'in.j2' import x %}", ["the template in.j2", "r"]),
        ("{% import 'in.j2' as x %}", ["the template in.j2", "r"]),
        ("{% extends 'in.j2' %}", ["the template in.j2", "r"]),
        ("{% include ['missing.j2', 'in.j2'] %}", ["the template in.j2", "r"]),
        ("{% include 'out.j2' %}", ["the template out.j2", "the template in.j2", "r"]),
        ("{{ lookup('template', 'in.j2') }}", ["the template in.j2", "r"]),
        ("{{ query('ansible.builtin.template', 'known.j2', 'in.j2') | first }}", ["the template in.j2", "r"]),
        ("{{ lookup('template', 'in' ~ x) }}", ['the template named {{ ("in" ~ x) }}', "r"]),
        ("{{ lookup('template', 'known.j2', x) }}", ["the template named {{ x }}", "r"]),
        ("{{ query('template', *x) }}", ["the template named {{ x }}", "r"]),
        ("{% for f in x %}{{ lookup('template', f ~ '.j2') }}{% endfor %}", ["the template ", "r"]),
        ("{{ lookup('file', x) }}", None),
        ("{{ by_way }}", ["by_way", "the template out.j2", "the template in.j2", "r"]),
        ("{% include 'known.j2' %}{{ lookup('file', 'in.j2') }}", None),
    ],
)
def test_files_of_templates_are_looked_into(text: str, trail: list[str] | None) -> None:
    files = {
        "the template in.j2": "{{ r.stdout | default('') }}",
        "the template out.j2": "{% include 'in.j2' %}",
        "the template known.j2": "{{ x }}",
        'the template named {{ ("in" ~ x) }}': "{{ r }}",
        "the template named {{ x }}": ["{{ y }}", "{{ r }}"],
        "the template ": "{{ r }}",
    }
    assert find(text, by_way="{{ lookup('template', 'out.j2') }}", **files) == trail
