# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Filters that work on text: regular expressions, encodings, hashes, JSON, units."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
import shlex
import urllib.parse
import uuid

from ansible_collections.background.jobs.plugins.module_utils._late.failures import Failure
from ansible_collections.background.jobs.plugins.module_utils._late.finalize import is_listed, is_mapping
from ansible_collections.background.jobs.plugins.module_utils._late.markers import Marker
from ansible_collections.background.jobs.plugins.module_utils._late.texts import bytes_of, text_of

_NAMESPACE = uuid.UUID("361E6D51-FAEC-444A-9079-341386DA8E2E")

# ---- regular expressions


def _flags(ignorecase, multiline):
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def regex_replace(value="", pattern="", replacement="", ignorecase=False, multiline=False, count=0, mandatory_count=0):  # noqa: PLR0917
    value = text_of(value)
    output, number = re.compile(pattern, _flags(ignorecase, multiline)).subn(replacement, value, count)
    if mandatory_count and mandatory_count != number:
        raise Failure(
            "'%s' should match %d times, but matches %d times in '%s'" % (pattern, mandatory_count, count, value)
        )
    return output


def regex_findall(value, regex, multiline=False, ignorecase=False):
    return re.findall(regex, text_of(value), _flags(ignorecase, multiline))


def regex_search(value, regex, *args, **kwargs):
    value = text_of(value)
    groups = [_group(arg) for arg in args]
    found = re.search(regex, value, _flags(kwargs.get("ignorecase"), kwargs.get("multiline")))
    if not found:
        return None
    return [found.group(group) for group in groups] if groups else found.group()


def _group(text):
    """Return the group that a back reference names: \\g<name>, or a number after one backslash."""
    if text.startswith("\\g"):
        return re.match(r"\\g<(\S+)>", text).group(1)
    if text.startswith("\\"):
        return int(re.match(r"\\(\d+)", text).group(1))
    raise Failure("Unknown argument")


def regex_escape(string, re_type="python"):
    string = text_of(string)
    if re_type == "python":
        return re.escape(string)
    if re_type == "posix_basic":
        return re.sub(r"([].[^$*\\])", r"\\\1", string)
    if re_type == "posix_extended":
        raise Failure("Regex type (%s) not yet implemented" % re_type)
    raise Failure("Invalid regex type (%s)" % re_type)


# ---- encodings and hashes


def b64encode(string, encoding="utf-8", urlsafe=False):
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    return encode(bytes_of(string, encoding)).decode("ascii")


def b64decode(string, encoding="utf-8", urlsafe=False):
    decode = base64.urlsafe_b64decode if urlsafe else base64.b64decode
    return decode(bytes_of(string)).decode(encoding, "surrogateescape")


def get_hash(data, hashtype="sha1"):
    try:
        digest = hashlib.new(hashtype)
    except Exception as exc:
        raise Failure(str(exc)) from None
    digest.update(bytes_of(data))
    return digest.hexdigest()


def sha1(data):
    return get_hash(data)


def md5(data):
    return get_hash(data, "md5")


def to_uuid(string, namespace=_NAMESPACE):
    if not isinstance(namespace, uuid.UUID):
        try:
            namespace = uuid.UUID(namespace)
        except (AttributeError, ValueError) as exc:
            raise Failure("Invalid value '%s' for 'namespace': %s" % (namespace, exc)) from None
    return str(uuid.uuid5(namespace, text_of(string)))


def urldecode(string, *args, **kwargs):
    return urllib.parse.unquote_plus(string, *args, **kwargs)


_PARTS_OF_URLS = ("fragment", "hostname", "netloc", "password", "path", "port", "query", "scheme", "username")


def urlsplit(value, query="", alias="urlsplit"):
    parts = urllib.parse.urlsplit(value)
    results = {name: getattr(parts, name) for name in _PARTS_OF_URLS}
    if not query:
        if isinstance(parts, urllib.parse.SplitResultBytes):
            raise Failure("Type 'method' is unsupported for variable storage.")
        return results
    if query not in results:
        raise ValueError("%s: unknown URL component: %s" % (alias, query))
    return results[query]


# ---- JSON


def from_json(a, profile=None, **kwargs):
    _only_plain(profile)
    return _readable(json.loads(a, **kwargs))


