#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, respawn_module


def main():
    module = AnsibleModule(
        argument_spec={"interpreter": {"type": "path"}, "text": {"type": "str"}}, supports_check_mode=True
    )
    if not has_respawned():
        respawn_module(module.params["interpreter"])
    module.exit_json(
        changed=not module.check_mode,
        respawned=has_respawned(),
        executable=os.path.basename(sys.executable),
        text=module.params["text"],
    )


if __name__ == "__main__":
    main()
