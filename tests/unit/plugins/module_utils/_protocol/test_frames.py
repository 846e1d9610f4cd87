# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import frames

SENT = [({"op": "a"}, None), ({"op": "b"}, b""), ({"op": "c"}, b"text\n" * 50), ({"op": "d"}, None)]
DATA = b"".join(frames.pack(frame, None if text is None else len(text)) + (text or b"") for frame, text in SENT)


@pytest.mark.parametrize("size", [1, 3, 64, len(DATA)])
def test_frames_come_out_as_they_went_in_however_they_are_cut(size):
    buffer, received = frames.Buffer(), []
    for begin in range(0, len(DATA), size):
        received += buffer.add(DATA[begin : begin + size])
    assert [(frame["op"], text) for frame, text in received] == [(frame["op"], text) for frame, text in SENT]


def test_a_frame_waits_for_all_of_its_text():
    buffer = frames.Buffer()
    assert list(buffer.add(frames.pack({"op": "a"}, 4) + b"tex")) == []
    assert list(buffer.add(b"t")) == [({"op": "a", "size": 4}, b"text")]
