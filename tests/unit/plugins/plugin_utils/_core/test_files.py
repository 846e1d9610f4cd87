# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-core's own action plugins, run against the stand-in for the host."""

from __future__ import annotations

import base64
import getpass
import hashlib
import json
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins import loader as plugin_loader
from ansible.release import __version__ as ansible_version
from ansible.template import Templar

from ansible_collections.background.jobs.plugins.plugin_utils._core import files as _files
from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._model import Step
from ansible_collections.background.jobs.plugins.plugin_utils._plan.recipes import Work
from ansible_collections.background.jobs.plugins.plugin_utils._plan.staging import Store
from ansible_collections.background.jobs.plugins.plugin_utils._plan.tape import Command, ModuleCall


class Recorded(t.NamedTuple):
    work: Work
    store: Store
    handler: t.Any

    @property
    def recipe(self) -> dict[str, t.Any]:
        assert self.work.recipe is not None
        return self.work.recipe

    def call(self, number: int) -> ModuleCall:
        call = self.work.calls[number]
        assert isinstance(call, ModuleCall)
        return call

    def command(self, number: int) -> str:
        command = self.work.calls[number]
        assert isinstance(command, Command) and command.words[:2] == ("/bin/sh", "-c")
        return command.words[2].replace(self.store.token, "TOKEN")

    def modules(self) -> list[str]:
        return [call.module for call in self.work.calls if isinstance(call, ModuleCall)]

    def staged(self) -> dict[str, tuple[str, int]]:
        """name: (content, mode)"""
        files = self.store.in_plan().get("files", {})
        return {name: (base64.b64decode(files[digest]).decode(), mode) for name, digest, mode in self.work.staged}


@pytest.fixture
def record(tmp_path: Path) -> t.Callable[..., Recorded]:
    def recorded(
        name: str,
        variables: dict[str, t.Any] | None = None,
        check_mode: bool = False,
        diff: bool = False,
        no_log: bool = False,
        **args: t.Any,
    ) -> Recorded:
        loader = DataLoader()
        task = Task()
        task.action, task.args, task.no_log = name, dict(args), no_log
        task.environment = [{"PASSWORD": "not-in-a-command-line"}]
        play_context = PlayContext()
        connection = plugin_loader.connection_loader.get("local", play_context)
        handler = plugin_loader.action_loader.get(
            f"ansible.legacy.{name}",
            task=task,
            connection=connection,
            play_context=play_context,
            loader=loader,
            templar=Templar(loader=loader, variables=variables or {}),
            shared_loader_obj=plugin_loader,
        )
        step: t.Any = Step.__new__(Step)
        step.become = None
        step.check_mode, step.diff, step.no_log, step.contents = check_mode, diff, no_log, None
        store = _files.store()
        work = _files.work_of(handler, f"ansible.builtin.{name}", step, variables or {}, store)
        assert (task.args, task.check_mode, task.diff) == (args, check_mode, diff)
        assert connection._shell.tmpdir is None
        return Recorded(work, store, handler)

    return recorded


def source(tmp_path: Path, name: str = "source.conf", text: str = "text\n", mode: int = 0o640) -> str:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


SHA1_OF_TEXT = hashlib.sha1(b"text\n").hexdigest()


def test_content_is_one_file_that_is_copied_or_whose_attributes_are_set(record: t.Any) -> None:
    made = record("copy", content="text\n", dest="/etc/a.conf", mode="0600")
    stat, copied, found = (made.call(made.recipe["files"][0][key]) for key in ("stat", "copy", "file"))
    assert made.modules() == ["ansible.legacy.stat", "ansible.legacy.copy", "ansible.legacy.file"]
    assert stat.arguments == {
        "path": "/etc/a.conf",
        "follow": False,
        "get_checksum": True,
        "get_size": False,
        "checksum_algorithm": "sha1",
    }
    assert stat.ignore_unknown and not copied.ignore_unknown
    assert copied.arguments["src"] == f"{made.store.token}/0/.source.conf"
    assert (copied.arguments["dest"], copied.arguments["mode"]) == ("/etc/a.conf", "0600")
    assert copied.arguments["checksum"] == SHA1_OF_TEXT == made.recipe["files"][0]["sha1"]
    assert "content" not in copied.arguments and "content" not in found.arguments
    assert (found.arguments["state"], found.arguments["mode"]) == ("file", "0600")
    assert made.staged() == {"0/.source.conf": ("text\n", 0o600)}
    assert made.recipe["files"][0]["into"]["result"]["msg"] == "can not use content with a dir as dest"
    assert (made.recipe["then"], made.recipe["otherwise"]["dest"]) == ([], None)


