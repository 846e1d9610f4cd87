# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime

import jinja2
import pytest

from ansible_collections.background.jobs.plugins.module_utils._late import templating, values
from ansible_collections.background.jobs.plugins.module_utils._late.templating import OMIT, TemplateFailed


@pytest.fixture(scope="module")
def engine():
    return templating.Engine("2.21")


@pytest.fixture
def scope(engine):
    def of(**variables):
        decoded = {name: values.decode(value) for name, value in variables.items()}
        return engine.scope(decoded.__getitem__)

    return of


def template(text):
    return {"$template": text}


def expression(text):
    return {"$expr": text}


# ---- values


@pytest.mark.parametrize("value", [1, 1.5, True, None, "x", [1, "2"], {"a": {"b": [None]}}])
def test_one_expression_keeps_its_type(scope, value):
    found = scope(x=value).render(template("{{ x }}"))
    assert found == value
    assert type(found) is type(value)


def test_text_around_an_expression_makes_a_text(scope):
    assert scope(x=[1, {"a": None}]).render(template("it is {{ x }}")) == "it is [1, {'a': None}]"


def test_whole_values_are_rendered_at_any_depth(scope):
    value = {"a": [template("{{ x }}"), {"b": template("{{ x + 1 }}")}], "c": "{{ x }}"}
    assert scope(x=1).render(value) == {"a": [1, {"b": 2}], "c": "{{ x }}"}


def test_results_are_plain_whatever_they_were_on_the_way(scope):
    found = scope(x={"a": [template("{{ y }}")]}, y=template("text")).render(template("{{ [x, x.a, (1, y)] }}"))
    assert found == [{"a": ["text"]}, ["text"], [1, "text"]]
    assert [type(item) for item in (found, found[0], found[1], found[1][0], found[2])] == [list, dict, list, str, list]


def test_dates_are_allowed_on_the_way_and_durations_are_not_in_the_end(scope):
    of = scope(day="2026-01-02")
    assert of.render(template("{{ (day | to_datetime('%Y-%m-%d')).year }}")) == 2026
    assert of.render(template("{{ day | to_datetime('%Y-%m-%d') }}")) == datetime.datetime(2026, 1, 2)
    with pytest.raises(TemplateFailed, match=r"Type 'timedelta' is unsupported"):
        of.render(template("{{ now() - now() }}"))


def test_omit_leaves_lists_and_dicts_and_is_told_of_where_it_is_all(scope):
    of = scope(gone={"$omit": True})
    assert of.render({"a": {"$omit": True}, "b": [1, template("{{ gone }}")], "c": template("{{ omit }}")}) == {
        "b": [1]
    }
    assert of.render(template("{{ nope | default(omit) }}")) is OMIT
    assert of.render({"$omit": True}) is OMIT


def test_keys_that_are_templates(scope):
    value = {"$items": [[template("{{ x }}-1"), template("{{ x }}")], ["b", 2], [template("{{ omit }}"), 3]]}
    assert scope(x="a").render(value) == {"a-1": "a", "b": 2}
    assert scope(x="a", y=value).render(template("{{ y['a-1'] }}")) == "a"


# ---- what is undefined


def test_undefined_values_fail_by_name_when_they_are_used(scope):
    of = scope(x={"a": 1})
    for text, message in [
        ("{{ nope }}", "'nope' is undefined"),
        ("{{ nope.a.b[0] }}", "'nope' is undefined"),
        ("{{ x.b.c }}", "object of type 'dict' has no attribute 'b'"),
        ("a {{ nope }}", "'nope' is undefined"),
    ]:
        with pytest.raises(TemplateFailed) as caught:
            of.render(template(text))
        assert str(caught.value) == message


