# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host makes of what modules print, compared with what ansible-core makes of it."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible._internal._datatag._tags import TrustedAsTemplate
from ansible._internal._templating._engine import TemplateEngine
from ansible.release import __version__

from ansible_collections.background.jobs.plugins.module_utils._late import results
from ansible_collections.background.jobs.plugins.plugin_utils._core.results import registered

CORE = ".".join(__version__.split(".")[:2])
WARNING = {"event": {"msg": "careful", "__ansible_type": "Event"}, "__ansible_type": "WarningSummary"}
CHAIN = {
    "msg_reason": "<<< caused by >>>",
    "traceback_reason": "The above exception was the direct cause of the following error:",
    "event": {"msg": "x", "__ansible_type": "Event"},
    "follow": True,
    "__ansible_type": "EventChain",
}
CHAINED = {"event": {"msg": "bad.", "chain": CHAIN, "__ansible_type": "Event"}, "__ansible_type": "WarningSummary"}
OLD = {
    "event": {"msg": "old", "__ansible_type": "Event"},
    "deprecator": {"resolved_name": "a.b.c", "type": None, "__ansible_type": "PluginInfo"},
    "version": "9.9",
    "__ansible_type": "DeprecationSummary",
}
ERROR = {"event": {"msg": "bad", "__ansible_type": "Event"}, "__ansible_type": "ErrorSummary"}

PRINTED: list[dict[str, t.Any]] = [
    {},
    {"changed": True, "msg": "ok"},
    {"rc": 0},
    {"rc": 3},
    {"rc": 3, "failed": False},
    {"changed": "yes"},
    {"changed": "no", "warnings": ["after"]},
    {"warnings": ["before"], "failed": 1, "msg": "no"},
    {"skipped": 1, "finished": 1, "unreachable": 0},
    {"rc": "3"},
    {"rc": "none"},
    {"rc": None, "msg": None, "diff": None, "other": None},
    {"failed": True},
    {"failed": True, "msg": ""},
    {"failed": True, "msg": "no", "exception": ERROR},
    {"failed": True, "exception": "Traceback"},
    {"failed": False, "exception": ERROR, "msg": "fine"},
    {"stdout": "a\nb", "stderr": ""},
    {"stdout": "a\nb", "stdout_lines": ["mine"]},
    {"stdout": False},
    {"results": ["a"]},
    {"results": "text"},
    {"results": {"a": 1}},
    {"skipped": True, "changed": False},
    {"ansible_facts": {"a": 1, "discovered_interpreter_python": "x", "ansible_discovered_interpreter_python": "x"}},
    {"_ansible_verbose": True, "a": 1},
    {"warnings": [WARNING, "plain", CHAINED]},
    {"warnings": []},
    {"deprecations": [OLD, {"msg": "older", "version": "1.0", "collection_name": "d.e"}]},
    {"diff": [{"before": "", "after": "x"}], "changed": True},
    {"unreachable": False, "skipped": False},
    {"braces": "{{ 1 + 1 }}", "nested": [{"a": "{% if %}"}]},
]


def _in_templates(result: dict[str, t.Any]) -> t.Any:
    """Return a result as expressions of a playbook see it."""
    return TemplateEngine(variables={"out": result}).evaluate_expression(TrustedAsTemplate().tag("out"))


@pytest.mark.parametrize("printed", PRINTED, ids=lambda printed: json.dumps(printed)[:60])
def test_a_host_makes_of_it_what_core_makes_of_it(printed: dict[str, t.Any]) -> None:
    expected = _in_templates(registered(json.dumps(printed)))
    assert results.of_module(json.loads(json.dumps(printed)), CORE).finish().value == expected
