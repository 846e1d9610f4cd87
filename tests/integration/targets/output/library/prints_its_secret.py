#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a command that prints an argument which is no_log."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(argument_spec=dict(secret=dict(type="str", no_log=True), fifo=dict(type="str")))
    script = 'echo "it is $0!"; read x < "$1"'
    module.run_command(["/bin/sh", "-c", script, module.params["secret"], module.params["fifo"]])
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
