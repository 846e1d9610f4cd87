#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tiny.tools.plugins.module_utils import shared

from ..module_utils.shared import relative


def main():
    module = AnsibleModule(
        argument_spec={"text": {"type": "str", "default": "nothing"}, "other": {"type": "str"}},
        supports_check_mode=True,
    )
    module.exit_json(
        changed=True, said=shared.decorate(module.params["text"]), relative=relative(), other=module.params["other"]
    )


if __name__ == "__main__":
    main()
