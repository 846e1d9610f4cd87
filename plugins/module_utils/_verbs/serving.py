# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Checks a request, and has it answered by its handler, if this module has one."""

from __future__ import annotations

import os
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing, requests, shapes
from ansible_collections.background.jobs.plugins.module_utils._system import users
from ansible_collections.background.jobs.plugins.module_utils._verbs import kept


def serve(request, async_dir, handlers):
    """Answer a request; handlers: {op: function} of what may be asked for. shapes.Malformed if it is no valid one."""
    requests.check(request, handlers)
    return dict(
        handlers[request["op"]](request, async_dir),
        now=time.time(),
        user=users.own_name(),
        async_dir=os.path.abspath(os.path.expanduser(async_dir)),
    )


def be(module, handlers, keeping=True):
    """Be the module `module`: answer the request of its action plugin, and keep the module for the next one."""
    if not module.params["_request"]:
        module.fail_json(msg="This works only as a task of a playbook: its action plugin makes the requests.")
    async_dir = module.params["_async_dir"]
    try:
        reply = serve(packing.unpack(module.params["_request"]), async_dir, handlers)
    except shapes.Malformed as exc:
        module.fail_json(msg="What the action plugin asked for can't be right, and nothing was done: %s." % exc)
    told = {"kept": kept.keep(async_dir, kept.own_archive())} if keeping else {}
    module.exit_json(changed=False, reply=packing.pack(reply), **told)
