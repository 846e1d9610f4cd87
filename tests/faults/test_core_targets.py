# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-core's own tests of its modules, with each module run as a job: `make soak` only, which brings them.

BGJ_CORE_TARGETS in the environment: the folder test/integration/targets of ansible-core's source distribution.
"""

from __future__ import annotations

import os
import shutil

import pytest

TARGETS = os.environ.get("BGJ_CORE_TARGETS", "")
# Roles, and how many of their tasks have to have been jobs. Some end early on a host that lacks what they need: at the same
# task then, whether or not it is a job.
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
    "stat": 10,
    "tempfile": 10,
    "template": 3,
    "unarchive": 2,
}
# What ansible-test would set.
VARIABLES = {"ansible_python_interpreter": "/usr/bin/python3"}

# Takes the place of an action plugin of ansible-core: hands its task to a job, and returns what that returned. While a
# job is being launched, for which the collection asks the same plugins, it is the real one.
SHIM = """
import os
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
        told = self._get("background.jobs.async_run", task).run(None, task_vars)
        jobs = told.get("jobs") or [{{}}]
        result = jobs[0].get("result")
        if result is None:  # refused at launch, which is told in other words
            return self._plain(task_vars)
        with open({log!r}, "a") as log:
            log.write(module + "\\n")
        for key in ("warnings", "deprecations"):
            if told.get(key):
                result.setdefault(key, told[key])
        return result
"""
SHIMMED = ("normal", "command", "shell", "script", "copy", "template", "assemble", "unarchive")


def shim(folder, log):
    """Write the action plugins, which take note in the file `log` of what they run as a job."""
    folder.mkdir()
    for name in SHIMMED:
        (folder / f"{name}.py").write_text(SHIM.format(name=name, log=str(log)))


@pytest.mark.skipif(not TARGETS, reason="ansible-core's own integration targets come with `make soak`")
@pytest.mark.parametrize("target", WANTED)
def test_core_finds_its_modules_to_do_the_same_as_jobs(host, play, tmp_path, report, target):
    roles = shutil.copytree(TARGETS, tmp_path / "targets", symlinks=True)
    env = {"ANSIBLE_ROLES_PATH": str(roles), "OUTPUT_DIR": str(tmp_path)}
    play_of = {"gather_facts": True, "roles": [target], "vars": VARIABLES | {"output_dir": str(tmp_path)}}
    plain = play(host(), [], check=False, env=env, timeout=900, **play_of)
    log = tmp_path / "log"
    shim(tmp_path / "action_plugins", log)
    env["ANSIBLE_ACTION_PLUGINS"] = str(tmp_path / "action_plugins")
    as_jobs = play(host(), [], check=False, env=env, timeout=1800, **play_of)
    assert as_jobs.course() == plain.course(), as_jobs.output[-3000:]
    run = len(log.read_text().splitlines())
    assert run >= WANTED[target]
    report(f"ansible-core's tests of {target}: {len(plain.course())} tasks end alike with {run} of them run as jobs")
