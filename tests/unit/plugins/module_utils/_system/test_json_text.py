# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import json_text

DEEP = '{"a":' + "[" * 200000

# Objects in cycles, whose finalizers the garbage collector runs while the decoder is as deep as it may get.
WITH_FINALIZERS = """
import gc, sys
names = {}
exec(open(sys.argv[1]).read(), names)

class Finalized:
    def __init__(self):
        self.myself = self

    def __del__(self):
        self.recurse(3)

    def recurse(self, times):
        if times:
            self.recurse(times - 1)

def read(depth, deep):
    if depth:
        return read(depth - 1, deep)
    left = [Finalized() for dummy in range(30)]
    del left
    try:
        names["loads"](deep)
    except ValueError:
        return 1

deep = '{"a":' + "[" * 20000
read_all = 0
for threshold in range(20, 60):
    gc.set_threshold(threshold)
    for depth in range(400, 980, 7):
        read_all += read(depth, deep)
print(read_all)
"""


@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_nested_too_deep_is_a_value_error(enabled):
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        for text in (DEEP, DEEP.encode("ascii"), "{"):
            with pytest.raises(ValueError):
                json_text.loads(text)
        assert json_text.loads(b'{"a": [1]}') == {"a": [1]}
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_a_finalizer_that_runs_meanwhile_does_not_abort_the_process():
    command = [sys.executable, "-I", "-S", "-c", WITH_FINALIZERS, json_text.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3320\n"), done.stderr[-1000:]
