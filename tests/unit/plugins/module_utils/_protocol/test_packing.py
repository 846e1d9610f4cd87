# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import tracemalloc
import zlib

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


def test_no_more_is_unpacked_than_is_asked_for():
    packed = packing.pack("x" * 998)
    assert packing.unpack(packed, 1000) == "x" * 998
    with pytest.raises(ValueError, match="more than 999 bytes"):
        packing.unpack(packed, 999)


def test_a_bomb_is_not_unpacked():
    stream = zlib.compressobj(9)
    bomb = b"".join(stream.compress(bytes(1024 * 1024)) for dummy in range(200)) + stream.flush()
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        packing.unpack(base64.b64encode(bomb).decode("ascii"), 1_000_000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize("limit", [None, 10_000_000])
def test_what_is_cut_off_or_nested_without_end_is_refused(limit):
    for text in (packing.pack([1, 2, 3])[:-12], _packed_text("[" * 1_000_000)):
        with pytest.raises(ValueError, match="not a packed value"):
            packing.unpack(text, limit)


def _packed_text(text):
    return base64.b64encode(zlib.compress(text.encode("ascii"))).decode("ascii")
