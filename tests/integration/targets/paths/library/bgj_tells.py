#!/usr/bin/python
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import resource
import signal
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bgj_shared import seen


def main():
    module = AnsibleModule(argument_spec={"text": {"type": "str"}, "secret": {"type": "str", "no_log": True}}, supports_check_mode=True)
    known = list(seen)
    seen.append(module.params["text"])
    umask = os.umask(0o27)
    os.umask(umask)
    module.exit_json(
        changed=False,
        check_mode=module.check_mode,
        diff_mode=module._diff,
        files=sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)),
        ignored=[int(number) for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN],
        handled=[int(number) for number in signal.valid_signals() if callable(signal.getsignal(number))],
        blocked=[int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        known=known,
        limit=resource.getrlimit(resource.RLIMIT_NOFILE),
        module_name=module._name,
        own_variables=sorted(name for name in os.environ if name.startswith("BGJ_")),
        secret=module.params["secret"],
        stdin=sys.stdin.read(),
        text=module.params["text"],
        umask=umask,
        utf8=sys.getfilesystemencoding(),
        directory=os.path.basename(os.getcwd()),
    )


if __name__ == "__main__":
    main()
