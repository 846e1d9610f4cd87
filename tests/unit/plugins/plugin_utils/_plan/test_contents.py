# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._plan.contents import Contents


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("t_0_", {"content": {"$expr": "x"}, "number": 0}),
        ("a t_0_\n", {"fill": "a t_0_\n"}),
        ("t_1_\n", {"template": {"text": "{{ x }}"}}),
    ],
)
def test_a_late_content_is_told_with_what_stands_for_it(tmp_path: Path, text: str, told: dict[str, t.Any]) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    contents = Contents("t", [{"$expr": "x"}], {"text": "{{ x }}"})
    assert contents.take(str(file), "0/f")
    assert contents.render == [{"file": "0/f", "mode": 0o600, "sha1": 2, **told}]


def test_a_content_that_is_known_is_left(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("t")
    assert not Contents("t", [{"$expr": "x"}]).take(str(file), "0/f")
