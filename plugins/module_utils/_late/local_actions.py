# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The actions that need no module, with the results of their plugins in ansible-core.

Each is a generator: it yields the seconds that it has to wait, if any, and returns a Result.
"""

from __future__ import annotations

import datetime
import keyword

from ansible_collections.background.jobs.plugins.module_utils._late import results
from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed
from ansible_collections.background.jobs.plugins.module_utils._late.values import OMIT, decode

_TRUE = ("y", "yes", "on", "1", "true", "t", "1.0")
_FALSE = ("n", "no", "off", "0", "false", "f", "0.0")


class ActionFailed(Exception):
    """The action cannot be carried out; the message is core's. bare: the result has it without 'Task failed'."""

    def __init__(self, message, bare=False):
        super().__init__(message)
        self.bare = bare


def run(name, args, task):
    """Return the generator of an action; args: its Value; task: its Context."""
    return _ACTIONS[name](args, task)


class Context:
    """What an action can use: render(value), holds(value); core; module: its full name; verbosity; now(), wall(now)."""

    def __init__(self, render, holds, module, executor):
        self.render, self.holds, self.module = render, holds, module
        self.core, self.verbosity, self.wall = executor.core, executor.verbosity, executor.wall
        self._executor = executor
        self.given = {}  # the arguments that were rendered

    def now(self):
        return self._executor.now

    def arguments(self, args):
        """Return the rendered arguments, without omitted ones."""
        if not isinstance(args, dict) or _is_special(args):
            rendered = self._argument(None, args if args is not None else {})
            return dict(rendered) if isinstance(rendered, dict) else {}
        values = ((name, self._argument(name, value)) for name, value in args.items())
        self.given = {name: value for name, value in values if value is not OMIT}
        return dict(self.given)

    def _argument(self, name, value):
        try:
            return self.render(value)
        except TemplateFailed as exc:
            raise TemplateFailed(finalization(self.module, name, exc)) from None

    def returns(self, **value):
        return results.of_action(value, self.core)


def finalization(module, name, why):
    """Return the message for an argument that cannot be rendered."""
    of = "Error while resolving value for %r: " % name if name is not None else ""
    return "Finalization of task args for %r failed: %s%s" % (module, of, why)


def _is_special(args):
    return len(args) == 1 and next(iter(args)).startswith("$")


def boolean(value):
    """Return a truth value as core reads it from an argument."""
    if isinstance(value, bool):
        return value
    text = str(value).lower().strip()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ActionFailed(
        "The value %r is not a valid boolean. Valid booleans include: %s"
        % (value, ", ".join(repr(word) for word in (*_TRUE, *_FALSE)))
    )


def whole_number(name, value):
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ActionFailed(
            "argument '%s' is of type %s and we were unable to convert to int: %r cannot be converted to an int"
            % (name, type(value).__name__, value),
            bare=True,
        ) from None


def _debug(args, task):
    yield from ()
    if isinstance(args, dict) and "var" in args:
        return _debug_var(args, task)
    given = task.arguments(args)
    if whole_number("verbosity", given.get("verbosity", 0)) > task.verbosity:
        return _below_verbosity(task)
    return task.returns(msg=given.get("msg", "Hello world!"))


def _below_verbosity(task):
    return task.returns(skipped_reason="Verbosity threshold not met.", skipped=True)


def _debug_var(args, task):
    others = {name: value for name, value in args.items() if name != "var"}
    if whole_number("verbosity", task.arguments(others).get("verbosity", 0)) > task.verbosity:
        return _below_verbosity(task)
    text = text_of(args["var"])
    try:
        return task.returns(**{text: task.render({"$expr": text})})
    except TemplateFailed as exc:
        result = task.returns(**{text: "<< error 1 - %s >>" % exc})
        result.value["warnings"] = ["Encountered 1 template error.\nerror 1 - %s" % exc]
        return result


def text_of(value):
    """Return the text of an expression that the controller wrote."""
    if isinstance(value, dict):
        return value.get("$expr", value.get("$template", ""))
    return value


