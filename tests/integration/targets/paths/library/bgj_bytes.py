#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys

from ansible.module_utils.basic import AnsibleModule


def main():
    AnsibleModule(argument_spec={})
    sys.stdout.buffer.write(b'{"changed": false, "text": "latin: \xe9\xff"}')
    sys.exit(0)


if __name__ == "__main__":
    main()
