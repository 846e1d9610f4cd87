# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The tests of ansible.builtin that a host can evaluate, besides Jinja2's own (listed in names.py)."""

from __future__ import annotations

import collections.abc
import math
import operator
import os.path
import re
import urllib.parse

from ansible_collections.background.jobs.plugins.module_utils._late import versions
from ansible_collections.background.jobs.plugins.module_utils._late.failures import Failure
from ansible_collections.background.jobs.plugins.module_utils._late.markers import (
    Marker,
    UndefinedMarker,
    takes_markers,
)
from ansible_collections.background.jobs.plugins.module_utils._late.texts import text_of

# ---- results of tasks


def _result(value, test):
    if not isinstance(value, collections.abc.MutableMapping):
        raise Failure("The '%s' test expects a dictionary" % test)
    return value


def failed(result):
    return bool(_result(result, "failed").get("failed"))


def succeeded(result):
    return not failed(result)


def unreachable(result):
    return bool(_result(result, "unreachable").get("unreachable"))


def reachable(result):
    return not unreachable(result)


def changed(result):
    if "changed" in _result(result, "changed"):
        return bool(result.get("changed"))
    results = result.get("results")
    if not isinstance(results, collections.abc.MutableSequence):
        return False
    if not isinstance(results[0], collections.abc.MutableMapping):
        return False
    return any(item.get("changed") for item in results)


def skipped(result):
    return bool(_result(result, "skipped").get("skipped"))


def timedout(result):
    limit = _result(result, "timedout").get("timedout")
    return bool(limit and limit.get("period"))


def started(result):
    return bool(_result(result, "started").get("started", True))


def finished(result):
    return bool(_result(result, "finished").get("finished", True))


# ---- text


_MATCHES = ("search", "match", "fullmatch")


def regex(value="", pattern="", ignorecase=False, multiline=False, match_type="search"):
    if match_type not in _MATCHES:
        raise Failure("Invalid match_type specified. Expected one of: %s." % ", ".join(_MATCHES))
    return _matches(value, pattern, ignorecase, multiline, match_type)


def regex_of_2_19(value="", pattern="", ignorecase=False, multiline=False, match_type="search"):
    return _matches(value, pattern, ignorecase, multiline, match_type)


def _matches(value, pattern, ignorecase, multiline, match_type):
    flags = (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)
    return bool(getattr(re.compile(pattern, flags), match_type)(text_of(value)))


def match(value, pattern="", ignorecase=False, multiline=False):
    return _matches(value, pattern, ignorecase, multiline, "match")


def search(value, pattern="", ignorecase=False, multiline=False):
    return _matches(value, pattern, ignorecase, multiline, "search")


def is_uri(value, schemes=None):
    try:
        parts = urllib.parse.urlparse(value)
        return parts.scheme is not None and parts.path is not None and (not schemes or parts.scheme in schemes)
    except (TypeError, ValueError, AttributeError):
        return False


def is_url(value, schemes=None):
    if not is_uri(value, schemes):
        return False
    parts = urllib.parse.urlparse(value)
    return bool(parts.netloc or parts.scheme == "file")


def is_urn(value):
    return is_uri(value, ["urn"])


_OPERATORS = {
    **dict.fromkeys(("==", "=", "eq"), operator.eq),
    **dict.fromkeys(("<", "lt"), operator.lt),
    **dict.fromkeys(("<=", "le"), operator.le),
    **dict.fromkeys((">", "gt"), operator.gt),
    **dict.fromkeys((">=", "ge"), operator.ge),
    **dict.fromkeys(("!=", "<>", "ne"), operator.ne),
}


def version(value, version, operator="eq", strict=None, version_type=None):
    if strict is not None and version_type is not None:
        raise Failure("Cannot specify both 'strict' and 'version_type'")
    if not value:
        raise Failure("Input version value cannot be empty")
    if not version:
        raise Failure("Version parameter to compare against cannot be empty")
    parse = _parser(strict, version_type)
    if operator not in _OPERATORS:
        raise Failure("Invalid operator type (%s). Must be one of %s" % (operator, _listed(_OPERATORS)))
    try:
        return _OPERATORS[operator](parse(text_of(value)), parse(text_of(version)))
    except Exception as exc:  # core's message for whatever is wrong with a version
        raise Failure("Version comparison failed: %s" % exc) from None


def _parser(strict, version_type):
    if strict:
        return versions.Strict
    if not version_type:
        return versions.Loose
    if version_type not in versions.KINDS:
        raise Failure("Invalid version type (%s). Must be one of %s" % (version_type, _listed(versions.KINDS)))
    return versions.KINDS[version_type]


def _listed(names):
    return ", ".join(repr(name) for name in names)


# ---- any value


_TRUE = frozenset(("y", "yes", "on", "1", "true", "t", 1))
_FALSE = frozenset(("n", "no", "off", "0", "false", "f", 0))


def truthy(value, convert_bool=False):
    return bool(_as_bool(value) if convert_bool else value)


def falsy(value, convert_bool=False):
    return not truthy(value, convert_bool)


def _as_bool(value):
    """Return the truth value that a text or number stands for, or the value itself if it stands for none."""
    if not isinstance(value, collections.abc.Hashable):
        return value
    known = text_of(value).lower().strip() if isinstance(value, (str, bytes)) else value
    if known in _TRUE:
        return True
    return False if known in _FALSE else value


@takes_markers
def defined(value):
    return _of_marker(value, lambda: not isinstance(value, UndefinedMarker))


@takes_markers
def undefined(value):
    return _of_marker(value, lambda: isinstance(value, UndefinedMarker))


def _of_marker(value, answer):
    """A failure is neither defined nor undefined."""
    return value if isinstance(value, Marker) and not isinstance(value, UndefinedMarker) else answer()


def contains(seq, value):
    return value in seq


def subset(a, b):
    return set(a) <= set(b)


def superset(a, b):
    return set(a) >= set(b)


def nan(x):
    try:
        return math.isnan(x)
    except TypeError:
        return False


TESTS = {
    **dict.fromkeys(("failed", "failure"), failed),
    **dict.fromkeys(("succeeded", "success", "successful"), succeeded),
    **dict.fromkeys(("changed", "change"), changed),
    **dict.fromkeys(("skipped", "skip"), skipped),
    **dict.fromkeys(("version", "version_compare"), version),
    **dict.fromkeys(("subset", "issubset"), subset),
    **dict.fromkeys(("superset", "issuperset"), superset),
    **dict.fromkeys(("nan", "isnan"), nan),
    **dict.fromkeys(("abs", "is_abs"), os.path.isabs),
    "all": all,
    "any": any,
    "contains": contains,
    "defined": defined,
    "falsy": falsy,
    "finished": finished,
    "match": match,
    "reachable": reachable,
    "regex": regex,
    "search": search,
    "started": started,
    "timedout": timedout,
    "truthy": truthy,
    "undefined": undefined,
    "unreachable": unreachable,
    "uri": is_uri,
    "url": is_url,
    "urn": is_urn,
}


def tests(core):
    """Return the tests of this version of ansible-core (a pair of numbers)."""
    return dict(TESTS, regex=regex_of_2_19) if core < (2, 20) else TESTS