def _assert(args, task):
    yield from ()
    that = args.get("that")
    given = task.arguments({name: value for name, value in args.items() if name != "that"})
    fail_msg = _message("fail_msg", given.get("fail_msg", given.get("msg", "Assertion failed")))
    success_msg = _message("success_msg", given.get("success_msg", "All assertions passed"))
    boolean(given.get("quiet", False))
    for condition in that if isinstance(that, list) else [that]:
        written, value = condition if isinstance(condition, list) else (text_of(condition), condition)
        if not task.holds(value):
            return task.returns(failed=True, evaluated_to=False, assertion=written, msg=fail_msg)
    return task.returns(msg=success_msg)


def _message(name, value):
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value)):
        return value
    raise ActionFailed(
        "argument '%s' is of type %s and we were unable to convert to str_or_list_of_str: "
        "a string or list of strings is required" % (name, type(value).__name__),
        bare=True,
    )


def _fail(args, task):
    yield from ()
    given = task.arguments(args)
    return task.returns(failed=True, msg=given.get("msg", "Failed as requested from task"))


def _set_fact(args, task):
    yield from ()
    given = task.arguments(args)
    cacheable = boolean(given.pop("cacheable", False))
    if not given:
        raise ActionFailed(
            "No key/value pairs provided, at least one is required for this action to succeed", bare=True
        )
    for name in given:
        check_name(name)
    result = task.returns(ansible_facts=given)
    result.effect = (results.SET_CACHEABLE if cacheable else results.SET, given)
    return result


def check_name(name):
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier() or keyword.iskeyword(name):
        raise ActionFailed("Invalid variable name %r." % (name,))


def _include_vars(args, task):
    """args: {"data": {name: Value}, "files": [paths], "weaker": [names]}, as read by the controller.

    weaker: names that lose to what tasks before the launch have set or registered.
    """
    yield from ()
    result = task.returns(ansible_facts={}, ansible_included_var_files=list(args.get("files", ())))
    weaker = args.get("weaker", ())
    variables = {name: decode(value) for name, value in args["data"].items() if name not in weaker}
    for name, value in args["data"].items():
        try:
            result.value["ansible_facts"][name] = task.render(value)
        except TemplateFailed:
            pass  # it may be defined by the time it is used
    result.effect = (results.INCLUDED, variables)
    return result


def _pause(args, task):
    given = task.arguments(args)
    unit, seconds = "seconds", None
    if given.get("minutes") is not None:
        unit, seconds = "minutes", whole_number("minutes", given["minutes"]) * 60
    elif given.get("seconds") is not None:
        seconds = whole_number("seconds", given["seconds"])
    begun = task.now()
    if seconds is not None:
        yield float(max(seconds, 1))
    ended = task.now()
    took = round((ended - begun) / 60.0, 2) if unit == "minutes" or seconds is None else round(ended - begun, 2)
    return task.returns(
        rc=0,
        stderr="",
        stdout="Paused for %s %s" % (took, unit if seconds is not None else "minutes"),
        start=_shown_time(task.wall(begun)),
        stop=_shown_time(task.wall(ended)),
        delta=int(ended - begun),
        echo=boolean(given.get("echo", True)),
        user_input="",
    )


def _shown_time(at):
    return str(datetime.datetime.fromtimestamp(at))


def _noop(args, task):
    yield from ()
    return task.returns()


def _include(args, task):
    """Return the result of the include itself; args: for older cores, which report them."""
    yield from ()
    if results.version_of(task.core) >= (2, 21):
        return task.returns()
    return results.Result({"include": args.get("file"), "include_args": args.get("args"), "changed": False}, task.core)


_ACTIONS = {
    "debug": _debug,
    "assert": _assert,
    "fail": _fail,
    "set_fact": _set_fact,
    "include_vars": _include_vars,
    "pause": _pause,
    "noop": _noop,
    "include": _include,
}
