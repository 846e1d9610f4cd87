# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import cgroups
from ansible_collections.background.jobs.plugins.module_utils._system.cgroups import Unavailable

BATCH = "b000000000000042"


FILES = {
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"),
    "cpu": ("cpu.cfs_period_us", "cpu.cfs_quota_us"),
}


class Tree:
    """A /proc/self and mounted hierarchies of control groups, as plain files in a folder.

    A folder that is made in a hierarchy gets the files that the kernel would put there.
    """

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.proc = folder / "proc"
        self.proc.mkdir()
        self.lines, self.mounts = [], []
        self.version_2 = None
        self.refusing = None
        monkeypatch.setattr(cgroups, "_make", self._make)
        monkeypatch.setattr(cgroups, "_write", self._write)
        monkeypatch.setattr(cgroups, "_remove", self._remove)

    def mount(self, controllers, own, root="/"):
        """Mount a hierarchy, "" for version 2, with `root` of it visible; return the folder of the own group."""
        top = self.folder / "sys" / (controllers or "unified")
        if not controllers:
            self.version_2 = top
        self.lines.append("%d:%s:%s\n" % (len(self.lines), controllers, own))
        kind, options = ("cgroup", "rw," + controllers) if controllers else ("cgroup2", "rw,nsdelegate")
        self.mounts.append("9%d 1 0:9 %s %s rw - %s none %s\n" % (len(self.mounts), root, top, kind, options))
        (self.proc / "cgroup").write_text("".join(self.lines))
        (self.proc / "mountinfo").write_text("1 1 0:1 / / rw - ext4 /dev/x rw\n" + "".join(self.mounts))
        place = top / os.path.relpath(own, root)
        place.mkdir(parents=True)
        return place

    def _make(self, path):
        if self.refusing and path.startswith(str(self.refusing)):
            raise OSError(errno.EROFS, "Read-only file system")
        if os.path.isdir(path):
            return
        os.mkdir(path)
        if self.version_2 and path.startswith(str(self.version_2)):
            files = ("memory.max", "memory.swap.max", "memory.events", "cpu.max", "cgroup.subtree_control")
        else:
            files = FILES[os.path.relpath(path, str(self.folder / "sys")).partition("/")[0].partition(",")[0]]
        for name in (*files, "cgroup.procs"):
            with open(os.path.join(path, name), "w", encoding="ascii"):
                pass

    def _write(self, path, value):
        if self.refusing == "values" and "quota" in path:
            raise OSError(errno.EINVAL, "Invalid argument")
        assert os.path.exists(path), path
        with open(path, "w", encoding="ascii") as stream:
            stream.write(str(value))

    @staticmethod
    def _remove(paths):
        for path in paths:
            for name in os.listdir(path):
                if os.path.isfile(os.path.join(path, name)):
                    os.unlink(os.path.join(path, name))
            os.rmdir(path)
        return set()

    def find(self, *controllers, scope=None):
        return cgroups.find(BATCH, controllers, scope, str(self.proc))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    return Tree(tmp_path, monkeypatch)


LIMITED = {"memory_max": 64 << 20, "cpu_quota": 50.0}


