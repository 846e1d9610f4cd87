# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Decodes results of modules from the form in which hosts send them."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.background.jobs.plugins.module_utils._protocol import results, states
from ansible_collections.background.jobs.plugins.plugin_utils._core.results import registered

Arguments = dict[str, t.Any]


class Decoded(t.NamedTuple):
    """The result of a job; `why`: the host's message on a module that returned none."""

    result: Arguments
    why: str | None = None


def decode_result(text: str, state: str) -> Decoded:
    """Return the result of a job in this terminal state, as a plain task would have registered it."""
    if results.is_censored(text):
        return Decoded(json.loads(text))
    output = results.output_without_result(text)
    if output is None:
        return Decoded(registered(text))
    if state != states.FAILED:  # it was stopped, and the message says so
        return Decoded(registered(json.dumps(output)))
    printed = {key: output[key] for key in results.PRINTED if key in output}
    decoded = registered(output["module_stdout"], output["module_stderr"], output["rc"])
    return Decoded({**decoded, **printed}, output["msg"])
