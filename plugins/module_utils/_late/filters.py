# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The filters of ansible.builtin that a host can evaluate, besides Jinja2's own (listed in names.py)."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._late import (
    filters_data,
    filters_math,
    filters_paths,
    filters_text,
    filters_yaml,
)


def filters(core):
    """Return the filters of this version of ansible-core (a pair of numbers)."""
    found = {}
    for room in (filters_data, filters_math, filters_paths, filters_text, filters_yaml):
        found.update(room.FILTERS)
    if core < (2, 21):
        return {**found, "strftime": filters_paths.strftime_of_2_19}
    for name in ("to_nice_yaml", "to_yaml"):
        found[name] = filters_yaml.with_vault_behavior(found[name])
    return found
