# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Arguments and results of modules, as they travel."""

from __future__ import annotations

import json
import typing as t

from ansible.constants import config
from ansible.errors import AnsibleError
from ansible.module_utils.common.json import Direction, get_module_decoder, get_module_encoder

from ansible_collections.background.jobs.plugins.plugin_utils._core import exception_in
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused

Arguments = dict[str, t.Any]


def encode(style: str, profile: str, arguments: Arguments) -> str:
    """Return the arguments of a module of this style (see _payloads.Built) as it reads them."""
    encoder = get_module_encoder(profile, Direction.CONTROLLER_TO_MODULE)
    value = {"ANSIBLE_MODULE_ARGS": arguments} if style == "new" else arguments
    try:
        return json.dumps(value, cls=encoder)
    except TypeError as exc:
        raise Refused(f"its arguments cannot be sent to the host: {exc}") from exc


# 2.21 has modules return it only where that is asked for; before, they always do, and what is registered goes without it.
_REGISTERS_INVOCATION = "INJECT_INVOCATION" in config.get_configuration_definitions()


def decode_result(text: str) -> Arguments:
    """Return what a module printed, as core would have registered it; ValueError where core would not take it."""
    # What a host sends is data: this profile never marks it as trusted for templating.
    try:
        result = json.loads(text, cls=get_module_decoder("legacy", Direction.MODULE_TO_CONTROLLER))
    except AnsibleError as exc:  # it holds what is no text, say
        raise ValueError(str(exc)) from exc
    if not isinstance(result, dict):
        return {"failed": True, "changed": False, "msg": "the module did not return a dictionary", "data": result}
    for key in ("stdout", "stderr"):
        if key in result and f"{key}_lines" not in result:
            result[f"{key}_lines"] = result[key].splitlines() if isinstance(result[key], str) else []
    if not _REGISTERS_INVOCATION:
        result.pop("invocation", None)
    message = exception_in(result)
    if message is not None:
        result.setdefault("msg", message)
    result.setdefault("changed", False)
    result.setdefault("failed", result.get("rc", 0) not in (0, "0", None))
    return result
