# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The kinds of versions that the test `version` compares, each by its own key."""

from __future__ import annotations

import functools
import re


@functools.total_ordering
class _Version:
    """A version, with the key that it is ordered by."""

    def __init__(self, text):
        self.key = self.parse(text)

    def __eq__(self, other):
        return self.key == other.key

    def __lt__(self, other):
        return self.key < other.key

    __hash__ = None  # type: ignore[assignment]


class Loose(_Version):
    """Numbers and words in any order. Comparing a number with a word fails, even for equality."""

    def __eq__(self, other):
        return self.key == other.key or not (self.key < other.key or self.key > other.key)

    __hash__ = None

    @staticmethod
    def parse(text):
        parts = re.split(r"(\d+|[a-z]+|\.)", text)
        return [_number(part) for part in parts if part and part != "."]


def _number(text):
    try:
        return int(text)
    except ValueError:
        return text


class Strict(_Version):
    """Two or three numbers, and a or b with a number for pre-releases."""

    _FORM = re.compile(r"(\d+)\.(\d+)(\.(\d+))?([ab](\d+))?$", re.ASCII)

    @classmethod
    def parse(cls, text):
        found = cls._FORM.match(text)
        if not found:
            raise ValueError("invalid version number '%s'" % text)
        major, minor, patch, before, number = found.group(1, 2, 4, 5, 6)
        return int(major), int(minor), int(patch or 0), (0, before[0], int(number)) if before else (1,)


class Semantic(_Version):
    """Semantic Versioning 2.0.0: what follows a + is ignored."""

    _WORD = r"(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
    _FORM = re.compile(
        r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-(%s(?:\.%s)*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?$"
        % (_WORD, _WORD)
    )

    @classmethod
    def parse(cls, text):
        found = cls._FORM.match(text)
        if not found:
            raise ValueError("invalid semantic version '%s'" % text)
        major, minor, patch, before = found.groups()
        return int(major), int(minor), int(patch), cls._before(before)

    @staticmethod
    def _before(text):
        if not text:
            return (1,)
        return (0, [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in text.split(".")])


# Names of pre-releases, and their sort keys.
_PHASES = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


class Pep440(_Version):
    """Versions of Python packages."""

    _FORM = re.compile(
        r"""^\s*v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)
            (?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>[0-9]+)?)?
            (?P<post>-(?P<post_dash>[0-9]+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_number>[0-9]+)?)?
            (?P<dev>[-_.]?dev[-_.]?(?P<dev_number>[0-9]+)?)?
            (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\s*$""",
        re.VERBOSE | re.IGNORECASE | re.ASCII,
    )

    @classmethod
    def parse(cls, text):
        found = cls._FORM.match(text)
        if not found:
            raise ValueError("Invalid version: %r" % text)
        part = found.groupdict()
        release = [int(number) for number in part["release"].split(".")]
        while len(release) > 1 and not release[-1]:
            release.pop()
        post = int(part["post_dash"] or part["post_number"] or 0) if part["post"] else -1
        dev = (0, int(part["dev_number"] or 0)) if part["dev"] else (1, 0)
        return int(part["epoch"] or 0), release, cls._phase(part), post, dev, cls._local(part["local"])

    @classmethod
    def _phase(cls, part):
        if part["pre"]:
            name = part["pre"].lower()
            return (1, _PHASES.get(name, name), int(part["pre_number"] or 0))
        # A development release of a version comes before all of its other phases.
        return (0, "", 0) if part["dev"] and not part["post"] else (2, "", 0)

    @staticmethod
    def _local(text):
        if not text:
            return (0,)
        words = re.split(r"[-_.]", text.lower())
        return (1, [(1, int(word), "") if word.isdigit() else (0, 0, word) for word in words])


KINDS = {"loose": Loose, "strict": Strict, "semver": Semantic, "semantic": Semantic, "pep440": Pep440}
