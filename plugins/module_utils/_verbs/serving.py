# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Has a request answered by its handler, if it is one that this module answers and has the shape of one."""

from __future__ import annotations

import os
import time

from ansible_collections.background.jobs.plugins.module_utils._protocol import packing, requests
from ansible_collections.background.jobs.plugins.module_utils._system import users


def serve(request, async_dir, handlers):
    """Answer a request; handlers: {op: function} of those that may be asked. requests.Malformed where it is none."""
    requests.check(request, handlers)
    return dict(
        handlers[request["op"]](request, async_dir),
        now=time.time(),
        user=users.own_name(),
        async_dir=os.path.abspath(os.path.expanduser(async_dir)),
    )


def be(module, handlers):
    """Be the module `module`: answer the request of its action plugin."""
    if not module.params["_request"]:
        module.fail_json(msg="This works as a task of a playbook only: its action plugin makes the requests.")
    try:
        reply = serve(packing.unpack(module.params["_request"]), module.params["_async_dir"], handlers)
    except requests.Malformed as exc:
        module.fail_json(msg="What the action plugin asked for can't be right, and nothing was done: %s." % exc)
    module.exit_json(changed=False, reply=packing.pack(reply))
