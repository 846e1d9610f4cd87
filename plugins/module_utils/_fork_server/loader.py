# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Loads the files of _fork_server into a bare interpreter, to which the supervisor sends them.

It is the interpreter that the module itself would run under, and nothing of this collection is on its path: so they import
nothing but each other. Once they are loaded, sys.modules shows no trace of them: the payload has packages of the same
names, and a module has to find those.
"""

from __future__ import annotations

import _imp
import importlib
import importlib.machinery
import json
import sys

_ROOM = "ansible_collections.background.jobs.plugins.module_utils._fork_server"
# All that is sent, besides this file, and capture.py if output is kept.
PARTS = (
    "bounded_output",
    "channel",
    "code_file",
    "compiled",
    "executing",
    "forking",
    "kept_code",
    "kernel",
    "main",
    "preloading",
    "server",
    "spawning",
    "utilities",
    "zygote",
)


class _Sources:
    """Finds and loads the modules of _fork_server, from their texts, and the packages that they are in."""

    def __init__(self, texts):
        self.compiled_before = lambda within, text: None  # the code of a file, if it is known
        self._texts = {"%s.%s" % (_ROOM, name): text for name, text in texts.items()}
        self._packages = [_ROOM.rsplit(".", count)[0] for count in range(_ROOM.count(".") + 1)]
        self._names = [*self._packages, *self._texts]

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in self._names:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in self._packages)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__name__
        if name in self._texts:
            text, label = self._texts.pop(name), "background.jobs %s" % name.rpartition(".")[2]
            code = self.compiled_before(name.replace(".", "/") + ".py", text.encode("utf-8"))
            if code is None:
                code = compile(text, label, "exec", dont_inherit=True, optimize=2)
            else:
                _imp._fix_co_filename(code, label)
            exec(code, module.__dict__)  # pylint: disable=exec-used

    def take_out(self):
        """Remove the modules of these names from sys.modules, and return them."""
        return {name: sys.modules.pop(name) for name in self._names if name in sys.modules}


def load(data):
    """Return the main function of the program.

    data: JSON, {"parts": {name: text}, "compiled"}: the path of a file that may have them compiled (code_file.py), or null.
    """
    order = json.loads(data)
    sources = _Sources(order["parts"])
    others = sources.take_out()
    sys.meta_path.insert(0, sources)
    try:
        if order["compiled"]:
            compiled = importlib.import_module(_ROOM + ".compiled")
            known = compiled.load(order["compiled"])
            sources.compiled_before = lambda within, text: compiled.look_up(known, within, text)
        return importlib.import_module(_ROOM + ".main").main
    finally:
        del sources.compiled_before  # they stay the loader of what they have loaded, and that file is a large one
        sys.meta_path.remove(sources)
        sources.take_out()
        sys.modules.update(others)
