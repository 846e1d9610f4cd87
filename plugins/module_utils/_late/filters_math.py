# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Filters that work on numbers and sizes."""

from __future__ import annotations

import math
import re

from ansible_collections.background.jobs.plugins.module_utils._late.failures import Failure


def log(x, base=math.e):
    try:
        return math.log10(x) if base == 10 else math.log(x, base)
    except TypeError as exc:
        raise Failure("log() can only be used on numbers") from exc


def power(x, y):
    try:
        return math.pow(x, y)
    except TypeError as exc:
        raise Failure("pow() can only be used on numbers") from exc


def root(x, base=2):
    try:
        return math.sqrt(x) if base == 2 else math.pow(x, 1.0 / float(base))
    except (ValueError, TypeError) as exc:
        raise Failure("root() can only be used on numbers") from exc


# The letters of units, with their powers of 1024.
_POWERS = {letter: 1 << (10 * power) for power, letter in reversed(list(enumerate("BKMGTPEZY")))}
_PREFIXES = {
    "B": "",
    "K": "kilo",
    "M": "mega",
    "G": "giga",
    "T": "tera",
    "P": "peta",
    "E": "exa",
    "Z": "zeta",
    "Y": "yotta",
}
_SIZE = re.compile(r"^([0-9]*\.?[0-9]+)(?:\s*([A-Za-z]+))?\s*$")


def human_readable(size, isbits=False, unit=None):
    try:
        return _readable(size, "bits" if isbits else "Bytes", unit)
    except TypeError as exc:
        raise Failure("human_readable() failed on bad input") from exc
    except Exception as exc:  # core's message for whatever else is wrong
        raise Failure("human_readable() can't interpret the input") from exc


def _readable(size, base, unit):
    letter = next((letter for letter in _POWERS if _fits(size, letter, unit)), "B")
    return "%.2f %s" % (size / _POWERS[letter], base if letter == "B" else letter + base[0])


def _fits(size, letter, unit):
    return size >= _POWERS[letter] if unit is None else unit.upper() == letter


def human_to_bytes(size, default_unit=None, isbits=False):
    try:
        return _bytes(str(size), default_unit, isbits)
    except TypeError as exc:
        raise Failure("human_to_bytes() failed on bad input") from exc
    except Exception as exc:  # core's message for whatever else is wrong
        raise Failure("human_to_bytes() can't interpret the input") from exc


def _bytes(text, default_unit, isbits):
    found = _SIZE.search(text)
    if found is None:
        raise ValueError("human_to_bytes() can't interpret following string: %s" % text)
    number = float(found.group(1))
    unit = default_unit if found.group(2) is None else found.group(2)
    if unit is None:
        return round(number)
    letter = unit[0].upper()
    if letter not in _POWERS:
        raise ValueError(
            "human_to_bytes() failed to convert %s (unit = %s). The suffix must be one of %s"
            % (text, unit, ", ".join(_POWERS))
        )
    if len(unit) > 1 and not _is_unit(unit, letter, isbits):
        raise ValueError(
            "human_to_bytes() failed to convert %s. Value is not a valid string (%s)"
            % (text, _expected(letter, isbits))
        )
    return round(number * _POWERS[letter])


def _is_unit(unit, letter, isbits):
    word, short = ("bit", "b") if isbits else ("byte", "B")
    return unit.lower() == _PREFIXES[letter] + word or unit == (short if letter == "B" else letter + short)


def _expected(letter, isbits):
    word, short = ("bit", "b") if isbits else ("byte", "B")
    return "expect %s or %s" % ((short, word) if letter == "B" else (letter + short, letter))


FILTERS = {
    "human_readable": human_readable,
    "human_to_bytes": human_to_bytes,
    "log": log,
    "pow": power,
    "root": root,
}
