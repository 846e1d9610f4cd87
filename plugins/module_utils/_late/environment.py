# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Jinja2's environment, set up to evaluate as ansible-core 2.19 and later do.

Single expressions keep their types, a failure becomes a marker until it is used, filters and tests of ansible.builtin
come before Jinja2's own, and core's names that need the controller say so.
"""

from __future__ import annotations

import collections
import collections.abc
import datetime
import sys

from ansible_collections.background.jobs.plugins.module_utils._late.containers import current_run, lazy, lazy_arguments
from ansible_collections.background.jobs.plugins.module_utils._late.failures import Failure, PluginFailure
from ansible_collections.background.jobs.plugins.module_utils._late.finalize import CONCATENATED, finalized
from ansible_collections.background.jobs.plugins.module_utils._late.jinja import (
    Context,
    FunctionLoader,
    Lexer,
    Macro,
    NativeCodeGenerator,
    SandboxedEnvironment,
    TemplateSyntaxError,
    defaults,
    missing,
    pass_context,
)
from ansible_collections.background.jobs.plugins.module_utils._late.markers import (
    CapturedExceptionMarker,
    Marker,
    MarkerError,
    TruncationMarker,
    UndefinedMarker,
    calling,
    first_marker,
    seen,
)
from ansible_collections.background.jobs.plugins.module_utils._late.values import OMIT, is_template

_ABSENT = object()
_ITERATORS = (
    collections.abc.Iterator,
    collections.abc.ItemsView,
    collections.abc.KeysView,
    collections.abc.ValuesView,
    range,
)
# Python's bit operators, which filters like `map` may call by these names: safe on integers.
_SAFE_OF_INTEGERS = ("__and__", "__lshift__", "__or__", "__rshift__", "__xor__")


def _consumed(result):
    return lazy(list(result) if isinstance(result, _ITERATORS) else result)


# ---- filters and tests


def plugin(kind, name, function):
    """Wrap a filter or test for templates: a marker among its arguments becomes its result, a failure becomes a marker."""
    takes_markers = getattr(function, "takes_markers", False)
    takes_marked = getattr(function, "takes_marked", False)

    def call(*args, **kwargs):
        if not takes_markers:
            marker = first_marker(args, kwargs)
            if marker is not None:
                return marker
        try:
            with calling(accepts=takes_marked):
                args, kwargs = lazy_arguments(args, kwargs)
                result = function(*args, **kwargs)
                return _consumed(result) if kind == "filter" else _truth(result)
        except MarkerError as exc:
            return exc.marker
        except Exception as exc:  # any exception is a failure of the filter
            return CapturedExceptionMarker(_plugin_failure(kind, name, exc))

    if hasattr(function, "jinja_pass_arg"):
        call.jinja_pass_arg = function.jinja_pass_arg
    return call


def _truth(result):
    return result if isinstance(result, Marker) else bool(result)


def _plugin_failure(kind, name, cause):
    failure = PluginFailure("The %s plugin %r failed." % (kind, "ansible.builtin." + name))
    failure.__cause__ = cause
    return failure


def _plugins(kind, of_jinja, of_ansible):
    """Every name under which a playbook can call a filter or a test."""
    found = {}
    for name, function in of_jinja.items():
        found[name] = found["ansible.builtin." + name] = plugin(kind, name, function)
    for name, function in of_ansible.items():
        call = plugin(kind, name, function)
        for prefix in ("", "ansible.builtin.", "ansible.legacy."):
            found[prefix + name] = call
    return found


# ---- global functions


def _direct(function):
    """Mark a function that may be called with markers."""
    function.called_directly = True
    return function


def _is_direct(function):
    return callable(function) and getattr(function, "called_directly", False)


@_direct
def _undef(hint=None):
    if isinstance(hint, Marker):
        hint.trip()
    if not isinstance(hint, (str, type(None))):
        raise TypeError("The 'hint' argument must be of type 'str' or 'NoneType', not %r." % type(hint).__name__)
    return UndefinedMarker(hint or "Mandatory variable has not been overridden")


def _now(utc=False, fmt=None):
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) if utc else datetime.datetime.now()
    return now.strftime(fmt) if fmt else now


@_direct
def _lookup(name="", *dummy, **unused):
    raise Failure(
        "The lookup plugin %r works on the controller only: what a job finds out while it runs is not known there."
        % (name,)
    )


def _include(name):
    raise Failure("The file %r can be included on the controller only: it is not sent to hosts." % name)


# ---- the environment


class Variables:
    """What a template sees: its own names, then variables, each rendered on access, then Jinja2's functions."""

    def __init__(self, run, functions, names=None):
        self._run = run
        self._functions = functions
        self._known = dict(names or {})

    def get(self, name, default=None):
        try:
            return self._known[name]
        except KeyError:
            value = self._run.lookup(name, _ABSENT)
        if value is _ABSENT:
            return self._functions.get(name, default)
        value = self._known[name] = self._run.template(value)
        return value

    def with_names(self, names):
        return Variables(self._run, self._functions, {**self._known, **names})

    def copy(self):
        return Variables(self._run, self._functions, self._known)

    def __contains__(self, name):
        return self.get(name, _ABSENT) is not _ABSENT

    def __getitem__(self, name):
        value = self.get(name, _ABSENT)
        if value is _ABSENT:
            raise KeyError(name)
        return value


class LateContext(Context):
    __repr__ = object.__repr__

    def resolve_or_missing(self, key):
        if key in self.vars:
            return self.vars[key]
        return self.parent.get(key, missing)

    def get_all(self):
        return self.parent.with_names(self.vars)

    def derived(self, locals=None):  # noqa: A002 - Jinja2's name
        names = {name: value for name, value in (locals or {}).items() if value is not missing}
        context = self.environment.context_class(self.environment, self.get_all().with_names(names), self.name, {})
        context.eval_ctx = self.eval_ctx
        context.blocks.update((name, list(blocks)) for name, blocks in self.blocks.items())
        return context


