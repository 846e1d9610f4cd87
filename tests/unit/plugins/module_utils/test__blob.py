# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._blob import pack, unpack


@pytest.mark.parametrize("value", [None, [], {}, {"a": [1, 2.5, "é\n☃\x00"]}, "x" * 1_000_000, {"deep": [[[[]]]]}])
def test_what_is_packed_comes_back(value):
    assert unpack(pack(value)) == value


def test_a_packed_value_is_one_line_of_ascii():
    packed = pack({"text": "é\n" * 10_000})

    assert packed.isascii()
    assert "\n" not in packed


@pytest.mark.parametrize("text", ["", "junk", "e30=", "é", pack({"a": 1})[:-8]])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="not a packed value"):
        unpack(text)
