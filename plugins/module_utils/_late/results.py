# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The results of tasks, as ansible-core registers them: made from a module's output, and changed by the task's keywords.

Up to core 2.20 a result is a dict that each layer adds to; since 2.21 it has fields, so that some keys are always there.
"""

from __future__ import annotations

import json

from ansible_collections.background.jobs.plugins.module_utils._late import messages
from ansible_collections.background.jobs.plugins.module_utils._protocol import results as protocol

UNAVAILABLE = "(traceback unavailable)"  # what core shows for an exception without its traceback

# The effects of a result on variables.
GATHERED, INCLUDED, SET, SET_CACHEABLE = "gathered", "included", "set", "set_cacheable"

_UNKNOWN = "Unknown error."
_INTERNAL = ("add_host", "add_group")  # core 2.19 and 2.20 take these keys from modules for themselves
_INTERNAL_KEY = "Removed unexpected internal key in module return: {0} = {1}"
_RESERVED_KEY = "Removed reserved key {0!r} from module result."
_ONLY_TRUE = ("unreachable", "skipped")
_DISCOVERED = ("discovered_interpreter_", "ansible_discovered_interpreter_")
# Keys that core 2.21 leaves out if they are null.
_FIELDS = (
    "changed",
    "failed",
    "unreachable",
    "skipped",
    "warnings",
    "deprecations",
    "ansible_facts",
    "exception",
    "finished",
    "msg",
    "rc",
    "diff",
    "ansible_stats",
    "ansible_job_id",
)

# The types that core 2.21 converts fields to.
_TYPES = {"changed": bool, "failed": bool, "unreachable": bool, "skipped": bool, "finished": bool, "rc": int}


def version_of(core):
    """Return a version of ansible-core, as "2.21", as a tuple to compare with."""
    return tuple(int(part) for part in core.split(".")[:2])


class Result:
    """What a task, or one turn of its loop, has returned.

    value: as it is registered; error: why it failed, as (who, why), if core would raise that; effect: what it does to
    the variables of the job if its task succeeds, as (kind, variables).
    """

    __slots__ = ("_has_fields", "effect", "error", "messages", "value")

    def __init__(self, value, core, error=None):
        self._has_fields = version_of(core) >= (2, 21)
        self.value = value
        self.error = error
        self.effect = None
        self.messages = {}  # warnings and deprecations as the module printed them

    @property
    def failed(self):
        return bool(self.value.get("failed"))

    @property
    def changed(self):
        return bool(self.value.get("changed"))

    @property
    def skipped(self):
        return bool(self.value.get("skipped"))

    def complete(self):
        """Add what core adds to the result of any action."""
        value = self.value
        for stream in ("stdout", "stderr"):
            # older cores do it for modules only
            if self._has_fields and stream in value and stream + "_lines" not in value:
                value[stream + "_lines"] = (value[stream] or "").splitlines()
        value["failed"] = protocol.has_failed(value)
        # older cores keep text that a module returns
        value["changed"] = protocol.has_changed(value) if self._has_fields else value.get("changed", False)
        return self

    def set_changed_when(self, outcome):
        """outcome: whether it has changed something, or why that is unknown."""
        if isinstance(outcome, bool):
            self.value["changed"] = outcome
            if self._has_fields:
                self.value["changed_when_result"] = outcome
        else:
            self._keyword_failed("changed", outcome)

    def set_failed_when(self, outcome):
        """outcome: whether it has failed, or why that is unknown."""
        if not isinstance(outcome, bool):
            self._keyword_failed("failed", outcome)
            return
        suppressed = self.error is not None and (self._has_fields or not outcome)
        if suppressed:
            self.value["failed_when_suppressed_exception"] = UNAVAILABLE
        self.value.pop("exception", None)
        self.value["failed"] = self.value["failed_when_result"] = outcome
        if self._has_fields:
            self.error = ("Action", "A 'failed_when' expression evaluated to 'True'.") if outcome else None
        elif not outcome:
            self.error = None

    def set_break_when(self, outcome):
        """outcome: whether its loop ends with it, or why that is unknown."""
        if not isinstance(outcome, bool):
            self._keyword_failed("break", outcome)
            self.value["exception"] = UNAVAILABLE
        elif self._has_fields:
            self.value["break_when_result"] = outcome

    def _keyword_failed(self, keyword, why):
        if self._has_fields:
            if self.error is not None:
                self.value["%s_when_suppressed_exception" % keyword] = UNAVAILABLE
            self.error = ("Action", "A '%s_when' expression failed: %s" % (keyword, why))
        self.value["failed"] = True
        self.value["%s_when_result" % keyword] = why

    def exhausted(self, attempts):
        """Note that so many further attempts were in vain."""
        self.value["attempts"] = attempts
        if not (self._has_fields and "failed_when_result" in self.value):
            self.value["failed"] = True

    def finish(self):
        """Complete a failure with its message and exception, as core does by raising it."""
        value = self.value
        if not value.get("failed") or (self._has_fields and self.error is None):
            return self
        who, why = self.error or ("Action", str(value.get("msg", _UNKNOWN)))
        value["exception"] = UNAVAILABLE
        if not value.get("msg") if self._has_fields else "msg" not in value:
            value["msg"] = "Task failed: %s failed: %s" % (who, why)
        return self

    def register(self):
        """Leave out what older cores do not register for a task without a loop."""
        if not self._has_fields and "invocation" in self.value:
            self.value = {key: item for key, item in self.value.items() if key != "invocation"}

    def told(self):
        """Return it as reported to the controller: with warnings and deprecations in the form that it displays."""
        return dict(self.value, **self.messages) if self.messages else self.value


def of_module(printed, core):
    """Return the Result of a module; printed: the dict that it printed."""
    has_fields = version_of(core) >= (2, 21)
    result = Result(dict(printed), core)
    value = result.value
    said, after = _remove_reserved(value, _RESERVED_KEY if has_fields else _INTERNAL_KEY), []
    if has_fields:
        before, after = _convert(value)
        said += before
        _remove_empty(value)
    else:
        for key in _INTERNAL:
            value.pop(key, None)
    said += _rename_results(value, keep=has_fields)
    _drop_discovered(value)
    for stream in ("stdout", "stderr"):
        if stream in value and stream + "_lines" not in value:
            value[stream + "_lines"] = (value[stream] or "").splitlines()
    _take_messages(result, said, after)
    exception = value.pop("exception", None)
    has_said_so = exception or value.get("failed")
    if not has_fields and "failed" not in value and "rc" in value:
        value["failed"] = value["rc"] not in (0, "0")
    result.complete()
    if has_said_so or (has_fields and result.failed):
        why = str(value.get("msg") or _UNKNOWN) if has_fields else str(value.get("msg", _UNKNOWN))
        result.error = ("Module", why)
        value["exception"] = UNAVAILABLE
    if value.get("ansible_facts"):
        result.effect = (GATHERED, value["ansible_facts"])
    return result


def _remove_reserved(value, message):
    """Remove keys that modules may not return; return core's warnings on that."""
    reserved = [key for key in value if key.startswith("_ansible_")]
    return [message.format(key, value.pop(key)) for key in reserved]


