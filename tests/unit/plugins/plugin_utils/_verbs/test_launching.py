# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._verbs import launching


@pytest.mark.parametrize(
    ("hosts", "forks", "is_said"), [(6, 5, True), (5, 5, False), (1, 5, False), (6, None, False), (None, 5, False)]
)
def test_more_hosts_than_forks_wait_for_each_other(hosts: t.Any, forks: t.Any, is_said: bool) -> None:
    names = None if hosts is None else [f"host{number}" for number in range(hosts)]
    said = launching.crowded({"ansible_play_batch": names, "ansible_forks": forks})
    assert bool(said) is is_said
    if said:
        assert said[0].startswith("There are 6 hosts and 5 forks")
