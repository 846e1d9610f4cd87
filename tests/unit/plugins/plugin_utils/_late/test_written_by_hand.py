# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates and conditions as people write them: the value of ansible-core, or its message word for word."""

from __future__ import annotations

import re
import typing as t

import pytest

from . import comparison
from .comparison import NOPE, Template

T = Template
BRACES = {"stdout": "{{ nope }}", "lines": ["{% if %}", "{# x #}", "#jinja2:x"], "{{ key }}": 1}
RESULT = {"changed": True, "rc": 0, "stdout": "one\ntwo", "stdout_lines": ["one", "two"], "failed": False}
LOOPED = {"results": [{"item": "a", "changed": False}, {"item": "b", "changed": True}], "msg": "All items completed"}
VARIABLES: dict[str, t.Any] = {
    "one": 1,
    "text": "abc",
    "path": "/etc/app/app.conf",
    "numbers": [3, 1, 2],
    "none": None,
    "out": RESULT,
    "looped": LOOPED,
    "braces": BRACES,
    "users": [{"name": "ann", "uid": 1001, "groups": ["a", "b"]}, {"name": "bob", "uid": 1002}],
    "late": T("{{ one + 1 }}"),
    "later": T("{{ late * 2 }}"),
    "joined": T("{{ text }}-{{ late }}"),
    "bad": T("{{ nope.deep }}"),
    "syntax": T("{{ 1 + }}"),
    "loop_a": T("{{ loop_b }}"),
    "loop_b": T("{{ loop_a }}"),
    "skipped": T("{{ omit }}"),
    "options": {"good": T("{{ text | upper }}"), "bad": NOPE, "gone": T("{{ omit }}"), "list": [T("{{ one }}"), NOPE]},
    "trusted": T("one == 1"),
    "untrusted": "one == 1",
    "yes_text": "yes",
    "empty": "",
    "deep": {"a": {"b": [{"c": T("{{ numbers }}")}]}},
}

