#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(
        argument_spec={
            "stdout": {"type": "str", "default": ""},
            "stderr": {"type": "str", "default": ""},
            "status": {"type": "int", "default": 0},
        }
    )
    sys.stdout.write(module.params["stdout"])
    sys.stderr.write(module.params["stderr"])
    sys.exit(module.params["status"])


if __name__ == "__main__":
    main()
