# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which texts are ids."""

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import ids

from .conftest import BATCH


@pytest.mark.parametrize(
    ("jid", "parsed"),
    [
        ("j123456789012345.0", (BATCH, 0)),
        ("j123456789012345.9999", (BATCH, 9999)),
        ("j123456789012345.01", None),
        ("j123456789012345", None),
        ("j12345678901.4242", None),  # core's own
        ("j123456789012345.1\n", None),
        ("j123456789012345.1/..", None),
    ],
)
def test_only_our_job_ids_are_taken_for_ours(jid, parsed):
    assert ids.parse_jid(jid) == parsed


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "..", ".", "", "a/b", "a\nb", "a\0b", ".hidden", "-x", "j" * 200, "é"]
)
def test_nothing_that_could_leave_the_directory_is_a_job_id(text):
    assert not ids.is_jid(text)


@pytest.mark.parametrize("text", ["j123456789012345.0", "j849213719.10312", "360874038559.4169"])
def test_ids_of_core_and_ours_are_job_ids(text):
    assert ids.is_jid(text)
