# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What a task inherits from its surroundings."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.background.jobs.plugins.plugin_utils._model import Defaults, Home, Language, Variables


@dataclass(frozen=True, slots=True)
class Around:
    """What a task inherits from the launch, and from the blocks, includes and roles around it; all values as written."""

    language: Language
    defaults: Defaults
    home: Home = field(default_factory=Home)
    role_defaults: Variables = field(default_factory=dict)
    role_variables: Variables = field(default_factory=dict)
    variables: Variables = field(default_factory=dict)
    params: Variables = field(default_factory=dict)
    """Passed on by includes: they override the variables of the task itself, as in Ansible."""
    loop: Variables = field(default_factory=dict)
    """From loops around, and from roles: they override all others."""
    flags: Mapping[str, object] = field(default_factory=dict)
    environment: tuple[object, ...] = ()
    conditions: tuple[object, ...] = ()
    tags: tuple[str, ...] = ()
    notify: tuple[object, ...] = ()
    flow: t.Any = None
    """Inside of a job: what its tasks have set so far, see _late/flow.py."""
    script: t.Any = None
    """Inside of a job with a script: the Script, see _late/script.py."""
    turning: tuple[str, ...] = ()
    """Variables of loops around whose items only the host knows."""
    uncertain: bool = False
    """Whether only the host knows if the task runs at all."""
    failed: bool = False
    """In `rescue` or `always`."""
