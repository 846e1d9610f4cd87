# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from ansible.utils.display import Display

from . import comparison
from .comparison import HOSTS, Here, Host


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> Iterator[None]:
    """Core warns of much that the expressions here do: nobody has to read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Display, "display", lambda *args, **kwargs: None)
        yield


@pytest.fixture(scope="session")
def here() -> Here:
    return Here()


@pytest.fixture(scope="session")
def hosts(here: Here, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[t.Any]]:
    """This process, and the oldest and the newest Python of hosts where the machine has them."""
    found = comparison.interpreters(*HOSTS)
    started = [Host(version, python, tmp_path_factory.mktemp("host")) for version, python in found.items()]
    yield [here, *started]
    for host in started:
        host.close()
