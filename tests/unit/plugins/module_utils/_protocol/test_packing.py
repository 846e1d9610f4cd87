# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing


@pytest.mark.parametrize("value", [None, [], {"a": [1, 2.5, True, None]}, "é\n\U0001f600 \udcff", {"x": "y" * 100000}])
def test_what_is_packed_comes_back(value):
    assert packing.unpack(packing.pack(value)) == value


def test_a_packed_value_is_one_line_of_ascii():
    packed = packing.pack({"x": "\n\r\0é" * 1000})
    assert packed.isascii()
    assert len(packed.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "abc", "!!", "eJw="])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="not a packed value"):
        packing.unpack(text)
