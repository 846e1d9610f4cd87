# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks of a playbook call. Importing this comes first, so that it is quick to import the rest."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.plugin_utils._core import bytecode

bytecode.install()