def _convert(value):
    """Convert fields to their types; return core's warnings on that, those before the result's own and those after."""
    before, after = [], []
    said = before
    for key, given in list(value.items()):
        said = after if key == "warnings" else said
        kind = _TYPES.get(key, object)
        if given is None or isinstance(given, kind):
            continue
        of = "Value for result key %r of type %s was " % (key, type(given).__name__)
        try:
            value[key] = kind(given)
            said.append(of + "converted to %s." % kind.__name__)
        except (TypeError, ValueError):
            value[key] = None
            said.append(of + "replaced with None.")
    return before, after


def _remove_empty(value):
    for key in _FIELDS:
        if key in value and (value[key] is None or (key in _ONLY_TRUE and not value[key])):
            del value[key]


def of_action(value, core):
    """Return the Result of an action that needs no module."""
    result = Result(value, core).complete()
    if result.failed:
        result.error = ("Action", str(value.get("msg") or _UNKNOWN))
    return result


def _rename_results(value, keep):
    found = value.get("results", [])
    if isinstance(found, list):
        return []
    value["ansible_module_results"] = found
    if keep:
        return []
    del value["results"]
    return ["Found internal 'results' key in module return, renamed to 'ansible_module_results'."]


def _drop_discovered(value):
    facts = value.get("ansible_facts")
    if isinstance(facts, dict):
        value["ansible_facts"] = {key: item for key, item in facts.items() if not key.startswith(_DISCOVERED)}


def _take_messages(result, before, after):
    value = result.value
    if before or after:
        own = value.get("warnings")
        value["warnings"] = before + (own if isinstance(own, list) else []) + after
    for key, shown in (("warnings", messages.brief), ("deprecations", messages.deprecation)):
        said = value.get(key)
        if key not in value:
            continue
        del value[key]
        if said and isinstance(said, list):
            result.messages[key] = said
            value[key] = [shown(item) for item in said]


def failure(message, core, bare=False, **more):
    """Return the Result of a task that could not be carried out. bare: core fails it before the task has begun."""
    value = dict(more, failed=True, exception=UNAVAILABLE, msg=message)
    if not bare or version_of(core) >= (2, 21):
        value["changed"] = False
    return Result(value, core)


def skipped(reason, core, false_condition=None, **more):
    """Return the Result of a task that was left out."""
    value = dict(more, changed=False, skipped=True, skip_reason=reason)
    if version_of(core) >= (2, 21):
        value["failed"] = False
    if false_condition is not None:
        value["false_condition"] = false_condition
    return Result(value, core)


def no_items(core):
    """Return the Result of a loop over nothing."""
    reason = "No items in the list"
    value = {"changed": False, "skipped": True, "skipped_reason": reason, "results": []}
    if version_of(core) >= (2, 21):
        value.update(failed=False, skip_reason=reason)
    return Result(value, core)


def of_loop(turns, core):
    """Return the Result of a task with a loop; turns: the Results of its turns."""
    has_fields = version_of(core) >= (2, 21)
    values = [turn.value for turn in turns]
    failed = _any_failed(values) if has_fields else any(value.get("failed") for value in values)
    all_skipped = all(turn.skipped for turn in turns)
    value = {"results": values, "changed": any(turn.changed for turn in turns)}
    value["msg"] = "One or more items failed" if failed else "All items completed"
    if all_skipped:
        value["msg"] = "All items skipped"
    if has_fields:
        value["failed"] = failed
        if all_skipped:
            value.update(skipped=True, changed=False)
    else:
        value["skipped"] = all_skipped
        if failed:
            value["failed"] = True
    result = Result(value, core)
    for key in ("warnings", "deprecations"):
        said = [item for turn in values for item in turn.get(key, ())]
        if said:
            value[key] = said
            if not has_fields:
                for turn in values:
                    turn.pop(key, None)
    return result


def _any_failed(values):
    told = [value["failed_when_result"] for value in values if value.get("failed_when_result") is not None]
    return any(told) if told else any(value.get("failed") for value in values)


def text_of(result):
    """Return the JSON text of a Result as reported to the controller."""
    return json.dumps(result.told())
