# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jinja2 out of an archive, in an interpreter as bare as on a host."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import zipfile

import jinja2
import markupsafe
import pytest

PROGRAM = """
import json, os, sys
collections, archive, code = json.load(sys.stdin)
sys.dont_write_bytecode = True
sys.path.insert(0, collections)
from ansible_collections.background.jobs.plugins.module_utils._late import archive as late_archive
before = sorted(sys.modules)
exec(code)
"""


@pytest.fixture(scope="module")
def packed():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as target:
        for package in (jinja2, markupsafe):
            folder = os.path.dirname(package.__file__)
            for name in sorted(os.listdir(folder)):
                if name.endswith(".py"):
                    target.write(os.path.join(folder, name), "%s/%s" % (package.__name__, name))
    return base64.b64encode(data.getvalue()).decode("ascii")


@pytest.fixture
def bare(tmp_path, packed):
    """Run code with the archive in a folder of its own; return what it printed as JSON."""
    link = tmp_path / "collections" / "ansible_collections" / "background" / "jobs"
    link.parent.mkdir(parents=True)
    link.symlink_to(_checkout())
    empty = tmp_path / "empty"
    empty.mkdir()

    def run(code):
        given = json.dumps([str(tmp_path / "collections"), packed, code])
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", PROGRAM],
            input=given,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=str(empty),
            env={"TMPDIR": str(empty), "HOME": str(empty)},
        )
        assert not list(empty.iterdir()), "it wrote files"
        return json.loads(done.stdout)

    return run


def _checkout():
    found = os.path.abspath(__file__)
    while not os.path.exists(os.path.join(found, "galaxy.yml")):
        found = os.path.dirname(found)
    return found


def test_a_bare_interpreter_evaluates(bare):
    code = """
from ansible_collections.background.jobs.plugins.module_utils._late import templating
provided = late_archive.provide(archive)
scope = templating.Engine("2.21").scope({"x": [1, 2]}.__getitem__)
import jinja2, markupsafe
print(json.dumps([provided, scope.render({"$template": "{{ x | union([3]) | to_json }}"}), jinja2.__spec__.origin]))
"""
    assert bare(code) == [["jinja2", "markupsafe"], "[1, 2, 3]", "jinja2/__init__.py"]


def test_what_the_host_has_itself_does_not_count(bare):
    code = """
import types
sys.modules["jinja2"] = types.ModuleType("jinja2")
late_archive.provide(archive)
import jinja2
print(json.dumps(hasattr(jinja2, "Template")))
"""
    assert bare(code) is True


def test_without_an_archive_an_engine_says_what_is_missing(bare):
    code = """
from ansible_collections.background.jobs.plugins.module_utils._late import templating
try:
    templating.Engine("2.21")
except ImportError as exc:
    print(json.dumps(str(exc)))
"""
    assert "Jinja2 was not there" in bare(code)


def test_yaml_where_neither_the_archive_nor_the_host_has_it(bare):
    code = """
from ansible_collections.background.jobs.plugins.module_utils._late import templating
late_archive.provide(archive)
try:
    templating.Engine("2.21").scope({}.__getitem__).render({"$template": "{{ 1 | to_yaml }}"})
except templating.TemplateFailed as exc:
    print(json.dumps(str(exc)))
"""
    assert "PyYAML is missing" in bare(code)


def test_the_names_need_no_jinja2(bare):
    code = """
from ansible_collections.background.jobs.plugins.module_utils._late import names, templating, values
print(json.dumps(sorted(name for name in set(sys.modules) - set(before) if name.partition(".")[0] in ("jinja2", "yaml"))))
"""
    assert bare(code) == []
