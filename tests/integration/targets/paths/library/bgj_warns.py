#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(
        argument_spec={
            "old": {"type": "str", "removed_in_version": "99.0", "removed_from_collection": "ansible.builtin"}
        }
    )
    module.warn("beware")
    # A module of a library/ folder belongs to no collection.
    # pylint: disable-next=collection-invalid-deprecated-version,wrong-collection-deprecated
    module.deprecate("not any more", version="99.0", collection_name="ansible.builtin")
    module.exit_json(changed=False, warned=True)


if __name__ == "__main__":
    main()