TEMPLATES = """
{{ one }}
{{ text }}
{{ numbers }}
{{ none }}
{{ true }} {{ none }} {{ 1.5 }}
{{ one }}{{ one }}
{{ one }} and {{ numbers }} and {{ options.list[0] }}
{{ late }}
{{ later }} {{ joined }}
{{ joined | length }}
{{ deep }}
{{ deep.a.b[0].c | sort | first }}
{{ out.stdout_lines }}
{{ out.stdout_lines | last }}
{{ out['stdout'] }}
{{ out.nothing }}
{{ out.nothing.deeper.still }}
{{ out['nothing'][0]['x'] }}
{{ nope }}
{{ nope.attribute }}
x {{ nope }} y
{{ bad }}
{{ bad | default('fine') }}
{{ nope | default('x') }} {{ nope.a.b | d('y') }} {{ out.nope | d }}
{{ nope | default(omit) }}
{{ none | default('x') }} {{ none | default('x', true) }} {{ empty | default('y', true) }}
{{ nope | default(also_nope) }}
{{ nope | default(also_nope | default(3)) }}
{{ syntax }}
{{ syntax | default(1) }}
{{ loop_a }}
{{ options }}
{{ options.good }}
{{ options.gone }}
{{ options.list[0] }}
{{ options.list[1] | default('none there') }}
{{ options.list | length }}
{{ options.bad is defined }}
{{ options.keys() | list }}
{{ options.values() | list }}
{{ options | dict2items | map(attribute='key') | list }}
{{ [options.good, options.gone] }}
{{ {'a': options.gone, 'b': options.good, 'c': [omit, 1]} }}
{{ skipped }}
{{ [skipped, 1] }}
a {{ skipped }} b
{{ omit is defined }}
{{ braces }}
{{ braces.stdout }}
{{ braces.stdout ~ '!' }}
x {{ braces.lines | join(' ') }}
{{ braces.lines | map('regex_replace', 'x', '{{ one }}') | list }}
{{ braces.stdout | upper }}
{{ '{{ one }}' }}
{{ '{{ one }}' ~ text }}
{{ text + one }}
{{ text ~ one }}
{{ one / 0 }}
{{ (one / 0) | default(1) }}
{{ [1, 2, 3][5] }}
{{ numbers[9] }}
{{ numbers.nope }}
{{ users | map(attribute='name') | join(', ') }}
{{ users | map(attribute='groups') | list }}
{{ users | map(attribute='groups', default=[]) | flatten }}
{{ users | selectattr('groups', 'defined') | map(attribute='uid') | list }}
{{ users | selectattr('uid', '>', 1001) | list }}
{{ users | rejectattr('name', 'in', ['bob']) | list | length }}
{{ users | groupby('uid') }}
{{ users | items2dict(key_name='name', value_name='uid') }}
{{ users | sum(attribute='uid') }}
{{ users | json_query('x') }}
{{ users | ansible.builtin.to_json }}
{{ users | ansible.legacy.to_json }}
{{ text is ansible.builtin.match('a') }}
{{ text | ansible.builtin.upper }}
{{ text | community.general.upper }}
{{ text is community.general.upper }}
{% for user in users %}{{ user.name }};{% endfor %}
{% for user in users %}{{ user.groups }}{% endfor %}
{% for n in numbers if n > 1 %}{{ loop.index }}:{{ n }} {% else %}none{% endfor %}
{% if out is changed %}changed{% elif one %}one{% endif %}
{% if nope %}x{% endif %}
{% set x = late %}{{ x }}
{% set x = numbers %}{{ x | sort }} {{ numbers }}
{% set ignored = numbers.append(4) %}{{ numbers }}
{% set ns = namespace(n=0) %}{% for n in numbers %}{% set ns.n = ns.n + n %}{% endfor %}{{ ns.n }}
{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice(text) }} {{ twice(nope) }}
{% macro same(x) %}{{ x }}{% endmacro %}{{ same(numbers) }}
{% raw %}{{ one }}{% endraw %}
{# only a comment #}
{# comment #}{{ one }}
{%- if true -%}  x  {%- endif -%}
{% block b %}{{ one }}{% endblock %}{{ self.b() }}
{% for i in numbers %}{% block c scoped %}{{ i }}{{ late }}{% endblock %}{% endfor %}
{% include 'nothing.j2' %}
{% import 'nothing.j2' as x %}
{% filter upper %}{{ text }}{% endfilter %}
{% call(x) same() %}{{ x }}{% endcall %}
{% macro around() %}<{{ caller('in') }}>{% endmacro %}{% call(x) around() %}{{ x }}{{ late }}{% endcall %}
{% with x = late %}{{ x }}{% endwith %}{{ x }}
{% for a, b in {'k': 'v'}.items() %}{{ a }}={{ b }}{% endfor %}
{% for user in users recursive %}{{ loop.depth }}{{ loop.last }}{{ loop.previtem.name | d('-') }}{% endfor %}
{% autoescape true %}{{ '<' }}{{ '>' }}{% endautoescape %}
{% do numbers.append(1) %}
{% break %}
{{ 'a' if one else 'b' }} {{ 'c' if false }}
{{ 'c' if false }}
{{ text[0] }}{{ text[-1] }}{{ text[1:] }}
{{ text.upper() }} {{ text.split('b') }} {{ '%s-%d' % (text, one) }} {{ '{}'.format(one) }}
{{ text.__class__ }}
{{ text.__class__.__mro__ }}
{{ one.bit_length() }} {{ (5).__and__(4) }}
{{ numbers | map('string') | join }} {{ numbers | max }} {{ numbers | sum }} {{ numbers | reverse | list }}
{{ range(3) | list }} {{ range(1, 7, 3) | list }} {{ range(5) | random(seed='x') }}
{{ range(3) }}
{{ dict(a=one, b=late) }}
{{ lookup('env', 'HOME') | default('x') }}
{{ undef() }}
{{ undef('say which') }}
{{ undef(hint=1) }}
{{ text.split(1) }} {{ text.split(1) }}
{{ text.split(1) | default('x') }}
{{ text.split(1) is defined }}
{{ now() - now() }}
{{ now(utc=true, fmt='x') }}
{{ now().year > 2000 }} {{ (now() - now(false)).days }}
{{ numbers | sort(reverse=true) | to_json }}
{{ path | basename | splitext | first }}
{{ path | regex_search('app/(.*)\\.conf', '\\1') | first }}
{{ path | regex_replace('/etc/(\\w+)', '/usr/\\1') }}
{{ 'a\\b' }} {{ 'a\nb' | length }}
{% set x = 'a\nb' %}{{ x | length }}
{{ (users[0] | combine({'uid': 1, 'shell': nope})).shell }}
{{ users[0] | combine({'uid': 1}) }}
{{ {'a': nope} | combine({'b': 1}) }}
{{ [nope, 1] | length }} {{ [nope, 1] | last }}
{{ [nope, 1] | first }}
{{ [1, nope] | join(',') }}
{{ nope ~ 'x' | upper }}
{{ nope in [1] }}
{{ 1 in nope }}
{{ not nope }}
{{ nope is defined and nope.x }}
{{ text is defined }} {{ nope is not defined }} {{ out.stdout is undefined }}
{{ text | mandatory }} {{ nope | mandatory('give it') }}
{{ out is failed }} {{ looped is changed }} {{ looped.results | selectattr('changed') | map(attribute='item') | list }}
{{ text is failed }}
{{ nope is failed }}
{{ '1.10' is version('1.9', '>') }} {{ '1.0' is version('x', 'bad') }}
{{ text | b64encode | b64decode == text }}
{{ (late, one) }} {{ (late, one) | list }}
{{ none | int }} {{ '12' | int + 1 }} {{ 'x' | float }} {{ '0x1f' | int(base=16) }}
{{ yes_text | bool }} {{ none | bool }} {{ 'maybe' | bool }}
{{ text | type_debug }} {{ numbers | type_debug }} {{ users[0] | type_debug }} {{ nope | type_debug }} {{ trusted | type_debug }}
{{ trusted }} {{ untrusted }}
{{ text | nosuchfilter }}
{{ text is nosuchtest }}
{{ text | default( }}
{{ text
{% if one %}
{{ text | center(9) }}|{{ text | indent(2, true) }}
{{ ['a', 'B'] | sort }} {{ [[1, 2], [3]] | map('first') | list }} {{ {'b': 1, 'a': 2} | dictsort }}
{{ text | hash('sha256') }} {{ text | to_uuid }}
{{ '<a>' | escape }} {{ '<a>' | e ~ '<b>' }}
{{ '<a>' | safe }}
{{ numbers | batch(2) | list }} {{ numbers | slice(2) | list }}
{{ [1, [2, [3]]] | flatten(levels=1) }} {{ [[1, 2], [3]] | sum(start=[]) }}
{{ lipsum is callable }} {{ cycler('a', 'b').next() }} {{ joiner(',')() }}
{{ text.nope is defined }} {{ (text | length) is number }} {{ one is integer }} {{ one == true }}
{{ lipsum }}
{{ text.upper }}
{{ users | to_nice_json }}
{{ users | to_nice_yaml(indent=2) }}
{{ 'a: [1, {b: c}]' | from_yaml }}
{{ options.good | to_json }} {{ options | to_json }}
{{ 10 // 3 }} {{ 10 % 3 }} {{ 2 ** 8 }} {{ -one }} {{ 7 / 2 }}
{{ vars }}
{{ {1: 'a', none: 'b'} }}
{{ [1, 2] == [1, 2] }} {{ numbers == [3, 1, 2] }} {{ users[0] == {'name': 'ann', 'uid': 1001, 'groups': ['a', 'b']} }}
{{ numbers + [late] }} {{ [late] + numbers }} {{ numbers * 2 }}
{{ numbers is sequence }} {{ users[0] is mapping }} {{ 'x' is in text }} {{ 3 is in numbers }}
{{ numbers | random }}{{ [] | random | default('none') }}
{{ omit }}
{{ text }}\x0a
{{ text }} x\x0a\x0a
{% if one %}\x0a  {{ text }}\x0a{% endif %}\x0aend\x0a
#jinja2: variable_start_string: '[[', variable_end_string: ']]'\x0a[[ text ]] {{ text }}
#jinja2: lstrip_blocks: True, trim_blocks: False\x0a  {% if one %}\x0a  x\x0a  {% endif %}\x0a
#jinja2: nothing: 1\x0a{{ text }}
#jinja2: trim_blocks\x0a{{ text }}
#jinja2: trim_blocks: True
"""

