# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import preloading


def imports(source, package="ansible.modules"):
    return list(preloading._top_level_imports(source, compile(source, "module", "exec"), package))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os\n", ["os"]),
        ("import os, json as j  # both\n", ["os", "json"]),
        ("import os.path\n", ["os.path"]),
        ("from a.b import c, d as e\n", ["a.b", "a.b.c", "a.b.d"]),
        ("from a import (\n    b,\n    c,\n)\n", ["a", "a.b", "a.c"]),
        ("from ..module_utils import x\n", ["ansible.module_utils", "ansible.module_utils.x"]),
        ("x = 1\nimport os\n", ["os"]),
        ("if x:\n    import os\n", []),
        ("try:\n    import os\nexcept ImportError:\n    pass\n", []),
        ("def f():\n    import os\n", []),
        ("TEXT = '''\nimport os\nfrom a import b\nimport what you like\n'''\n", []),
        ("important = 1\nimport_os = 2\n", []),
    ],
)
def test_what_is_imported_at_the_top_level_without_condition(source, names):
    assert imports(source) == names
