# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-core's own tests of its modules, with each module run as a job: only in `make soak`, which downloads them.

BGJ_CORE_TARGETS in the environment: the folder test/integration/targets of ansible-core's source distribution.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil

import pytest

TARGETS = os.environ.get("BGJ_CORE_TARGETS", "")
# Roles, and how many of their tasks must have run as jobs. Some end early on a host that lacks what they need, but then
# at the same task with and without jobs.
WANTED = {
    "assemble": 10,
    "blockinfile": 60,
    "command_shell": 40,
    "copy": 10,
    "file": 80,
    "find": 60,
    "lineinfile": 150,
    "replace": 40,
    "script": 20,
    "slurp": 15,
    "stat": 8,
    "tempfile": 10,
    "template": 20,
    "unarchive": 2,
}
# The variables that ansible-test would set.
VARIABLES = {"ansible_python_interpreter": "/usr/bin/python3"}

# Replaces an action plugin of ansible-core: runs its task as a job, and returns the result of that. While a job is being
# launched, for which the collection uses the same plugins, it acts as the real one.
SHIM = """
import os
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader

NAME = {name!r}
PLAIN = ("ansible.builtin.async_status", "ansible.builtin.setup")


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def __init__(self, *args, **kwargs):
        if os.environ.get("BGJ_LAUNCHING"):
            self.__class__ = action_loader.get("ansible.builtin." + NAME, class_only=True)
            self.__init__(*args, **kwargs)
        else:
            super().__init__(*args, **kwargs)

    def run(self, tmp=None, task_vars=None):
        module = self._task.resolved_action.replace("ansible.legacy.", "ansible.builtin.")
        if NAME != "normal":
            module = "ansible.builtin." + NAME
        as_job = module.startswith("ansible.builtin.") and module not in PLAIN
        # a job with no_log keeps its result to itself
        as_job = as_job and not self._task.async_val and not self._task.no_log
        os.environ["BGJ_LAUNCHING"] = "1"
        try:
            return self._job(module, task_vars) if as_job else self._plain(task_vars)
        finally:
            del os.environ["BGJ_LAUNCHING"]

    def _get(self, name, task):
        return action_loader.get(
            name,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )

    def _plain(self, task_vars):
        return self._get("ansible.builtin." + NAME, self._task).run(None, task_vars)

    def _job(self, module, task_vars):
        task = self._task.copy()
        entry = {{module: dict(self._task.args)}}
        task.args = {{"task": entry, "wait": True, "poll": 0}}
        try:
            told = self._get("background.jobs.async_run", task).run(None, task_vars)
        except AnsibleError as exc:
            told = {{"msg": str(exc)}}
        jobs = told.get("jobs") or [{{}}]
        result = jobs[0].get("result")
        with open({log!r}, "a") as log:
            print(module, result is not None, repr(told.get("msg")), sep="\\t", file=log)
        if result is None:  # refused at launch, which is told in other words
            return self._plain(task_vars)
        for key in ("warnings", "deprecations"):
            if told.get(key):
                result.setdefault(key, told[key])
        return result
"""
SHIMMED = ("normal", "command", "shell", "script", "copy", "template", "assemble", "unarchive")


def shim(folder, log):
    """Write the action plugins, which log to the file `log` what they run as a job."""
    folder.mkdir()
    for name in SHIMMED:
        (folder / f"{name}.py").write_text(SHIM.format(name=name, log=str(log)))


@pytest.mark.skipif(not TARGETS, reason="ansible-core's own integration targets come with `make soak`")
@pytest.mark.parametrize("target", WANTED)
def test_core_finds_its_modules_to_do_the_same_as_jobs(host, play, tmp_path, report, target):
    roles = shutil.copytree(TARGETS, tmp_path / "targets", symlinks=True)
    output = tmp_path / "output"
    output.mkdir()
    env = {"ANSIBLE_ROLES_PATH": str(roles), "OUTPUT_DIR": str(output)}

    def run(timeout):
        # Some assume that controller and host are the same: they share the output folder.
        machine = host("--volume", f"{output}:{output}")
        variables = VARIABLES | {"output_dir": str(output)}
        try:
            return play(
                machine, [], check=False, env=env, timeout=timeout, gather_facts=True, roles=[target], vars=variables
            )
        finally:
            machine.run("find", str(output), "-mindepth", "1", "-delete")

    plain = run(900)
    log = tmp_path / "log"
    shim(tmp_path / "action_plugins", log)
    env["ANSIBLE_ACTION_PLUGINS"] = str(tmp_path / "action_plugins")
    as_jobs = run(1800)
    assert as_jobs.course() == plain.course(), first_difference(plain, as_jobs)
    asked = [line.split("\t") for line in log.read_text().splitlines()]
    ran = sum(as_job == "True" for dummy, as_job, more in asked)
    assert ran >= WANTED[target], [(module, message) for module, as_job, message in asked if as_job == "False"]
    failed = [task for task, has_failed, changed in plain.course() if has_failed]
    end = "to the end" if plain.status == 0 else f"up to {failed[-1]!r}"
    report(f"ansible-core's tests of {target}: {len(plain.course())} tasks end alike, {end}, with {ran} run as jobs")


def first_difference(plain, as_jobs):
    """Return the results of the first task that ended differently, and of the one before."""
    pairs = list(itertools.zip_longest(plain.course(), as_jobs.course()))
    index = next(number for number, (one, other) in enumerate(pairs) if one != other)
    return "\n".join(
        f"{way}: {json.dumps(result, default=str)[:2000]}"
        for way, played in (("plain", plain), ("job", as_jobs))
        for result in played.each[max(0, index - 1) : index + 1]
    )