CONDITIONS = """
one == 1
one
text
numbers
none
out
out is changed
out.changed
out.rc
out.rc == 0 and out is success
not out.failed
nope
nope.x is defined
nope is not defined
nope == 1
bad is defined
bad == 1
options.bad is defined
options.good == 'ABC'
'one' in out.stdout_lines
out.stdout is search('tw')
looped is changed
looped.results | selectattr('changed') | list | length > 0
looped.results | selectattr('changed') | list
late == 2
later > late
yes_text
yes_text | bool
true
false
True
'true'
1
omit
skipped
{{ one == 1 }}
{{ true }}
{{ trusted }}
{{ untrusted }}
{{ nope }}
{{ text }}
{{ one }}
{{ none }}
{{ empty }}
{{ 'x' }} == {{ 'x' }}
one == {{ one }}
{{ one }} == 1
'{{ text }}' == 'abc'
'{{ nope }}' == 'abc'
braces.stdout == '{{ nope }}'
braces.stdout is search('nope')
{% if one == 1 %}True{% endif %}
one ==
one == 1 or nope
one == 2 and nope
nope | default(false)
text | nosuchfilter
text is nosuchtest
out is failed or text is failed
lookup('env', 'HOME') == ''
users | length > 1 and users[0].uid == 1001
text is match('^a\\w+$')
text is match('^a\\\\w')
(users | map(attribute='uid') | max) > 1001
  one == 1
text.split(1) == 1
"""


