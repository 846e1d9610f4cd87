# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys

from ansible_collections.background.jobs.plugins.module_utils._system import hashing

WITHOUT_ITS_OWN = "import sys; sys.modules.update(_sha2=None, _sha256=None); "
CODE = (
    "import sys; path, name = sys.argv[1:]; names = {}; exec(open(path).read(), names); "
    "print(names['sha256'](b'abc').hexdigest(), name in sys.modules)"
)


def printed(before=""):
    command = [sys.executable, "-I", "-S", "-c", before + CODE, hashing.__file__, "hashlib"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_it_is_that_of_hashlib():
    assert hashing.sha256(b"abc").hexdigest() == hashlib.sha256(b"abc").hexdigest()


def test_openssl_is_not_loaded_for_it():
    has_its_own = any(importlib.util.find_spec(name) for name in ("_sha2", "_sha256"))
    assert printed() == [hashlib.sha256(b"abc").hexdigest(), str(not has_its_own)]


def test_an_interpreter_without_its_own_takes_that_of_openssl():
    assert printed(WITHOUT_ITS_OWN) == [hashlib.sha256(b"abc").hexdigest(), "True"]
