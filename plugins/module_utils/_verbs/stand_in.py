# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

# pylint: disable=ansible-bad-function  # it is what modules answer by

"""Replaces ansible-core's AnsibleModule in modules that the host has kept: importing that one takes longer than all else.

The modules of this collection get their work from their action plugins, which have checked all options. So this does only
what is left: it hands over arguments, logs the call, and prints the result.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import syslog
import types

_STOOD_IN_FOR = "ansible.module_utils.basic"


def run(name, arguments):
    """Run the module of this name; arguments: JSON in ansible-core's form. Does not return."""
    parts = _STOOD_IN_FOR.split(".")
    for count in range(len(parts)):
        package = ".".join(parts[: count + 1])
        sys.modules[package] = types.ModuleType(package)
    given = json.loads(arguments)["ANSIBLE_MODULE_ARGS"]
    sys.modules[_STOOD_IN_FOR].AnsibleModule = functools.partial(AnsibleModule, given)
    try:
        importlib.import_module(name).main()
    except SystemExit as exc:
        sys.stdout.flush()
        os._exit(exc.code)  # taking the interpreter down in order takes time, and nobody needs it


class AnsibleModule:
    """The part of AnsibleModule that the modules of this collection use."""

    def __init__(self, given, argument_spec, supports_check_mode):
        self.params = {key: given.get(key, option.get("default")) for key, option in argument_spec.items()}
        self._warnings = []
        _leave_what_is_closed()
        if not given.get("_ansible_no_log"):
            hidden = {key for key, option in argument_spec.items() if option.get("no_log")}
            self._log(given, hidden)

    def _log(self, given, hidden):
        facility = getattr(syslog, str(given.get("_ansible_syslog_facility")), syslog.LOG_USER)
        words = ["%s=%s" % (key, "NOT_LOGGING_PARAMETER" if key in hidden else self.params[key]) for key in self.params]
        syslog.openlog("ansible-%s" % given.get("_ansible_module_name"), 0, facility)
        about = given.get("_ansible_target_log_info")
        text = "%sInvoked with %s" % ("%s " % about if about else "", " ".join(words))
        syslog.syslog(syslog.LOG_INFO, text.encode("utf-8", "replace").decode("utf-8").replace("\0", ""))

    def warn(self, warning):
        self._warnings.append(warning)

    def exit_json(self, **result):
        self._print(result)
        sys.exit(0)

    def fail_json(self, msg, **result):
        self._print(dict(result, msg=msg, failed=True))
        sys.exit(1)

    def _print(self, result):
        if self._warnings:
            result["warnings"] = self._warnings
        print("\n%s" % json.dumps(result))


def _leave_what_is_closed():
    """Change to a folder that can be read: the one where the connection begins may be closed to the become user."""
    try:
        if os.access(os.getcwd(), os.F_OK | os.R_OK):
            return
    except OSError:
        pass
    for folder in (os.path.expanduser("~"), "/"):
        if os.access(folder, os.R_OK | os.X_OK):
            os.chdir(folder)
            return