@pytest.mark.parametrize("root", ["/", "/docker/x"], ids=["host", "container"])
def test_version_1_has_a_group_in_each_hierarchy(tree, root):
    memory = tree.mount("memory", "/docker/x", root)
    cpu = tree.mount("cpu,cpuacct", "/docker/x/sshd", root)
    groups = tree.find("cpu", "memory")
    in_memory, in_cpu = (place / ("background-jobs-" + BATCH) / "job-3" for place in (memory, cpu))
    assert groups.enter(3, LIMITED) == sorted(str(place / "cgroup.procs") for place in (in_memory, in_cpu))
    assert (in_memory / "memory.limit_in_bytes").read_text() == "67108864"
    assert (in_memory / "memory.memsw.limit_in_bytes").read_text() == "67108864"
    assert (in_cpu / "cpu.cfs_period_us").read_text() == "100000"
    assert (in_cpu / "cpu.cfs_quota_us").read_text() == "50000"
    assert groups.kills(3) == 0
    (in_memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert groups.kills(3) == 2
    groups.leave(3)
    groups.close()
    assert not list(memory.iterdir()) and not list(cpu.iterdir())


def test_a_job_has_groups_for_what_it_is_limited_in_alone(tree):
    memory, cpu = tree.mount("memory", "/"), tree.mount("cpu", "/")
    groups = tree.find("cpu", "memory")
    assert groups.enter(0, {"cpu_quota": 1.0}) == [str(cpu / ("background-jobs-" + BATCH) / "job-0/cgroup.procs")]
    assert [path.name for path in (memory / ("background-jobs-" + BATCH)).iterdir() if path.is_dir()] == []
    assert groups.kills(0) == 0


def test_a_hierarchy_that_is_not_writable_is_told_and_nothing_is_left(tree):
    memory = tree.mount("memory", "/x")
    tree.refusing = tree.mount("cpu", "/x").parent
    with pytest.raises(Unavailable, match=r"can be created in .*/sys/cpu/x \(Read-only file system\)") as caught:
        tree.find("memory", "cpu")
    assert caught.value.controller == "cpu"
    tree.refusing = None
    assert tree.find("memory").enter(0, {"memory_max": 1 << 20})
    assert [path.name for path in memory.iterdir()] == ["background-jobs-" + BATCH]


def hand_on(place, controllers):
    (place / "cgroup.subtree_control").write_text(controllers)
    (place / "cgroup.procs").write_text("")


def test_version_2_goes_up_to_the_folder_that_hands_the_controllers_on(tree):
    own = tree.mount("", "/a/b/c")
    hand_on(own, "")
    hand_on(own.parent, "cpu pids")
    hand_on(own.parent.parent, "cpu memory pids")
    groups = tree.find("cpu", "memory")
    base = own.parent.parent / ("background-jobs-" + BATCH)
    assert (base / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert groups.enter(0, LIMITED) == [str(base / "job-0/cgroup.procs")]
    assert (base / "job-0/memory.max").read_text() == "67108864"
    assert (base / "job-0/memory.swap.max").read_text() == "0"
    assert (base / "job-0/cpu.max").read_text() == "50000 100000"
    (base / "job-0/memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert groups.kills(0) == 1
    groups.leave(0)
    groups.close()
    assert not base.exists()


def test_version_2_says_what_was_looked_at(tree):
    own = tree.mount("", "/a")
    hand_on(own, "")
    hand_on(own.parent, "cpu")
    with pytest.raises(Unavailable, match=r"/a hands on no controllers; .*/unified hands on cpu$") as caught:
        tree.find("cpu", "memory")
    assert caught.value.controller == "cpu"


def test_a_scope_is_divided_into_the_supervisor_and_the_jobs(tree):
    scope = "background-jobs-%s.scope" % BATCH
    own = tree.mount("", "/system.slice/" + scope)
    (own / "cgroup.controllers").write_text("cpu memory pids")
    hand_on(own, "")
    groups = tree.find("memory", scope=scope)
    assert (own / "supervisor/cgroup.procs").read_text() == str(os.getpid())
    assert (own / "cgroup.subtree_control").read_text() == "+memory"
    assert groups.enter(7, {"memory_max": 1 << 20}) == [str(own / "job-7/cgroup.procs")]
    groups.leave(7)
    groups.close()
    assert own.exists()  # systemd's to remove


def test_a_scope_without_the_controller_says_what_it_has(tree):
    scope = "background-jobs-%s.scope" % BATCH
    own = tree.mount("", "/user.slice/" + scope)
    (own / "cgroup.controllers").write_text("memory pids")
    with pytest.raises(Unavailable, match="has memory pids") as caught:
        tree.find("cpu", "memory", scope=scope)
    assert caught.value.controller == "cpu"


def test_a_host_may_have_both_versions(tree):
    tree.mount("memory", "/")
    unified = tree.mount("", "/")
    hand_on(unified, "cpu")
    groups = tree.find("cpu", "memory")
    assert len(groups.enter(0, LIMITED)) == 2


@pytest.mark.parametrize("mounted", [[], [("", "/../x")]])
def test_nothing_is_mounted_that_would_do(tree, mounted):
    (tree.proc / "cgroup").write_text("")
    for controllers, own in mounted:
        tree.mount(controllers, own)
    with pytest.raises(Unavailable, match=r"no controller 'memory'|is not mounted"):
        tree.find("memory")


def test_files_of_a_group_are_written_never_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        cgroups._write(str(tmp_path / "cpu.max"), 1)


def test_what_still_runs_keeps_its_group(tmp_path):
    (tmp_path / "group" / "in use").mkdir(parents=True)
    cgroups._remove([str(tmp_path / "group")])
    assert (tmp_path / "group").exists()


def test_a_group_that_empties_later_is_removed_later(tmp_path):
    groups = cgroups.Groups({"memory": str(tmp_path)}, own=False)
    busy = [tmp_path / ("job-%d" % index) / "in use" for index in range(2)]
    for folder in busy:
        folder.mkdir(parents=True)
    groups._made = {index: {"memory": str(folder.parent)} for index, folder in enumerate(busy)}
    groups.leave(0)
    groups.leave(1)
    assert sorted(os.listdir(tmp_path)) == ["job-0", "job-1"]
    busy[0].rmdir()
    groups.close(patience=0.05)
    assert os.listdir(tmp_path) == ["job-1"]
