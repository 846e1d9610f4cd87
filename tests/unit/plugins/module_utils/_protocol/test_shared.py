# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import json
import os

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import shapes, shared

LARGE = "payload \udcff" * 1000  # with a byte that is no UTF-8, as modules may have
PLAN = {
    "payloads": {
        "p": {"style": "ansiballz", "head": "h" * 9000, "tail": LARGE},
        "q": {"style": "args_file", "data": "binary" * 1000},
        "r": {"style": "ansiballz", "head": "", "tail": "short"},
        "s": {"style": "text"},
    },
    "evaluator": "evaluator" * 1000,
    "jobs": [{"params": "secret" * 1000}],
    "files": {"0" * 64: "secret" * 1000},
}


@pytest.fixture
def async_dir(tmp_path):
    (tmp_path / "async").mkdir(mode=0o700)
    (tmp_path / "async" / ".background_jobs").mkdir(mode=0o700)
    return tmp_path / "async"


def sent(brings=None):
    """Return a plan as it travels, and the hashes of what is shared; brings: those that it brings, None for all."""
    plan = copy.deepcopy(PLAN)
    texts = shared.take_out(plan)
    plan["shared"] = {digest: text for digest, text in texts.items() if brings is None or digest in brings}
    return json.loads(json.dumps(plan)), sorted(texts)


def test_a_host_puts_in_what_it_was_brought_and_what_it_keeps(async_dir):
    plan, hashes = sent()
    assert len(hashes) == 3
    assert shared.put_in(plan, str(async_dir)) == (hashes, [])
    assert plan == PLAN
    plan, dummy = sent(brings=())
    assert "evaluatorevaluator" not in json.dumps(plan)
    assert shared.put_in(plan, str(async_dir)) == (hashes, [])
    assert plan == PLAN


def test_nothing_else_is_kept(async_dir):
    shared.put_in(sent()[0], str(async_dir))
    folder = async_dir / ".background_jobs" / "modules"
    assert len(os.listdir(folder)) == 3
    assert not any(b"secret" in path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize("change", ["gone", "half", "changed", "foreign"])
def test_what_is_missing_is_told(async_dir, change):
    hashes = shared.put_in(sent()[0], str(async_dir))[0]
    path = async_dir / ".background_jobs" / "modules" / (hashes[0] + ".part")
    if change == "gone":
        path.unlink()
    elif change == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        os.chown(path, 1234, -1)
    else:
        path.write_bytes(b"evil" if change == "changed" else path.read_bytes()[:-1])
    assert shared.put_in(sent(brings=())[0], str(async_dir)) == ([], [hashes[0]])
    # what is brought again is kept again
    assert shared.put_in(sent(brings=hashes[:1])[0], str(async_dir)) == (hashes, [])
    assert shared.put_in(sent(brings=())[0], str(async_dir)) == (hashes, [])


def test_what_was_brought_damaged_is_missing(async_dir):
    plan, hashes = sent()
    plan["shared"][hashes[0]] += "x"
    assert shared.put_in(plan, str(async_dir)) == ([], [hashes[0]])


def test_a_host_that_keeps_nothing_uses_what_it_was_brought(async_dir):
    (async_dir / ".background_jobs" / "modules").write_text("in the way")
    plan, dummy = sent()
    assert shared.put_in(plan, str(async_dir)) == ([], [])
    assert plan == PLAN


@pytest.mark.parametrize(
    "plan",
    [
        None,
        {},
        {"payloads": []},
        {"payloads": {"p": 1}},
        {"payloads": {}, "shared": []},
        {"payloads": {}, "shared": {"x": 1}},
        {"payloads": {"p": {"tail": {"shared": "../../../etc/passwd"}}}},
        {"payloads": {"p": {"tail": {"shared": "0" * 64, "more": 1}}}},
        {"payloads": {}, "archive": {"shared": 1}},
    ],
)
def test_what_is_no_plan_is_told(async_dir, plan):
    with pytest.raises(shapes.Malformed):
        shared.put_in(plan, str(async_dir))
