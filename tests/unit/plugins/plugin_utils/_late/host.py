# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that evaluates: started as `python -I -S host.py COLLECTIONS ARCHIVE CORE`, it answers line by line."""

from __future__ import annotations

import json
import sys


def shown(value):
    """A value as a text that tells its types and is the same on every Python."""
    if isinstance(value, dict):
        return "{%s}" % ", ".join("%s: %s" % (shown(key), shown(item)) for key, item in value.items())
    if isinstance(value, list):
        return "[%s]" % ", ".join(map(shown, value))
    if type(value).__module__ not in ("builtins", "datetime") and type(value).__name__ != "_Omit":
        return "foreign type %s" % type(value)
    return repr(value)


def answer(engine, templating, values, request):
    variables = {name: values.decode(value) for name, value in request["variables"].items()}
    scope = engine.scope(variables.__getitem__)
    try:
        return {"value": shown(getattr(scope, request["how"])(request["value"]))}
    except templating.TemplateFailed as exc:
        return {"refused": str(exc)}


def main():
    collections, archive_file, core = sys.argv[1:]
    sys.dont_write_bytecode = True
    sys.path.insert(0, collections)
    from ansible_collections.background.jobs.plugins.module_utils._late import archive, templating, values

    with open(archive_file, encoding="ascii") as stream:
        archive.provide(stream.read())
    engine = templating.Engine(core)
    for line in sys.stdin:
        print(json.dumps(answer(engine, templating, values, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
