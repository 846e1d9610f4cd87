#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib

from ansible.module_utils.basic import AnsibleModule

importlib.import_module("a_library_that_is_not_there")


def main():
    AnsibleModule(argument_spec={}).exit_json()


if __name__ == "__main__":
    main()
