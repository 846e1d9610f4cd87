# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Evaluates templates, expressions and conditions. Needs Jinja2; others use templating.py."""

from __future__ import annotations

import ast

from ansible_collections.background.jobs.plugins.module_utils._late.containers import LazyDict, going_on, lazy
from ansible_collections.background.jobs.plugins.module_utils._late.environment import Environment, Variables
from ansible_collections.background.jobs.plugins.module_utils._late.failures import (
    ConditionFailure,
    Failure,
    SyntaxFailure,
    TemplateFailed,
    UndefinedFailure,
    message_of,
    type_name,
)
from ansible_collections.background.jobs.plugins.module_utils._late.filters import filters
from ansible_collections.background.jobs.plugins.module_utils._late.finalize import finalized
from ansible_collections.background.jobs.plugins.module_utils._late.jinja import TemplateSyntaxError
from ansible_collections.background.jobs.plugins.module_utils._late.jinja_tests import tests
from ansible_collections.background.jobs.plugins.module_utils._late.markers import (
    CapturedExceptionMarker,
    MarkerError,
    UndefinedMarker,
    calling,
)
from ansible_collections.background.jobs.plugins.module_utils._late.values import (
    OMIT,
    Expression,
    Items,
    Template,
    Trusted,
    Undefined,
    is_template,
)

_CACHED = 5000  # compiled texts, far more than the tasks of a job have
_OVERRIDES = "#jinja2:"
_OPTIONS = {
    "block_start_string": "{%",
    "block_end_string": "%}",
    "variable_start_string": "{{",
    "variable_end_string": "}}",
    "comment_start_string": "{#",
    "comment_end_string": "#}",
    "line_statement_prefix": None,
    "line_comment_prefix": None,
    "trim_blocks": True,
    "lstrip_blocks": False,
    "newline_sequence": "\n",
    "keep_trailing_newline": False,
}
_STARTS = ("block_start_string", "variable_start_string", "comment_start_string")
_UNTRUSTED = "Encountered untrusted template or expression."
_OMITTED = "A template was resolved to an Omit scalar."
_EMPTY = "Empty conditional expressions are not allowed."


class Compiler:
    """Compiles, and remembers what it has compiled."""

    def __init__(self, core, extensions):
        self._environment = Environment(filters(core), tests(core), extensions)
        self._compiled = {}

    @property
    def functions(self):
        return self._environment.globals

    def context(self, template, variables):
        environment = template.environment
        return environment.context_class(environment, variables, template.name, template.blocks)

    def template(self, text, options, escaping):
        return self._remembered((text, options, escaping), self._compile, text, options, escaping)

    def expression(self, text):
        return self._remembered(text, self._compile_expression, text)

    def _remembered(self, key, compiler, *args):
        found = self._compiled.get(key)
        if found is None:
            if len(self._compiled) >= _CACHED:
                self._compiled.clear()
            found = self._compiled[key] = compiler(*args)
        return found

    def _compile_expression(self, text):
        # Its template assigns the value to the variable that __call__ of Jinja2's class would return.
        return self._environment.compile_expression(text, undefined_to_none=False)._template

    def _compile(self, text, options, escaping):
        text, options = _with_overrides(text, dict(options))
        changed = {name: value for name, value in options.items() if value != _OPTIONS[name]}
        environment = self._environment.overlay(**changed) if changed else self._environment
        environment.escaping = escaping
        try:
            return environment.from_string(text)
        finally:
            environment.escaping = False


def _with_overrides(text, options):
    """Remove the first line of a template if it overrides delimiters or white space, and return (text, options)."""
    if not text.startswith(_OVERRIDES):
        return text, options
    line, newline, rest = text[len(_OVERRIDES) :].partition("\n")
    try:
        if not newline:
            raise ValueError("Missing newline after %r override." % _OVERRIDES)
        return rest, {**options, **dict(_override(pair) for pair in line.split(","))}
    except (ValueError, SyntaxError, TypeError) as exc:
        raise SyntaxFailure("Syntax error in template.") from exc


def _override(pair):
    if not pair.strip():
        raise ValueError("Empty %r override pair not allowed." % _OVERRIDES)
    key, colon, value = pair.partition(":")
    if not colon:
        raise ValueError("Missing key-value separator `:` in %r override pair %r." % (_OVERRIDES, pair))
    key = key.strip()
    if key not in _OPTIONS:
        raise ValueError("Invalid %r override key %r." % (_OVERRIDES, key))
    return key, ast.literal_eval(value.strip())


