# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Filters that read and write YAML. PyYAML comes in the archive if a script uses them, or from the host."""

from __future__ import annotations

import functools
import sys

from ansible_collections.background.jobs.plugins.module_utils._late.containers import LazyDict, LazyList, LazyTuple
from ansible_collections.background.jobs.plugins.module_utils._late.failures import Failure
from ansible_collections.background.jobs.plugins.module_utils._late.markers import Marker, takes_marked
from ansible_collections.background.jobs.plugins.module_utils._late.values import Trusted

_BEHAVIORS = ("decrypt", "keep_encrypted", "redact", "fail")
# Characters that libyaml escapes only between double quotes.
_ESCAPED = '"\\\u2028\u2029\ufeff'


def _yaml():
    try:
        import yaml
    except ImportError:
        raise Failure("PyYAML is missing: it must be installed on the host or on the controller.") from None
    return yaml


def _may_break(text, index):
    return 0 < index < len(text) - 1 and text[index - 1] != " "


def _escaped(character, short):
    """Return a character as it is written between double quotes."""
    if character not in _ESCAPED and ("\x20" <= character <= "\x7e" or "\xa0" <= character <= "\ufffd"):
        return character
    if character in short:
        return "\\" + short[character]
    number = ord(character)
    return "\\x%02X" % number if number < 256 else ("\\u%04X" if number < 65536 else "\\U%08X") % number


@functools.lru_cache(maxsize=None)
def _dumper(yaml):
    """Return PyYAML's dumper in Python, changed to write like libyaml, which core uses."""

    class Dumper(yaml.SafeDumper):
        def write_plain(self, text, split=True):
            super().write_plain(text, split)
            self.open_ended = False  # otherwise "..." would follow

        def analyze_scalar(self, scalar):
            scalar.encode("utf-8")
            analysis = super().analyze_scalar(scalar)
            if any(character > "\uffff" or character == "\x85" for character in scalar):
                for style in ("flow_plain", "block_plain", "single_quoted", "block"):
                    setattr(analysis, "allow_" + style, False)
            return analysis

        def write_double_quoted(self, text, split=True):
            self.write_indicator('"', True)
            for index, character in enumerate(text):
                if character != " ":
                    self.put(_escaped(character, self.ESCAPE_REPLACEMENTS))
                elif split and self.column > self.best_width and _may_break(text, index):
                    self.write_indent()
                    self.put("\\" if text[index + 1] == " " else "")
                else:
                    self.put(character)
            self.write_indicator('"', False)

        def put(self, text):
            self.column += len(text)
            self.stream.write(text.encode(self.encoding) if self.encoding else text)

    Dumper.add_representer(LazyDict, yaml.SafeDumper.represent_dict)
    Dumper.add_representer(LazyList, yaml.SafeDumper.represent_list)
    Dumper.add_representer(LazyTuple, yaml.SafeDumper.represent_list)
    Dumper.add_representer(Trusted, lambda dumper, text: dumper.represent_str(str(text)))
    Dumper.add_multi_representer(Marker, lambda dumper, marker: marker.trip())
    return Dumper


@takes_marked
def to_yaml(a, *dummy, **kwargs):
    kwargs.setdefault("default_flow_style", None)
    if (kwargs.get("width") or 0) < 0:
        kwargs["width"] = sys.maxsize  # no limit, for libyaml
    yaml = _yaml()
    return yaml.dump(a, Dumper=_dumper(yaml), allow_unicode=True, **kwargs)


@takes_marked
def to_nice_yaml(a, indent=4, *dummy, **kwargs):
    kwargs.setdefault("default_flow_style", False)
    return to_yaml(a, indent=indent, **kwargs)


def with_vault_behavior(function):
    """Return the filter of core 2.21: with an option for encrypted values, which hosts never have."""

    def call(*args, **kwargs):
        behavior = kwargs.pop("vault_behavior", None)
        if behavior and behavior not in _BEHAVIORS:
            raise Failure("The vault parameter must be one of %s" % ", ".join(_BEHAVIORS))
        return function(*args, **kwargs)

    return takes_marked(call)


def from_yaml(data):
    if not isinstance(data, str):
        return data
    yaml = _yaml()
    return yaml.load(data, Loader=yaml.SafeLoader)


def from_yaml_all(data):
    if data is None:
        return []
    if not isinstance(data, str):
        return data
    yaml = _yaml()
    return yaml.load_all(data, Loader=yaml.SafeLoader)


FILTERS = {
    "from_yaml": from_yaml,
    "from_yaml_all": from_yaml_all,
    "to_nice_yaml": to_nice_yaml,
    "to_yaml": to_yaml,
}
