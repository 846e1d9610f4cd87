#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(argument_spec={"file": {"type": "path"}})
    # pylint: disable-next=consider-using-with
    subprocess.Popen(
        ["/bin/sh", "-c", 'sleep 0.3; echo child > "$0"', module.params["file"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
