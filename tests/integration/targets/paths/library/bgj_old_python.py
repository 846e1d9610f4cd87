#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# It knows nothing of Ansible, and is given its arguments as key=value in a file.

from __future__ import annotations

import json
import shlex
import sys

with open(sys.argv[1]) as stream:
    pairs = dict(word.split("=", 1) for word in shlex.split(stream.read()))
print(json.dumps({"changed": False, "text": pairs["text"], "check_mode": pairs["_ansible_check_mode"]}))
