#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import sys

from ansible.module_utils import basic
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bgj_shared import seen


def main():
    module = AnsibleModule(argument_spec={"text": {"type": "str"}})
    found = {"known": list(seen), "spoiled": getattr(basic, "spoiled", False), "variable": os.environ.get("BGJ_SPOILED")}
    found["umask"] = os.umask(0o777)
    found["directory"] = os.getcwd()
    found["path"] = "/spoiled" in sys.path
    seen.append(module.params["text"])
    basic.spoiled = True
    os.environ["BGJ_SPOILED"] = "yes"
    os.chdir("/")
    sys.path.insert(0, "/spoiled")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    module.warn("from %s" % module.params["text"])
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
