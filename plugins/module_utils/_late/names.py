# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The filters and tests of ansible.builtin that a host evaluates, besides those of Jinja2 itself.

A light file, by which the controller decides what may wait for the host. Each name can have the prefix `ansible.builtin.`
or `ansible.legacy.`. Those that need files, variables or programs of the controller are left out.
"""

from __future__ import annotations

KNOWN_FILTERS = frozenset(
    (
        "b64decode",
        "b64encode",
        "basename",
        "bool",
        "checksum",
        "combinations",
        "combine",
        "comment",
        "commonpath",
        "d",
        "default",
        "dict2items",
        "difference",
        "dirname",
        "extract",
        "flatten",
        "from_json",
        "from_yaml",
        "from_yaml_all",
        "groupby",
        "hash",
        "human_readable",
        "human_to_bytes",
        "intersect",
        "items2dict",
        "log",
        "mandatory",
        "map",
        "md5",
        "normpath",
        "path_join",
        "permutations",
        "pow",
        "product",
        "quote",
        "random",
        "regex_escape",
        "regex_findall",
        "regex_replace",
        "regex_search",
        "reject",
        "rejectattr",
        "rekey_on_member",
        "relpath",
        "root",
        "select",
        "selectattr",
        "sha1",
        "shuffle",
        "split",
        "splitext",
        "strftime",
        "subelements",
        "symmetric_difference",
        "ternary",
        "to_datetime",
        "to_json",
        "to_nice_json",
        "to_nice_yaml",
        "to_uuid",
        "to_yaml",
        "type_debug",
        "union",
        "unique",
        "urldecode",
        "urlsplit",
        "win_basename",
        "win_dirname",
        "win_splitdrive",
        "zip",
        "zip_longest",
    )
)

KNOWN_TESTS = frozenset(
    (
        "abs",
        "all",
        "any",
        "change",
        "changed",
        "contains",
        "defined",
        "failed",
        "failure",
        "falsy",
        "finished",
        "is_abs",
        "isnan",
        "issubset",
        "issuperset",
        "match",
        "nan",
        "reachable",
        "regex",
        "search",
        "skip",
        "skipped",
        "started",
        "subset",
        "succeeded",
        "success",
        "successful",
        "superset",
        "timedout",
        "truthy",
        "undefined",
        "unreachable",
        "uri",
        "url",
        "urn",
        "version",
        "version_compare",
    )
)

# Filters that need PyYAML, which is sent along with Jinja2 if a script uses one.
YAML_FILTERS = frozenset(("from_yaml", "from_yaml_all", "to_nice_yaml", "to_yaml"))
# Functions that templates can use; `lookup`, `query` and `q` fail with a message.
GLOBALS = frozenset(("cycler", "dict", "joiner", "lipsum", "namespace", "now", "omit", "range", "undef"))


def plain(name):
    """Return the short name of a filter or test of ansible.builtin, any other name as it is."""
    for prefix in ("ansible.builtin.", "ansible.legacy."):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name
