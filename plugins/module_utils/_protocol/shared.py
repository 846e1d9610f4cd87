# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Parts that many plans share: the programs of modules, and the evaluator. A host keeps them (store.py).

In a plan, {"shared": its SHA-256} replaces such a part. plan["shared"] has the texts, by their SHA-256, that the launch
brings; the host must have the others. Nothing of a job's own, such as arguments and files, is ever shared.
"""

from __future__ import annotations

import re

from ansible_collections.background.jobs.plugins.module_utils._protocol import shapes, store
from ansible_collections.background.jobs.plugins.module_utils._system import files

_WORTH_IT = 4096  # characters; shorter texts stay in the plan
_SUFFIX = ".part"
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def take_out(plan):
    """Replace the shared parts of a plan by references; return {SHA-256: text}."""
    texts = {}
    for holder, key in _places(plan):
        text = holder[key]
        if len(text) >= _WORTH_IT:
            digest = store.sha256(_encoded(text))
            texts[digest], holder[key] = text, {"shared": digest}
    return texts


def put_in(plan, async_dir):
    """Put the texts back into a plan; return the hashes of those that this host keeps now, and of those that are missing.

    shapes.Malformed if this is no plan; only the shared parts are checked here (all others: plans.py).
    """
    brought = _brought(plan)
    found = {digest: text for digest, text in brought.items() if store.sha256(_encoded(text)) == digest}
    wanted = [(holder, key) for holder, key in _places(plan) if isinstance(holder[key], dict)]
    for holder, key in wanted:
        shapes.check_keys(holder[key], {"shared": _is_digest}, {}, "what is shared")
    if not wanted:
        return [], []
    kept = _Kept(async_dir)
    for holder, key in wanted:
        digest = holder[key]["shared"]
        if digest not in found:
            found[digest] = kept.read(digest)
        holder[key] = found[digest]
    missing = sorted(digest for digest, text in found.items() if text is None)
    if missing:
        return [], missing
    return sorted(digest for digest, text in found.items() if digest not in brought or kept.write(digest, text)), []


def _brought(plan):
    """Remove and return the shared texts that a plan brings."""
    is_plan = isinstance(plan, dict) and isinstance(plan.get("payloads"), dict)
    shapes.expect(is_plan and all(map(shapes.is_table, plan["payloads"].values())), "it has no payloads")
    brought = plan.pop("shared", {})
    is_brought = isinstance(brought, dict) and all(map(shapes.is_text, brought.values()))
    shapes.expect(is_brought, "what it shares is no dictionary of texts")
    return brought


def _is_digest(value):
    return shapes.is_text(value) and bool(_DIGEST.match(value))


def _places(plan):
    """Yield (dict, key) of all that may be shared."""
    for payload in plan["payloads"].values():
        for key in ("tail", "data"):
            if key in payload:
                yield payload, key
    for key in ("evaluator", "archive"):
        if key in plan:
            yield plan, key


def _encoded(text):
    return text.encode("utf-8", "surrogateescape")


class _Kept:
    """The shared texts that this host keeps; none if it can't keep any."""

    def __init__(self, async_dir):
        try:
            self._store = store.Store(async_dir)
        except (files.UnsafePath, OSError):
            self._store = None

    def read(self, digest):
        data = self._store and self._store.read(digest + _SUFFIX, digest)
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def write(self, digest, text):
        return self._store is not None and self._store.write(digest + _SUFFIX, _encoded(text))