def to_json(a, profile=None, vault_to_text=None, preprocess_unsafe=None, **kwargs):
    _only_plain(profile)
    return json.dumps(_writable(a), **kwargs)


def to_nice_json(a, indent=4, sort_keys=True, **kwargs):
    kwargs.pop("separators", None)
    return to_json(a, indent=indent, sort_keys=sort_keys, separators=(",", ": "), **kwargs)


def _only_plain(profile):
    if profile not in (None, "", "tagless"):
        raise Failure("The JSON profile %r works on the controller only." % (profile,))


# Core's own marks in JSON. Core refuses them in JSON that a template reads, and so do we.
_MARKS = ("__ansible_unsafe", "__ansible_vault", "__ansible_type")


def _readable(value):
    """Return a value read from JSON; raise an error if core would refuse it."""
    if isinstance(value, str):
        if not _is_utf8(value):
            raise Failure("Refusing to deserialize an invalid UTF8 string value.")
    elif isinstance(value, list):
        for item in value:
            _readable(item)
    elif isinstance(value, dict):
        _readable_dict(value)
    return value


def _readable_dict(value):
    for mark in _MARKS:
        if mark in value:
            raise TypeError("Object of type %r is not JSON deserializable by the 'tagless' profile." % mark)
    for key, item in value.items():
        _readable(key)
        _readable(item)


def _is_utf8(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _writable(value):
    """Return a value converted to types that JSON has."""
    if isinstance(value, Marker):
        return value.trip()
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if is_mapping(value):
        return {_writable_key(key): _writable(item) for key, item in value.items()}
    if is_listed(value):
        return [_writable(item) for item in value]
    raise _not_json("Object", value)


def _writable_key(key):
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (int, float)):
        return json.dumps(key)
    raise _not_json("Key", key)


def _not_json(what, value):
    return TypeError("%s of type %r is not JSON serializable by the 'tagless' profile." % (what, type(value).__name__))


# ---- for shells and files


def quote(a):
    return shlex.quote("" if a is None else text_of(a))


def split(string, *args, **kwargs):
    return str.split(string, *args, **kwargs)


_COMMENTS = {
    "plain": {"decoration": "# "},
    "erlang": {"decoration": "% "},
    "c": {"decoration": "// "},
    "cblock": {"beginning": "/*", "decoration": " * ", "end": " */"},
    "xml": {"beginning": "<!--", "decoration": " - ", "end": "-->"},
}


def comment(text, style="plain", **kwargs):
    if style not in _COMMENTS:
        raise Failure("Invalid style %r." % (style,))
    margin = kwargs.get("decoration", _COMMENTS[style]["decoration"]).rstrip()
    how = {"newline": "\n", "beginning": "", "prefix": margin, "prefix_count": 1, "decoration": ""}
    how.update({"postfix": margin, "postfix_count": 1, "end": ""}, **_COMMENTS[style])
    how.update(kwargs)
    newline = how["newline"]
    parts = (
        "%s%s" % (how["beginning"], newline) if how["beginning"] else "",
        _prefix(how["prefix"], newline) * int(how["prefix_count"]) if how["prefix"] else "",
        _decorated(text, how["decoration"], newline),
        newline.join(["", *([how["postfix"]] * len(range(how["postfix_count"])))]),
        "%s%s" % (newline, how["end"]) if how["end"] else "",
    )
    return "%s%s%s%s%s" % parts


def _prefix(prefix, newline):
    return "%s" % newline if prefix == newline else "%s%s" % (prefix, newline)


def _decorated(text, decoration, newline):
    lines = "%s%s" % (decoration, text.replace(newline, "%s%s" % (newline, decoration)))
    return lines.replace("%s%s" % (decoration, newline), "%s%s" % (decoration.rstrip(), newline))


FILTERS = {
    "b64decode": b64decode,
    "b64encode": b64encode,
    "checksum": sha1,
    "comment": comment,
    "from_json": from_json,
    "hash": get_hash,
    "md5": md5,
    "quote": quote,
    "regex_escape": regex_escape,
    "regex_findall": regex_findall,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "sha1": sha1,
    "split": split,
    "to_json": to_json,
    "to_nice_json": to_nice_json,
    "to_uuid": to_uuid,
    "urldecode": urldecode,
    "urlsplit": urlsplit,
}