def test_nobody_who_does_not_look_is_told_of_what_is_undefined(scope):
    of = scope(x={"good": 1, "bad": template("{{ nope }}")}, marked={"$undefined": "'y' is undefined"})
    assert of.render(template("{{ x.good }}")) == 1
    assert of.render(template("{{ x.bad | default(2) }}")) == 2
    assert of.render(template("{{ marked.deep is defined }} {{ marked | default(3) }}")) == "False 3"
    with pytest.raises(TemplateFailed, match=r"^'y' is undefined$"):
        of.render(template("{{ marked }}"))


def test_default_does_not_help_against_what_failed_on_the_controller(scope):
    of = scope(x={"$failed": "The lookup plugin 'file' failed."})
    with pytest.raises(TemplateFailed, match=r"^The lookup plugin 'file' failed.$"):
        of.render(template("{{ x | default(1) }}"))
    assert of.render(template("{{ 1 if true else x }}")) == 1


def test_lookups_and_files_of_templates_are_on_the_controller(scope):
    for text in ("{{ lookup('file', 'x') }}", "{{ query('x') }}", "{{ q('x') | default(1) }}"):
        with pytest.raises(TemplateFailed, match=r"^The lookup plugin '(file|x)' works on the controller only"):
            scope().render(template(text))
    with pytest.raises(TemplateFailed, match=r"The file 'x.j2' can be included on the controller only"):
        scope().render(template("{% include 'x.j2' %}"))


# ---- variables


def test_variables_are_asked_for_once_and_only_those_that_are_used(engine):
    asked = []

    def lookup(name):
        asked.append(name)
        return {"x": values.decode(template("{{ y }}")), "y": 1}[name]

    scope = engine.scope(lookup)
    assert scope.render(template("{{ x + x }}")) == 2
    assert scope.holds(expression("x == y")) is True
    assert scope.holds(expression("z is defined")) is False
    assert asked == ["x", "y", "z"]


def test_a_template_changes_no_variable(scope):
    of = scope(x=[1])
    assert of.render(template("{% set dummy = x.append(2) %}{{ x }}")) == [1, 2]
    assert of.render(template("{{ x }}")) == [1]


def test_variables_that_need_each_other_fail(scope):
    of = scope(a=template("{{ b }}"), b=template("{{ a }}"))
    with pytest.raises(TemplateFailed, match=r"^Recursive loop detected in template: maximum recursion depth exceeded"):
        of.render(template("{{ a }}"))


# ---- data is data


BRACES = ["{{ 1 + 1 }}", "{% if true %}x{% endif %}", "{# x #}", "#jinja2:x:1\n{{ 1 }}", "{{", "%}"]


@pytest.mark.parametrize("text", BRACES)
@pytest.mark.parametrize(
    "use", ["{{ %s }}", "{{ [%s] | first }}", "{{ %s ~ '' }}", "{{ {'a': %s}.a }}", "{{ %s | default('') }}"]
)
def test_texts_of_modules_are_never_compiled(engine, text, use):
    data = {"stdout": text, text: text, "list": [{"$template": text}, {"$expr": "1"}]}
    scope = engine.scope({"out": data}.__getitem__)
    assert scope.render(template(use % "out.stdout")) == text
    assert scope.render(template("{{ out }}")) == data
    assert scope.render({"a": template("{{ out.list }}")}) == {"a": [{"$template": text}, {"$expr": "1"}]}
    assert scope.render(template("{% for item in out %}{{ out[item] }}|{% endfor %}")).startswith(text + "|")


@pytest.mark.parametrize("text", ["true", "out.stdout == ''", "{{ true }}"])
def test_a_text_of_a_module_is_no_condition(engine, text):
    scope = engine.scope({"out": {"stdout": text}}.__getitem__)
    for condition in (template("{{ out.stdout }}"), expression("{{ out.stdout }}"), text):
        with pytest.raises(TemplateFailed, match=r"^Encountered untrusted template or expression.$"):
            scope.holds(condition)