class Run:
    """One rendering requested from outside, with all that is rendered on the way."""

    def __init__(self, compiler, lookup):
        self.lookup = lookup
        self._compiler = compiler
        self._embedding = False
        self._source = Template("")

    # ---- from the outside

    def ended(self, work):
        """Return work(self); TemplateFailed if it fails."""
        try:
            with going_on(self):
                return work(self)
        except Failure as exc:
            raise TemplateFailed(message_of(exc)) from None

    def whole(self, value):
        result = self.template(value)
        return OMIT if result is OMIT else self._finalized(result, value)

    def _finalized(self, result, source):
        """Return a result in plain types; Failure if it contains a marker, or something that variables can't hold."""
        try:
            return finalized(result)
        except MarkerError as exc:
            failure = exc.marker.failure()
        except Exception as exc:  # any exception is a failure of the template
            failure = exc
        described = _described(failure, source)
        if described is failure:
            raise failure
        raise described from failure

    def condition(self, value):
        try:
            result = self._condition(_stripped(value))
        except UndefinedFailure as exc:
            raise UndefinedFailure("Error while evaluating conditional.") from exc
        if isinstance(result, bool):
            return result
        raise ConditionFailure(
            "Conditional result (%s) was derived from value of type %r at '<unknown>'. "
            "Conditionals must have a boolean result." % (bool(result), type_name(result))
        )

    def _condition(self, value):
        if isinstance(value, bool):
            return value
        if isinstance(value, Undefined):
            return self._finalized(self.template(value), value)
        text = value.text if isinstance(value, Template) else value
        if not isinstance(text, str):
            raise ConditionFailure("Conditional expressions must be strings.")
        if isinstance(value, str) and not isinstance(value, Trusted):
            raise Failure(_UNTRUSTED)
        return self._indirect(text) if _is_all_template(text) else self._evaluated(text)

    def _indirect(self, text):
        """Evaluate a condition that is a template: its value is the outcome, or another condition."""
        source = Template(text)
        result = self.template(source)
        trusted = isinstance(result, Trusted)
        if result is OMIT:
            raise Failure(_OMITTED)
        result = _stripped(self._finalized(result, source))
        if not isinstance(result, str):
            return result
        if not trusted:
            raise Failure(_UNTRUSTED)
        return self._evaluated(result)

    def _evaluated(self, text):
        self._embedding = True
        source = Expression(text)
        result = self.template(source)
        if result is OMIT:
            raise Failure(_OMITTED)
        return self._finalized(result, source)

    def file(self, text, options):
        source = Template(text)
        result = self._caught(source, lambda: self._text(text, options, escaping=False))
        result = self._finalized(result, source)
        return "" if result is None else result

    # ---- on the way

    def template(self, value):
        """Return a value rendered as far as needed at once: lists and dicts render their items on access."""
        if isinstance(value, Template):
            return self._caught(value, lambda: self._one(value))
        if isinstance(value, Undefined):
            return _marker(value)
        if isinstance(value, Items):
            return self._caught(Template(""), lambda: self._items(value))
        return lazy(value, self)

    def embedded(self, text):
        """Return a constant in an expression that itself looks like a template: rendered in conditions only."""
        return self.template(Template(text)) if self._embedding else text

    def deferred(self, exc):
        """Return the marker of a failure on the way."""
        if isinstance(exc, MarkerError):
            return exc.marker
        failure = _described(exc, self._source)
        if failure is not exc:
            failure.__cause__ = exc
        return CapturedExceptionMarker(failure)

    def _items(self, value):
        pairs = [(self.whole(key), item) for key, item in value.pairs]
        return LazyDict([(key, item) for key, item in pairs if key is not OMIT], self)

    def _caught(self, value, work):
        source, self._source = self._source, value
        embedding, self._embedding = self._embedding, self._embedding and isinstance(value, Expression)
        try:
            with going_on(self), calling(accepts=True):
                return work()
        except Exception as exc:  # any exception is a failure of the template
            return self.deferred(exc)
        finally:
            self._source, self._embedding = source, embedding

    def _one(self, value):
        if isinstance(value, Expression):
            return self._expression(value.text)
        return self._text(value.text, {}, escaping=True)

    def _expression(self, text):
        template = self._compiler.expression(text)
        context = self._compiler.context(template, self._variables())
        for dummy in template.root_render_func(context):
            pass
        return context.vars["result"]

    def _text(self, text, options, escaping):
        options = {**_OPTIONS, **options}
        if not text.startswith(_OVERRIDES) and not any(options[name] in text for name in _STARTS):
            return text
        template = self._compiler.template(text, tuple(sorted(options.items())), escaping)
        context = self._compiler.context(template, self._variables())
        result = template.environment.concat(template.root_render_func(context))
        return _with_newlines(text, result, options["newline_sequence"])

    def _variables(self):
        return Variables(self, self._compiler.functions)


def _marker(undefined):
    if undefined.failed:
        return CapturedExceptionMarker(Failure(undefined.message))
    return UndefinedMarker(undefined.message)


def _described(exc, source):
    """Return a failure in core's words: `exc` itself, or one to be raised from it."""
    if isinstance(exc, Failure):
        return exc
    kind = "expression" if isinstance(source, Expression) else "template"
    if isinstance(exc, RecursionError):
        return Failure("Recursive loop detected in %s." % kind)
    if isinstance(exc, TemplateSyntaxError):
        message = "Syntax error in %s." % kind
        if kind == "expression" and is_template(source.text):
            message += " Template delimiters are not supported in expressions."
        return SyntaxFailure(message)
    return Failure("Error rendering %s." % kind)


def _stripped(value):
    if isinstance(value, Template):
        value = type(value)(value.text.strip())
    elif isinstance(value, str):
        value = type(value)(value.strip())
    if value is None or value == "" or (isinstance(value, Template) and not value.text):
        raise ConditionFailure(_EMPTY)
    return value


def _is_all_template(text):
    if text.startswith(_OVERRIDES):
        return True
    return text.startswith(("{{", "{%", "{#")) and text.endswith(("}}", "%}", "#}"))


def _newlines(text):
    return len(text) - len(text.rstrip("\n"))


def _with_newlines(text, result, newline):
    """Put back the newline at the end of a text, which Jinja2 drops."""
    missing = _newlines(text) - _newlines(result) if isinstance(result, str) else 0
    return result + newline * missing if missing > 0 else result
