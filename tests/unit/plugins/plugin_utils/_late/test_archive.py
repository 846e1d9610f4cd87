# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zipfile

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._late import archive


def names(packed: str) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed))) as found:
        return found.namelist()


def test_it_holds_pure_python_and_yaml_only_where_it_is_asked_for() -> None:
    plain = names(archive.archive())
    assert {name.partition("/")[0] for name in plain} == {"jinja2", "markupsafe"}
    assert all(name.endswith(".py") for name in plain)
    assert {"jinja2/sandbox.py", "markupsafe/_native.py"} < set(plain)
    assert "yaml/dumper.py" in names(archive.archive(with_yaml=True))


def test_it_is_made_once_and_small() -> None:
    assert archive.archive() is archive.archive()
    assert len(archive.archive()) < 200_000


def test_it_is_the_same_from_each_process() -> None:
    code = f"from {archive.__name__} import archive; print(archive())"
    made = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert made.stdout.strip() == archive.archive()


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_ALWAYS", ("jinja2", "no_such_package"))
    archive.archive.cache_clear()
    with pytest.raises(Refused, match="the Python package no_such_package"):
        archive.archive()
    archive.archive.cache_clear()
