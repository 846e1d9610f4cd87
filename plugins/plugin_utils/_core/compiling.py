# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Has templates compiled only once for all items of a loop.

The private names of ansible-core that this needs are listed in core.py.
"""

from __future__ import annotations

import typing as t

from ansible.module_utils._internal._datatag import AnsibleTagHelper

_MOST_COMPILED = 1000


def remember(engine: t.Any) -> None:
    """Keep compiled templates: all items of a loop have the same ones, and compiling is most of the work."""
    for name in ("_compile_template", "_compile_expression"):
        compile_one = getattr(engine, name, None)
        if compile_one is not None:
            setattr(engine, name, _remembering(compile_one))


def _remembering(compile_one: t.Callable[[str, t.Any], t.Any]) -> t.Callable[[str, t.Any], t.Any]:
    # The key includes the tags of a text, such as its place in a file: equal texts may differ in them.
    compiled: dict[t.Any, t.Any] = {}

    def remembering(text: str, options: t.Any) -> t.Any:
        key = (str.__str__(text), AnsibleTagHelper.tags(text), options)
        try:
            hash(key)
        except TypeError:  # as for `args` that are one template
            return compile_one(text, options)
        if key not in compiled:
            if len(compiled) >= _MOST_COMPILED:
                compiled.clear()
            compiled[key] = compile_one(text, options)
        return compiled[key]

    return remembering