def lines(text: str) -> list[str]:
    return [line.replace("\\x0a", "\n") for line in text.splitlines() if line.strip()]


def worded(answer: comparison.Answer) -> comparison.Answer:
    """A refusal without the names of classes that core shows, and without what Python adds about recursion."""
    message = answer.get("refused", "")
    message = re.sub(r"_AnsibleLazyTemplate(Dict|List)", lambda found: found[1].lower(), message)
    message = re.sub(r"(maximum recursion depth exceeded).*", r"\1", message)
    return {"refused": message} if "refused" in answer else answer


# What the controller alone can do: refused with a message of the host's own.
ON_CONTROLLER = ("lookup(", "nothing.j2")


@pytest.mark.parametrize("text", lines(TEMPLATES))
def test_a_template(text: str, hosts: list[t.Any]) -> None:
    compare(text, "render", hosts)


@pytest.mark.parametrize("text", [*lines(CONDITIONS), "", " "])
def test_a_condition(text: str, hosts: list[t.Any]) -> None:
    compare(text, "holds", hosts)


def compare(text: str, how: str, hosts: list[t.Any]) -> None:
    expected = comparison.of_core(text, VARIABLES, how)
    for host in hosts:
        found = host.ask(comparison.request(text, VARIABLES, how))
        if any(word in text for word in ON_CONTROLLER):
            assert "on the controller only" in found["refused"]
        elif "| random }}" not in text:
            assert worded(found) == worded(expected), host.name