def test_a_file_may_have_to_go_into_a_directory(record: t.Any, tmp_path: Path) -> None:
    made = record("copy", src=source(tmp_path), dest="/etc/target", mode="preserve")
    (new,) = made.recipe["files"]
    assert (new["path"], new["into"]["path"]) == ("/etc/target", "/etc/target/source.conf")
    # the suffix is that of the place, for the sake of validate
    assert made.call(new["copy"]).arguments["src"].endswith("/0/.source")
    assert made.call(new["into"]["copy"]).arguments["src"].endswith("/0/.source.conf")
    assert made.call(new["copy"]).arguments["mode"] == made.call(new["file"]).arguments["mode"] == "0640"
    assert sorted(made.staged()) == ["0/.source", "0/.source.conf"]
    assert len(made.store.in_plan()["files"]) == 1


def test_calls_that_are_the_same_are_one(record: t.Any, tmp_path: Path) -> None:
    made = record("copy", src=source(tmp_path), dest="/etc/target.conf")
    (new,) = made.recipe["files"]
    assert new["copy"] == new["into"]["copy"] and list(made.staged()) == ["0/.source.conf"]


def test_with_force_false_what_is_there_is_left_alone(record: t.Any, tmp_path: Path) -> None:
    path = source(tmp_path)
    made = record("copy", src=path, dest="/etc/target", force=False)
    assert "file" not in made.recipe["files"][0]
    assert made.recipe["otherwise"] == {"dest": "/etc/target", "src": path}
    assert made.call(0).arguments["get_checksum"] is False


def test_a_directory_is_many_files(record: t.Any, tmp_path: Path) -> None:
    for name in ("tree/one", "tree/deep/two", "tree/deep/three.conf"):
        source(tmp_path, name, name)
    (tmp_path / "tree/empty").mkdir()
    (tmp_path / "tree/link").symlink_to("one")
    made = record("copy", src=f"{tmp_path}/tree", dest="/srv", local_follow=False, directory_mode="0700", diff=True)
    assert {new["path"] for new in made.recipe["files"]} == {
        "/srv/tree/one",
        "/srv/tree/deep/two",
        "/srv/tree/deep/three.conf",
    }
    afterwards = [made.call(number).arguments for number in made.recipe["then"]]
    made_there = {call["path"]: call["state"] for call in afterwards}
    made_there.pop("/srv/tree/deep", None)  # 2.19 makes folders that the files in them make anyway
    assert made_there == {"/srv/tree/empty": "directory", "/srv/tree/link": "link"}
    assert afterwards[0]["mode"] == "0700" and afterwards[-1]["state"] == "link"
    for new in made.recipe["files"]:
        content, dummy = made.staged()[made.call(new["copy"]).arguments["src"].partition(made.store.token)[2][1:]]
        assert new["path"] == f"/srv/{content}"
        assert "into" not in new and "peek" not in new
    assert made.recipe["otherwise"] == {"dest": "/srv/", "src": f"{tmp_path}/tree"}
    assert made.store.number == 3


