# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import json

import pytest

from ansible_collections.background.jobs.plugins.module_utils._late import values


@pytest.mark.parametrize(
    "data", [None, True, 1, 1.5, "x", "{{ x }}", [], {}, {"a": [{"b": 1}]}, {"$template": 1, "b": 2}]
)
def test_plain_values_are_what_they_are(data):
    assert values.decode(data) == data


@pytest.mark.parametrize("key", values.KEYS)
def test_a_constant_that_looks_like_a_value_travels_as_a_literal(key):
    assert values.decode({"$literal": {key: "{{ x }}"}}) == {key: "{{ x }}"}
    assert values.decode([{"a": {"$literal": [{key: 1}]}}]) == [{"a": [{key: 1}]}]


def test_texts_that_are_templates_and_texts_that_are_none():
    template = values.decode({"$template": "{{ x }}"})
    assert (type(template), template.text) == (values.Template, "{{ x }}")
    text = values.decode({"$template": "x == 1"})
    assert (type(text), text) == (values.Trusted, "x == 1")
    assert json.dumps(text) == '"x == 1"'


@pytest.mark.parametrize("text", ["{{", "a {% b", "{# c #}", "#jinja2:x\n"])
def test_what_makes_a_text_a_template(text):
    assert values.is_template(text)


def test_values_within_values():
    decoded = values.decode(
        {"a": [{"$omit": True}, {"$expr": "x is changed"}], "b": {"$undefined": "'y' is undefined"}}
    )
    omitted, expression = decoded["a"]
    assert omitted is values.OMIT
    assert (type(expression), expression.text) == (values.Expression, "x is changed")
    assert (decoded["b"].message, decoded["b"].failed) == ("'y' is undefined", False)


def test_what_is_decoded_is_not_decoded_again():
    decoded = values.decode({"a": {"$literal": {"$template": "{{ x }}"}}, "b": {"$template": "{{ x }}"}})
    again = values.decode(decoded["b"])
    assert again is decoded["b"]


def test_dates_become_the_text_that_a_module_gets():
    day = datetime.date(2026, 1, 2)
    assert values.jsonable({"a": [day, (1,)]}) == {"a": ["2026-01-02", [1]]}
    assert values.jsonable(datetime.datetime(2026, 1, 2, 3, 4, 5)) == "2026-01-02T03:04:05"
