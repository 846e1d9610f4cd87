# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What a task takes from what it stands in."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.background.jobs.plugins.plugin_utils._model import Defaults, Home, Language, Variables


@dataclass(frozen=True, slots=True)
class Around:
    """What a task takes from the launch, the blocks, includes and roles that it stands in; all values as written."""

    language: Language
    defaults: Defaults
    home: Home = field(default_factory=Home)
    role_defaults: Variables = field(default_factory=dict)
    role_variables: Variables = field(default_factory=dict)
    variables: Variables = field(default_factory=dict)
    params: Variables = field(default_factory=dict)
    """What includes hand on: stronger than the variables of the task itself, as in Ansible."""
    loop: Variables = field(default_factory=dict)
    """Of loops around, and of roles: stronger than all others."""
    flags: Mapping[str, object] = field(default_factory=dict)
    environment: tuple[object, ...] = ()
    conditions: tuple[object, ...] = ()
    tags: tuple[str, ...] = ()
    notify: tuple[object, ...] = ()
    flow: t.Any = None
    """Inside of a job: what its tasks have set so far, see _late/flow.py."""
    script: t.Any = None
    """Inside of a job with a script: that one, see _late/script.py."""
    turning: tuple[str, ...] = ()
    """Variables of loops around that the host works out."""
    uncertain: bool = False
    """Whether it is known on the host only if the task runs at all."""
    failed: bool = False
    """In `rescue` or `always`."""
