# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import Job
from ansible_collections.background.jobs.plugins.plugin_utils._verbs import pooling


def job(pool: str | None = None, **more: t.Any) -> Job:
    settings: dict[str, t.Any] = {"no_log": False, "source": {"pool": pool} if pool else {}, **more}
    return Job("one", "tasks[0]", "m", 0.0, False, pool=pool, **settings)


@pytest.mark.parametrize(
    ("jobs", "own", "size", "variable", "expected"),
    [
        pytest.param([job()], None, None, None, {}, id="no pool"),
        pytest.param([job()], None, None, "odd", {}, id="and then nobody looks at the variable"),
        pytest.param([job("p"), job("p")], "p", 3, None, {"p": 3}, id="the option of the launch"),
        pytest.param([job("p"), job()], None, 3, None, {"p": 3}, id="the one pool of the jobs"),
        pytest.param([job("p"), job("q")], None, None, {"p": 3, "q": "4", "r": 5}, {"p": 3, "q": 4}, id="a variable"),
        pytest.param([job("p"), job("q")], "p", 1, {"p": 3, "q": 4}, {"p": 1, "q": 4}, id="the option is stronger"),
        pytest.param([job("p", skip="false")], None, None, None, {}, id="a job that does not run"),
    ],
)
def test_sizes(jobs: list[Job], own: str | None, size: int | None, variable: object, expected: dict[str, int]) -> None:
    assert pooling.sizes(jobs, own, size, variable) == expected


@pytest.mark.parametrize(
    ("jobs", "own", "size", "variable", "says"),
    [
        ([job()], None, 3, None, "Option 'pool_size': there is no pool .* Add 'pool'"),
        ([job("p"), job("q")], None, 3, None, "Option 'pool_size': the jobs use 2 pools.* variable background_jobs"),
        ([job("p")], None, None, None, r"'one'\), key 'pool': nothing says how many places 'p' has. Give 'pool_size'"),
        ([job("dwonloads")], None, None, {"downloads": 3}, "Did you mean 'downloads'"),
        ([job("p", source={})], "p", None, None, "Option 'pool': nothing says how many places 'p' has"),
        ([job("p")], None, None, ["p"], "Variable 'background_jobs_pools': it must be a dictionary .* got a list"),
        ([job("p")], None, None, {"p": 0}, "Variable 'background_jobs_pools', 'p': .* 1 or more: got '0'"),
        ([job("p")], None, None, {"a/b": 1}, "Variable 'background_jobs_pools', 'a/b': it must be a name"),
    ],
)
def test_what_is_refused(jobs: list[Job], own: str | None, size: int | None, variable: object, says: str) -> None:
    with pytest.raises(Refused, match=says):
        pooling.sizes(jobs, own, size, variable)


def test_the_pool_of_a_hidden_job_is_not_told() -> None:
    with pytest.raises(Refused, match="key 'pool': nothing says how many places it has") as refused:
        pooling.sizes([job("secret", no_log=True)], None, None, None)
    assert "secret" not in str(refused.value)
