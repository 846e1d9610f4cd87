# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Warnings and deprecations as modules print them, and as playbooks see them."""

from __future__ import annotations


def brief(summary):
    """Return a warning of a module as one text, which is what playbooks see of it."""
    if not isinstance(summary, dict):
        return str(summary)
    parts, event = [], summary.get("event", summary)
    while event:
        parts.append(str(event.get("msg", "")))
        chain = event.get("chain") or {}
        event = chain.get("event") if chain.get("follow") else None
    message = parts.pop()
    for part in reversed(parts):
        message = part if part.endswith(message) else "%s: %s" % (part.rstrip(". "), message)
    return message


def deprecation(summary):
    """Return a deprecation of a module as a dict."""
    if not isinstance(summary, dict):
        return {"msg": str(summary)}
    plugin = summary.get("deprecator")
    if plugin:
        plugin = {key: item for key, item in plugin.items() if key != "__ansible_type"}
    elif summary.get("collection_name"):
        plugin = {"resolved_name": summary["collection_name"], "type": None}
    name = ".".join(plugin["resolved_name"].split(".")[:2]) if plugin else None
    when = "date" if summary.get("date") else "version"
    return {"msg": brief(summary), "collection_name": name, when: summary.get(when), "deprecator": plugin or None}
