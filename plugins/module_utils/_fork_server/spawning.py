# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Has the processes of jobs start programs without copying themselves first.

`AnsibleModule.run_command` gives subprocess a function to call between fork and exec, which sets a umask if one was asked
for, and does nothing otherwise. Because of the function subprocess has to fork. Without it, it uses vfork (Python 3.10
and later, on Linux), which saves a third of what a job with a short command costs.
"""

from __future__ import annotations

import functools
import subprocess
import sys

_WORDS = {"os", "umask"}  # the only names that the function uses: one that does more is left alone


def spare_copies():
    """From now on, leave that function out if it would do nothing."""
    module_class = getattr(sys.modules.get("ansible.module_utils.basic"), "AnsibleModule", None)
    known = [code for code in _codes_in(getattr(module_class, "run_command", None)) if _is_known(code)]
    if not known:
        return
    open_process = subprocess.Popen.__init__

    @functools.wraps(open_process)
    def open_sparing(self, *args, **kwargs):
        function = kwargs.get("preexec_fn")
        if getattr(function, "__code__", None) in known and not function.__closure__[0].cell_contents:
            kwargs["preexec_fn"] = None
        open_process(self, *args, **kwargs)

    subprocess.Popen.__init__ = open_sparing


def _is_known(code):
    return code.co_freevars == ("umask",) and set(code.co_names) <= _WORDS


def _codes_in(function):
    """Return the code of the functions that are defined inside this one."""
    code = getattr(function, "__code__", None)
    return [one for one in code.co_consts if hasattr(one, "co_freevars")] if code else []