def test_a_condition_that_a_variable_of_the_playbook_names(scope):
    assert scope(condition=template("x == 1"), x=1).holds(expression("{{ condition }}")) is True


# ---- conditions


@pytest.mark.parametrize("value", [True, False])
def test_what_was_decided_at_launch(scope, value):
    assert scope().holds(value) is value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x",
            "Conditional result (True) was derived from value of type 'int' at '<unknown>'. Conditionals must have a boolean result.",
        ),
        ("nope", "Error while evaluating conditional: 'nope' is undefined"),
        ("x ==", "Syntax error in expression: unexpected 'end of template'"),
        ("", "Empty conditional expressions are not allowed."),
        ("x is failed", "The test plugin 'ansible.builtin.failed' failed: The 'failed' test expects a dictionary"),
        ("x | nope", "Syntax error in expression: No filter named 'nope'."),
        ("x.split(1)", "Error while evaluating conditional: object of type 'int' has no attribute 'split'"),
        ("1 / 0 == 1", "Error rendering expression: division by zero"),
    ],
)
def test_conditions_that_are_none(scope, text, message):
    with pytest.raises(TemplateFailed) as caught:
        scope(x=1).holds(expression(text))
    assert str(caught.value) == message


def test_an_expression_keeps_its_type(scope):
    assert scope(x=[1]).render(expression("x + [2]")) == [1, 2]


# ---- files of templates


def test_a_template_file(scope):
    of = scope(x=1)
    text = "{% if x %}\na\\n {{ 'b\\n' }}\n{% endif %}\nend\n"
    assert of.fill(text) == "a\\n b\n\nend\n"
    assert of.fill("no template\n") == "no template\n"
    assert of.fill("[[ x ]]{{ x }}", {"variable_start_string": "[[", "variable_end_string": "]]"}) == "1{{ x }}"
    assert of.fill("  {% if x %}\n  y\n  {% endif %}\n", {"lstrip_blocks": True}) == "  y\n"
    assert of.fill("{# nothing #}") == ""
    with pytest.raises(TemplateFailed, match="'nope' is undefined"):
        of.fill("x {{ nope }}\n")


# ---- where versions of core differ


def test_versions_of_core(scope):
    texts = {"2.19": True, "2.20": False, "2.21": False}
    for core, works in texts.items():
        of = templating.Engine(core).scope({"x": "ab"}.__getitem__)
        text = template("{{ x is regex('b', match_type='findall') }}")
        if works:
            assert of.render(text) is True
        else:
            with pytest.raises(TemplateFailed, match="Invalid match_type specified"):
                of.render(text)


def test_extensions_are_those_of_the_controller():
    engine = templating.Engine("2.21", ["jinja2.ext.do", "jinja2.ext.loopcontrols"])
    text = template(
        "{% for n in [1, 2] %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}{% do [].append(1) %}"
    )
    assert engine.scope({}.__getitem__).render(text) == 1


def test_filters_that_depend_on_the_controllers_folder_are_refused(scope):
    of = scope(x="/etc/app", y="app")
    assert of.render(template("{{ x | relpath('/etc') }}")) == "app"
    assert of.render(template("{{ y | relpath('x') }}")) == "../app"
    with pytest.raises(TemplateFailed, match=r"works on the controller only"):
        of.render(template("{{ x | relpath }}"))


def test_what_is_evaluated_again_is_not_compiled_again(scope, monkeypatch):
    compiled = []
    plain = jinja2.Environment._compile

    def compile_and_count(self, source, filename):
        compiled.append(source)
        return plain(self, source, filename)

    monkeypatch.setattr(jinja2.Environment, "_compile", compile_and_count)
    of = scope(x=template("{{ y }}!"), y=1)
    for number in range(3):
        assert of.render(template("{{ x }} for the first time")) == "1! for the first time"
        assert scope(y=number).holds(expression("y == %d and y is number" % 2)) is (number == 2)
    assert len(compiled) == 3
