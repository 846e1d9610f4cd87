#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# WANT_JSON

from __future__ import annotations

import json
import sys

with open(sys.argv[1]) as stream:
    arguments = json.load(stream)
print(json.dumps({"changed": True, "text": arguments["text"], "check_mode": arguments["_ansible_check_mode"]}))
