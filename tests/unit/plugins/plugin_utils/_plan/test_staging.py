# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._plan.staging import Store, Transfer


@pytest.fixture
def store(tmp_path: Path) -> t.Iterator[Store]:
    made = Store(str(tmp_path))
    yield made
    made.close()
    assert list(tmp_path.glob("tmp*")) == []


def write(tmp_path: Path, name: str, content: bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


def test_the_same_content_is_sent_once(store: Store, tmp_path: Path) -> None:
    for number, content in enumerate((b"one", b"two", b"one", b"", b"three")):
        sent = store.transfer(write(tmp_path, "x", content), f"{store.token}/{number}/name")
        assert sent == Transfer(
            f"{number}/name", hashlib.sha256(content).hexdigest(), hashlib.sha1(content).hexdigest()
        )
    made = store.in_plan()
    assert sorted(base64.b64decode(text) for text in made["files"].values()) == [b"", b"one", b"three", b"two"]
    assert (made["staging_token"], store.size, "bundle" in made) == (store.token, 11, False)
    for digest, text in made["files"].items():
        assert hashlib.sha256(base64.b64decode(text)).hexdigest() == digest


def test_a_bundle_tells_where_each_content_is(store: Store, tmp_path: Path) -> None:
    for content in (b"one", b"three", b"three"):
        store.transfer(write(tmp_path, "x", content), f"{store.token}/0/x")
    made = store.in_plan("/remote/files")
    data = Path(store.path).read_bytes()
    assert {data[start : start + size] for start, size in made["files"].values()} == {b"one", b"three"}
    assert (made["bundle"], data) == ("/remote/files", b"onethree")


def test_without_files_the_plan_says_nothing(store: Store) -> None:
    assert store.in_plan() == {} and store.size == 0


@pytest.mark.parametrize("remote", ["/etc/passwd", "TOKEN", "TOKEN/", "/x/TOKEN/0/a"])
def test_a_file_for_another_place_is_refused(store: Store, tmp_path: Path, remote: str) -> None:
    with pytest.raises(Refused, match="not that of ansible-core"):
        store.transfer(write(tmp_path, "x", b""), remote.replace("TOKEN", store.token))


def test_tokens_differ() -> None:
    assert len({Store("/").token for dummy in range(20)}) == 20