class CodeGenerator(NativeCodeGenerator):
    def _output_const_repr(self, group):
        group = list(group)
        return repr(group[0]) if len(group) == 1 else repr("".join(map(str, group)))

    def visit_Const(self, node, frame):  # noqa: N802 - Jinja2's name
        value = node.as_const(frame.eval_ctx)
        if isinstance(value, str) and is_template(value):
            self.write("environment.embedded(%r)" % value)
        else:
            self.write(repr(value))


class EscapingLexer(Lexer):
    """Takes backslashes in strings between {{ and }} literally: YAML has already processed escapes."""

    def tokeniter(self, *args, **kwargs):
        inside = False
        for token in super().tokeniter(*args, **kwargs):
            kind = token[1]
            if kind == "variable_begin":
                inside = True
            elif kind == "variable_end":
                inside = False
            elif inside and kind == "string":
                token = (token[0], kind, token[2].replace("\\", "\\\\"))
            yield token


def joined(nodes):
    """Return the value of a template from its parts: a single one as it is, several as text."""
    parts = [part for part in _parts(nodes) if part is not None]
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    try:
        return "".join([_text(part) for part in finalized(parts, CONCATENATED)])
    except MarkerError as exc:
        return exc.marker


def _parts(nodes):
    iterator = iter(nodes)
    while True:
        try:
            yield next(iterator)
        except StopIteration:
            return
        except Exception as exc:  # any exception is a failure of the expression
            yield current_run().deferred(exc)
            yield TruncationMarker()


def _text(part):
    return part.decode("utf-8", "surrogateescape") if isinstance(part, bytes) else str(part)


@pass_context
def _finalize(dummy_context, value):
    return lazy(value)


class Environment(SandboxedEnvironment):
    context_class = LateContext
    code_generator_class = CodeGenerator
    concat = staticmethod(joined)

    def __init__(self, filters, tests, extensions=()):
        loader = FunctionLoader(_include)
        super().__init__(autoescape=False, trim_blocks=True, undefined=UndefinedMarker, optimized=False, loader=loader)
        for extension in extensions:
            self.add_extension(extension)
        self.finalize = _finalize
        self.filters = _plugins("filter", defaults.DEFAULT_FILTERS, filters)
        self.tests = _plugins("test", defaults.DEFAULT_TESTS, tests)
        self.globals.update(
            range=range, now=_now, undef=_undef, omit=OMIT, lookup=_lookup, query=_lookup, q=_lookup
        )  # the sandbox's own range has a limit that core does not have
        self.escaping = False
        self._lexers = {}

    @property
    def lexer(self):
        key = (self.escaping, *(getattr(self, name) for name in _LEXED))
        found = self._lexers.get(key)
        if found is None:
            found = self._lexers[key] = (EscapingLexer if self.escaping else Lexer)(self)
        return found

    def handle_exception(self, source=None):
        """Raise the current exception. Jinja2 would make it point into the template, which nobody sees."""
        exc = sys.exc_info()[1]
        if isinstance(exc, TemplateSyntaxError):
            exc.translated = True  # otherwise its text would name a line
        raise exc

    @staticmethod
    def embedded(text):
        """Called for a constant that looks like a template: in a condition it is rendered, as in core."""
        return current_run().embedded(text)

    def is_safe_attribute(self, obj, attr, value):
        if attr in _SAFE_OF_INTEGERS and isinstance(obj, int):
            return True
        return super().is_safe_attribute(obj, attr, value)

    def call_filter(self, name, value, args=None, kwargs=None, *rest, **named):
        args, kwargs = lazy_arguments(args or [], kwargs or {})
        return super().call_filter(name, value, args, kwargs, *rest, **named)

    def call_test(self, name, value, args=None, kwargs=None, *rest, **named):
        args, kwargs = lazy_arguments(args or [], kwargs or {})
        return super().call_test(name, value, args, kwargs, *rest, **named)

    def getitem(self, obj, argument):
        return seen(super().getitem(obj, argument))

    def getattr(self, obj, attribute):
        return seen(self._attribute_or_item(obj, attribute))

    def _attribute_or_item(self, obj, attribute):
        """As in core: an item is found even if an attribute that the sandbox protects has the same name."""
        value = getattr(obj, attribute, _ABSENT)
        safe = value is _ABSENT or self.is_safe_attribute(obj, attribute, value)
        if value is not _ABSENT and safe:
            return value
        try:
            return obj[attribute]
        except (TypeError, LookupError):
            return self.undefined(obj=obj, name=attribute) if safe else self.unsafe_undefined(obj, attribute)

    def call(self, context, obj, /, *args, **kwargs):
        try:
            if _is_direct(obj):
                return SandboxedEnvironment.call(self, context, obj, *args, **kwargs)
            return self._called(context, obj, args, kwargs)
        except MarkerError as exc:
            return exc.marker
        except Exception as exc:  # any exception is a failure of the function
            return CapturedExceptionMarker(exc)

    def _called(self, context, obj, args, kwargs):
        is_macro = isinstance(obj, Macro)
        marker = None if is_macro else first_marker(args, kwargs)
        if marker is not None:
            return marker
        with calling(accepts=is_macro):
            args, kwargs = lazy_arguments(args, kwargs)
            result = SandboxedEnvironment.call(self, context, obj, *args, **kwargs)
            return result if obj is range else _consumed(result)  # so that range(10 ** 9) | random works


# The settings that the lexer depends on.
_LEXED = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
)
