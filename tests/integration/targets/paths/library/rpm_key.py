#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Of the name of one of ansible-core's modules, which it stands before.

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(argument_spec={"key": {"type": "str"}}, supports_check_mode=True)
    module.exit_json(changed=True, overridden=True, key=module.params["key"])


if __name__ == "__main__":
    main()
