# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records of a batch, as its supervisor makes them."""

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import batch_writer, ids, records

BATCH = "b123456789012345"


@pytest.fixture
def writer(tmp_path):
    return batch_writer.BatchWriter(str(tmp_path), BATCH)


def create(writer, size=2):
    supervisor = {"pid": 1, "start": 1, "boot_id": "b", "init_start": 1}
    header = {"launched_at": 1.0, "supervisor": supervisor, "jobs": [{"name": "job"}] * size}
    writer.create(header, [ids.jid_of(BATCH, index) for index in range(size)])
    return records.BatchReader(writer.async_dir, BATCH)