def test_a_directory_is_made_where_no_file_in_it_is_written(record: t.Any, tmp_path: Path) -> None:
    for name in ("tree/one", "tree/deep/er/two", "tree/deep/three"):
        source(tmp_path, name, name)
    made = record("copy", src=f"{tmp_path}/tree/", dest="/srv", force=False)
    paths = [new["path"] for new in made.recipe["files"]]
    needless = {
        made.call(one["call"]).arguments["path"]: {paths[index] for index in one["unless"]}
        for one in made.recipe["then"]
        if isinstance(one, dict)
    }
    expected = {"/srv/deep": {"/srv/deep/er/two", "/srv/deep/three"}, "/srv/deep/er": {"/srv/deep/er/two"}}
    made_anyway = record("copy", src=f"{tmp_path}/tree/", dest="/srv").recipe["then"]
    assert needless == ({} if made_anyway else expected)  # 2.19 makes all of them, whatever is written
    assert len(made.recipe["then"]) == 2


def test_in_check_mode_copy_brings_nothing(record: t.Any) -> None:
    made = record("copy", check_mode=True, content="x", dest="/etc/a")
    assert (made.staged(), made.modules(), made.recipe["check_mode"]) == (
        {},
        ["ansible.legacy.stat", "ansible.legacy.file"],
        True,
    )


def test_the_new_half_of_a_difference_is_cores(record: t.Any, tmp_path: Path) -> None:
    path = source(tmp_path)
    made = record("copy", diff=True, check_mode=True, src=path, dest="/etc/a")
    for place in (made.recipe["files"][0], made.recipe["files"][0]["into"]):
        assert place["after"] == {"after": "text\n", "after_header": path}
        assert made.call(place["peek"]).arguments == {"path": place["path"], "_diff_peek": True}
        assert made.call(place["slurp"]).arguments == {"path": place["path"]}


def test_a_difference_of_a_secret_is_hidden(record: t.Any) -> None:
    made = record("copy", diff=True, no_log=True, content="secret-word", dest="/etc/a")
    assert "secret-word" not in json.dumps(made.recipe)
    assert made.recipe["no_log"] is True


def test_what_is_on_the_host_is_one_call(record: t.Any) -> None:
    for name, args in (("copy", {"src": "/a", "remote_src": True}), ("assemble", {"src": "/a"})):
        made = record(name, dest="/b", **args)
        assert (made.modules(), made.work.recipe, made.staged()) == ([f"ansible.legacy.{name}"], None, {})


def test_a_template_is_rendered_with_the_variables_of_the_step(record: t.Any, tmp_path: Path) -> None:
    path = source(tmp_path, "t.j2", "{{ word }} {{ template_path }}\n")
    variables = {"word": "a word", "ansible_search_path": ["/somewhere"]}
    made = record("template", variables, src=path, dest="/etc/t.conf", mode="preserve", diff=True)
    assert made.staged()["0/.source.conf"] == (f"a word {path}\n", 0o600)
    (new,) = made.recipe["files"]
    copied = made.call(new["copy"]).arguments
    assert (copied["_original_basename"], copied["mode"], copied["follow"]) == ("t.j2", "0640", False)
    assert new["after"]["after"] == f"a word {path}\n"
    assert variables["ansible_search_path"] == ["/somewhere"]


def test_a_template_is_rendered_once(record: t.Any, tmp_path: Path) -> None:
    path = source(tmp_path, "t.j2", "{{ 2000000000 | random }}")
    made = record("template", src=path, dest="/etc/t")
    assert len(made.store.in_plan()["files"]) == 1 and len(made.staged()) == 2


