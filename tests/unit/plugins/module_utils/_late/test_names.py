# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._late import filters, jinja_tests, names

WANTED = """
bool default combine ternary from_json to_json to_nice_json b64encode b64decode regex_search regex_findall regex_replace
regex_escape basename dirname splitext quote split union intersect difference symmetric_difference unique flatten zip
zip_longest product permutations combinations dict2items items2dict subelements extract hash checksum md5 sha1 strftime
to_datetime to_uuid mandatory type_debug human_readable human_to_bytes log pow root shuffle random comment urlsplit
urldecode commonpath from_yaml to_yaml to_nice_yaml
"""


def test_the_names_are_those_of_what_there_is():
    for core in ((2, 19), (2, 20), (2, 21)):
        assert set(filters.filters(core)) == names.KNOWN_FILTERS
        assert set(jinja_tests.tests(core)) == names.KNOWN_TESTS
    assert names.YAML_FILTERS < names.KNOWN_FILTERS
    assert set(WANTED.split()) < names.KNOWN_FILTERS


def test_names_with_their_collection():
    found = [
        names.plain(name) for name in ("combine", "ansible.builtin.combine", "ansible.legacy.combine", "a.b.combine")
    ]
    assert found == ["combine", "combine", "combine", "a.b.combine"]
