# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from jinja2 import Environment

from ansible_collections.background.jobs.plugins.plugin_utils._late import expressions

VARIABLES = {
    "x": {"y": [1, 2, 3], "b": "B"},
    "a": 2,
    "b": "text",
    "c": ["p", "q"],
    "f": lambda *args, **kwargs: (args, kwargs),
}


def rendered(text: str) -> str:
    return (
        Environment(trim_blocks=True, extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
        .from_string(text)
        .render(VARIABLES)
    )


@pytest.mark.parametrize(
    "text",
    [
        "a{{ x.y[1:2] | join(',') }}b",
        "{{ x['y'][-1] ** 2 // 3 % 5 - a * 2 / 1 + 1 }}",
        "{{ {'k': [a, (1,), ()], b: none, 'both': 'a\"b' ~ \"c'd\"} }}",
        "{{ a if a > 1 else b }}{{ 'x' if not a }}",
        "{{ 1 < a <= 3 and ('p' in c or 'z' not in c) is defined }}",
        "{{ f(1, *c, k=2, **{'z': a}) }}",
        "{{ c | map('upper') | list | first }}",
        "{% for one in c if one != 'z' %}\n{{ loop.index }}{{ one }}\n\n{% else %}none{% endfor %}\nend\n",
        "{% if a == 1 %}one{% elif a == 2 %}\ntwo\n{% else %}more{% endif %}",
        "{% set z = a + 1 %}{{ z }}{% set block %}in {{ z }}{% endset %}{{ block }}",
        "{% macro m(p, q=2) %}{{ p }}-{{ q }}{% endmacro %}{{ m(1) }}{{ m(1, q=a) }}",
        "{% filter upper %}{{ b }} x{% endfilter %}{% with z = 1 %}{{ z }}{% endwith %}",
        "{% raw %}{{ not }} {% this %}{% endraw %} {{ a }}",
        "{% for k, v in x.items() %}{{ k }}={{ v }}{% if loop.last %}{% break %}{% endif %};{% endfor %}",
        "{% do c.index('p') %}{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}{{ a }}{% endcall %}",
    ],
)
def test_what_is_written_down_again_means_the_same(text: str) -> None:
    file, options = expressions.file_of(text, {"trim_blocks": True})
    assert options == {"trim_blocks": True}
    assert rendered(file.text) == rendered(text)


@pytest.mark.parametrize(
    ("text", "expression", "written"),
    [
        (r"{{ a | regex_replace('\d+', '\\1') }}", False, r'{{ (a | regex_replace("\d+", "\\1")) }}'),
        (r"a is regex('\\d+')", True, r"(a is regex('\\d+'))"),
        ("{{ 'it''s' }}", False, None),
        ("{{ a", False, None),
    ],
)
def test_backslashes_stay_as_core_reads_them(text: str, expression: bool, written: str | None) -> None:
    parsed = expressions.parse(text, expression)
    if written is None:
        assert parsed is None or parsed.text
    else:
        assert parsed is not None and parsed.text == written


def test_the_first_line_of_a_file_may_have_options() -> None:
    text = "#jinja2: variable_start_string:'[%', variable_end_string:'%]', trim_blocks:False\n{{ [% a %]\n"
    file, options = expressions.file_of(text, {"trim_blocks": True})
    assert options == {"trim_blocks": False, "variable_start_string": "[%", "variable_end_string": "%]"}
    assert rendered(file.text) == "{{ 2"