def test_fragments_are_assembled(record: t.Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        source(tmp_path, f"parts/{name}", f"{name}\n")
    made = record(
        "assemble",
        src=f"{tmp_path}/parts",
        dest="/etc/all",
        remote_src=False,
        delimiter="---",
        diff=True,
        check_mode=True,
    )
    assert made.staged() == {"0/src": ("a\n---\nb\n", 0o600)}
    assert made.call(made.recipe["copy"]).arguments["src"] == f"{made.store.token}/0/src"
    assert made.call(made.recipe["file"]).arguments["dest"] == "/etc/all"
    # a slip of core's, which compares the name of its file; no job is to differ
    assert made.recipe["sha1"] != hashlib.sha1(b"a\n---\nb\n").hexdigest()
    assert made.recipe["after"]["after"] == "a\n---\nb\n"


def test_an_archive_is_brought_or_there(record: t.Any, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w"):
        pass
    made = record("unarchive", src=str(path), dest="/srv", creates="/srv/it's there")
    assert [made.command(test["call"]) for test in made.recipe["unless"]] == ["""test -e '/srv/it'"'"'s there'"""]
    assert made.recipe["unless"][0]["result"] == {
        "skipped": True,
        "changed": False,
        "msg": "skipped, since /srv/it's there exists",
    }
    assert made.recipe["missing"]["msg"] == "dest '/srv' must be an existing dir"
    assert made.call(made.recipe["run"]).arguments["src"] == f"{made.store.token}/0/source"
    there = record("unarchive", src="/on/the/host.tar", dest="/srv", remote_src=True)
    assert there.call(there.recipe["run"]).arguments["src"] == "/on/the/host.tar"
    assert (there.staged(), there.recipe["unless"]) == ({}, [])
    old = record("unarchive", src="/on/the/host.tar", dest="/srv", copy=False)  # which the plugin takes out
    assert old.call(old.recipe["run"]).arguments == there.call(there.recipe["run"]).arguments


def test_a_script_is_a_command_line(record: t.Any, tmp_path: Path) -> None:
    path = source(tmp_path, "run.sh", "#!/bin/sh\n")
    made = record(
        "script", cmd=f"{path} 'two words' $X", chdir="/srv/x", executable="bash -e", creates="/made", removes="/there"
    )
    creates, removes = made.recipe["unless"]
    assert (made.command(creates["call"]), creates["there"]) == ("test -e /made", True)
    assert (made.command(removes["call"]), removes["there"]) == ("test -e /there", False)
    assert creates["result"]["msg"] == "/made exists, matching creates option"
    assert removes["result"]["msg"] == "/there does not exist, matching removes option"
    assert made.command(made.recipe["run"]) == "cd /srv/x && bash -e TOKEN/0/run.sh 'two words' $X"
    assert made.staged() == {"0/run.sh": ("#!/bin/sh\n", 0o700)}


def test_a_script_in_check_mode_is_not_run(record: t.Any, tmp_path: Path) -> None:
    path = source(tmp_path, "run.sh", "#!/bin/sh\n")
    made = record("script", check_mode=True, cmd=path, creates="/made")
    assert (made.recipe["checked"], made.staged(), len(made.work.calls)) == ({"changed": True}, {}, 1)
    unknown = record("script", check_mode=True, cmd=path)
    assert (unknown.recipe["checked"]["skipped"], unknown.work.calls) == (True, [])
    assert unknown.recipe["checked"]["msg"] == "Check mode is not supported for this task."


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("copy", {"src": "/none/at/all", "dest": "/b"}, "^Could not find or access '/none/at/all'"),
        ("copy", {"content": "x"}, "dest is required"),
        ("copy", {"dest": "/b"}, "src .or content. is required"),
        ("template", {"src": "/none/at/all", "dest": "/b"}, "/none/at/all"),
        ("unarchive", {"src": "/none/at/all", "dest": "/b"}, "/none/at/all"),
        ("unarchive", {"src": "http://x/y", "dest": "/b"}, "only supported when remote_src"),
        ("assemble", {"src": "/none/at/all", "dest": "/b", "remote_src": False}, "/none/at/all"),
        ("script", {"cmd": "/none/at/all"}, "/none/at/all"),
        ("script", {"cmd": "x", "chdir": "relative"}, "must be an absolute path"),
        ("script", {"cmd": "x", "unknown": 1}, "Unsupported parameters"),
    ],
)
def test_what_goes_wrong_at_launch_is_refused(record: t.Any, name: str, args: dict[str, t.Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        record(name, **args)


def test_a_template_that_cannot_be_rendered_is_refused(record: t.Any, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nowhere"):
        record("template", src=source(tmp_path, "t.j2", "{{ nowhere }}"), dest="/b")


def test_a_raw_copy_is_refused(record: t.Any, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not that of ansible-core"):
        record("copy", src=source(tmp_path), dest="/b", raw=True)


def test_home_directories_are_those_of_the_user_of_the_job(record: t.Any) -> None:
    made = record("copy", content="x", dest="~/a")
    assert made.recipe["files"][0]["path"] == f"~{getpass.getuser()}/a"
    assert record("copy", content="x", dest="~bob/a").recipe["files"][0]["path"] == "~bob/a"
    with pytest.raises(Refused, match="leads out"):
        record("copy", content="x", dest="~bob/../a")


def test_two_steps_never_share_a_folder(record: t.Any, tmp_path: Path) -> None:
    made = record("copy", content="x", dest="/a")
    step: t.Any = Step.__new__(Step)
    step.become = None
    step.check_mode = step.diff = step.no_log = False
    step.contents = None
    work = _files.work_of(made.handler, "ansible.builtin.copy", step, {}, made.store)
    assert [entry[0] for entry in work.staged] == ["1/.source"]


def test_an_action_plugin_that_uses_the_connection_is_refused(record: t.Any) -> None:
    made = record("copy", content="x", dest="/a")

    class Rogue(type(made.handler)):  # type: ignore[misc]
        def run(self, tmp: object = None, task_vars: object = None) -> None:
            self._connection.put_file("/a", "/b")

    made.handler.__class__ = Rogue
    step: t.Any = Step.__new__(Step)
    step.become = None
    step.check_mode = step.diff = step.no_log = False
    step.contents = None
    with pytest.raises(Refused, match="uses the connection itself"):
        _files.work_of(made.handler, "ansible.builtin.copy", step, {}, made.store)


def test_the_connection_is_not_used() -> None:
    class Real:
        _shell: t.Any = object()
        transport = "x"

    connection = _files._Connection(Real())
    assert connection.transport == "x" and connection._shell is not Real._shell
    for name in ("exec_command", "put_file", "fetch_file"):
        with pytest.raises(Refused, match="uses the connection itself"):
            getattr(connection, name)


def test_a_file_that_is_posted_comes_with_the_launch(record: t.Any, tmp_path: Path) -> None:
    made = record("uri", url="http://localhost/", method="POST", src=source(tmp_path))
    assert made.work.recipe is None
    assert made.modules() == ["ansible.legacy.uri"]
    assert made.call(0).arguments["src"] == f"{made.store.token}/0/source.conf"
    assert made.staged() == {"0/source.conf": ("text\n", 0o600)}


def test_files_of_a_form_come_with_the_launch(record: t.Any, tmp_path: Path) -> None:
    body = {
        "one": {"filename": source(tmp_path)},
        "two": {"filename": source(tmp_path, "b.txt", "b")},
        "three": "plain",
    }
    made = record("uri", url="http://localhost/", method="POST", body_format="form-multipart", body=body)
    sent = made.call(0).arguments["body"]
    assert [sent[name]["filename"] for name in ("one", "two")] == [
        f"{made.store.token}/0/source.conf",
        f"{made.store.token}/0/b.txt",
    ]
    assert sent["three"] == "plain"
    assert made.staged() == {"0/source.conf": ("text\n", 0o600), "0/b.txt": ("b", 0o600)}


@pytest.mark.parametrize("no_log", [False, True])
def test_copy_tells_its_invocation_as_the_plain_task_does(record: t.Any, tmp_path: Path, no_log: bool) -> None:
    source(tmp_path, "folder/one")
    arguments = {"src": f"{tmp_path}/folder/", "dest": "/etc/folder/"}
    made = record("copy", {"ansible_inject_invocation": True}, no_log=no_log, **arguments)
    told = made.recipe["invocation"]
    assert told == ("CENSORED: no_log is set" if no_log else {**arguments, "module_args": arguments})


def test_content_does_not_stand_in_the_invocation(record: t.Any) -> None:
    made = record("copy", {"ansible_inject_invocation": True}, content="s3cr3t", dest="/etc/a")
    assert "s3cr3t" not in json.dumps(made.recipe["invocation"])


@pytest.mark.skipif(ansible_version < "2.21", reason="there it is always told, and taken away where it is registered")
def test_where_invocations_are_not_wanted_there_is_none(record: t.Any) -> None:
    assert "invocation" not in record("copy", content="x", dest="/etc/a").recipe
