# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._plan import payloads


def test_arguments_that_are_no_json_are_refused() -> None:
    with pytest.raises(Refused, match="cannot be sent"):
        payloads.encode("new", "legacy", {"x": object()})
