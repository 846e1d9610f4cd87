# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The options of the modules that select jobs; doc_fragments/select.py documents them."""

from __future__ import annotations

SELECT = dict(
    jobs=dict(type="raw"),
    name=dict(type="list", elements="str"),
    batch_id=dict(type="list", elements="str"),
    state=dict(type="list", elements="str"),
    older_than=dict(type="str"),
    newer_than=dict(type="str"),
)
REQUEST = dict(
    _request=dict(type="str", no_log=True),
    _async_dir=dict(type="str"),
)
