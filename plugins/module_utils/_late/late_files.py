# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Puts in place the files of a task whose contents are known only when its turn comes, and sets their tokens."""

from __future__ import annotations

import hashlib
import json

from ansible_collections.background.jobs.plugins.module_utils._late import local_actions
from ansible_collections.background.jobs.plugins.module_utils._late.failures import TemplateFailed


def put(turn, tokens, scope, stage, module):
    """Put the late files of a turn of a task with this module into their place.

    Each entry of turn["render"] has "file", its path below the staging folder, "mode", and its content: "content", a Value,
    "template" ({"text", "options"}), or "fill", a text with tokens. The token "sha1" stands for its checksum; "number", if
    a difference is shown, for the text of "content"; for a template's text it is the number after those of the turn's table.
    """
    for late in turn.get("render", ()):
        text = _content(late, tokens, scope, module)
        data = text.encode("utf-8", "surrogateescape")
        stage(late["file"], data, late.get("mode", 0o600))
        if "template" in late:
            tokens.put(len(turn.get("late", ())), text)
        if "number" in late:
            tokens.put(late["number"], text)
        if "sha1" in late:
            tokens.put(late["sha1"], hashlib.sha1(data).hexdigest())  # noqa: S324 - core compares files by it


def _content(late, tokens, scope, module):
    if "template" in late:
        return scope.fill(late["template"]["text"], late["template"].get("options"))
    try:
        content = tokens.fill(late["fill"]) if "fill" in late else scope.render(late["content"])
    except TemplateFailed as exc:
        raise TemplateFailed(local_actions.finalization(module, "content", exc)) from None
    return json.dumps(content) if isinstance(content, (dict, list)) else str(content)
