# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_lock,
    batch_writer,
    packing,
    shared,
)
from ansible_collections.background.jobs.plugins.module_utils._verbs import batches, launcher, serving
from ansible_collections.background.jobs.plugins.modules import async_wait

from ..conftest import Batch, gone, named, until, wait_for_supervisor

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


class Counted:
    """A batch whose jobs leave a line in a file each time that they run."""

    def __init__(self, folder, size=3):
        self.file = str(folder / "ran")
        program = "open(%r, 'a').write('%%d\\n')" % self.file
        self.batch = Batch(folder / "async", [program % index for index in range(size)])
        self.order = packing.pack(self.batch.plan)

    def launch(self, **settings):
        return launcher.launch(self.order, self.batch.async_dir, **settings)

    def runs(self):
        """Return which jobs have run, each as often as it has, once all are known to have succeeded."""
        assert [answer["state"] for answer in self.batch.wait()] == ["succeeded"] * self.batch.size
        with open(self.file, encoding="ascii") as stream:
            return sorted(int(line) for line in stream)


@pytest.fixture
def counted(tmp_path):
    return Counted(tmp_path)


def journal(batch):
    with open(batch.path("journal"), encoding="ascii") as stream:
        return [json.loads(line) for line in stream]


def is_awaited(path):
    """Say whether somebody waits for the lock on `path`."""
    inode = ":%d " % os.stat(path).st_ino
    with open("/proc/locks", encoding="ascii") as stream:
        return any("-> FLOCK" in line and inode in line for line in stream)


def is_held(path):
    """Say whether anybody holds the lock on `path`."""
    with open(path, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_batch_that_was_launched_is_found_and_not_run_again(counted):
    first = counted.launch()
    assert counted.runs() == [0, 1, 2]
    again = counted.launch()
    assert "pid" in first and "pid" not in again
    assert again["states"] == ["succeeded"] * 3
    assert again["async_dir"] == first["async_dir"]
    assert counted.runs() == [0, 1, 2]


class Exit(Exception):
    """What a module returns."""


class Module:
    """An AnsibleModule, as far as one that launches needs it."""

    def __init__(self, **params):
        self.params = dict({"_plan": None, "_request": None, "_singleton": None}, **params)

    def exit_json(self, **result):
        raise Exit(result)

    fail_json = exit_json


def served(counted, **params):
    with pytest.raises(Exit) as caught:
        launcher.serve(Module(_async_dir=counted.batch.async_dir, **params))
    return caught.value.args[0]


def request_of(batch, block=20.0):
    request = {"op": "wait", "mode": "all", "block": block, "max_bytes": 1 << 20}
    return packing.pack(dict(request, **named(*batch.jids())))


def test_the_call_that_launches_may_wait_as_well(counted):
    told = served(counted, _plan=counted.order, _request=request_of(counted.batch))
    assert told["changed"] and told["pid"]
    assert [job["state"] for job in packing.unpack(told["reply"])["jobs"]] == ["succeeded"] * 3
    assert 0 < told["waited"] < 20
    again = served(counted, _plan=counted.order, _request=request_of(counted.batch))
    assert not again["changed"] and again["states"] == ["succeeded"] * 3
    assert packing.unpack(again["reply"])["jobs"] == packing.unpack(told["reply"])["jobs"]
    assert counted.runs() == [0, 1, 2]


def test_what_is_to_be_done_meanwhile_is_done_between_the_start_of_the_interpreter_and_its_answer(counted, monkeypatch):
    done, boot = [], launcher._boot
    monkeypatch.setattr(launcher, "_boot", lambda *args: done.append("booted") or boot(*args))

    def meanwhile():
        done.append(os.path.exists(counted.batch.path("journal")))

    assert counted.launch(meanwhile=meanwhile)["pid"]
    assert done == ["booted", False]
    assert counted.runs() == [0, 1, 2]


@pytest.mark.parametrize("home", ["home", "none"])
def test_jobs_do_not_begin_in_a_folder_that_goes_with_the_launch(tmp_path, monkeypatch, home):
    (tmp_path / "home").mkdir()
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.chdir(tmp_path / "own")
    batch = Batch(tmp_path / "async", ["import os; result['at'] = os.getcwd()"])
    module = Module(_async_dir=batch.async_dir, _plan=packing.pack(batch.plan))
    module._tmpdir = str(tmp_path / "own")
    with pytest.raises(Exit):
        launcher.serve(module)
    (answer,) = batch.wait()
    assert json.loads(answer["result"])["at"] == (str(tmp_path / "home") if home == "home" else "/")


class Shared(Counted):
    """A batch whose payload is shared, and is brought or not."""

    def __init__(self, folder, brought, size=3):
        super().__init__(folder, size)
        self.batch.plan["payloads"]["p"]["tail"] += "#" * 5000
        self.texts = shared.take_out(self.batch.plan)
        self.order = packing.pack(dict(self.batch.plan, shared=self.texts if brought else {}))


def test_a_payload_is_brought_once(tmp_path):
    reply = Shared(tmp_path, brought=False).launch()
    assert reply["missing"] and "pid" not in reply
    assert os.listdir(tmp_path / "async") == [".background_jobs"]
    assert sorted(os.listdir(tmp_path / "async" / ".background_jobs")) == ["lock"]
    first, second = Shared(tmp_path, brought=True, size=1), Shared(tmp_path, brought=False, size=1)
    assert first.launch()["shared"] == reply["missing"]
    assert first.runs() == [0]
    assert second.launch()["shared"] == reply["missing"]
    assert second.runs() == [0, 0]


def test_a_call_that_finds_a_payload_missing_does_not_wait(tmp_path):
    launch = Shared(tmp_path, brought=False)
    reply = served(launch, _plan=launch.order, _request=request_of(launch.batch))
    assert reply["missing"] and not reply["changed"]
    assert "reply" not in reply


def test_a_module_that_launches_answers_what_a_wait_asks(counted):
    assert "reply" not in served(counted, _plan=counted.order)
    told = served(counted, _request=request_of(counted.batch))
    assert [job["state"] for job in packing.unpack(told["reply"])["jobs"]] == ["succeeded"] * 3
    assert "its action plugin" in served(counted)["msg"]


def test_a_module_that_launches_answers_all_that_async_wait_does():
    # for it is called in its place, where the host keeps it
    assert launcher._handlers() == async_wait.HANDLERS


def test_what_a_launch_is_attached_to_is_not_waited_for_by_the_jobs_of_its_plan(batch, tmp_path):
    running = batch(["import time; time.sleep(300)"])
    other = Counted(tmp_path, 1)
    other.batch.async_dir = running.async_dir
    told = served(other, _plan=other.order, _request=request_of(other.batch), _singleton="job 0")
    assert told["attached"]["jid"] == running.jids()[0]
    assert "reply" not in told


def test_jobs_are_launched_where_they_cannot_be_looked_at_afterwards(counted, monkeypatch):
    def refuse(request, async_dir, handlers):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(serving, "serve", refuse)
    told = served(counted, _plan=counted.order, _request=request_of(counted.batch))
    monkeypatch.undo()
    assert told["changed"] and "reply" not in told
    assert counted.runs() == [0, 1, 2]


def test_a_batch_that_runs_is_found_as_it_is(batch):
    first = batch(["pass", "import time; time.sleep(300)"])
    first.wait(jids=first.jids()[:1])
    again = launcher.launch(packing.pack(first.plan), first.async_dir)
    assert again["states"][0] == "succeeded" and again["states"][1] in ("queued", "running")


def test_what_may_run_once_is_looked_for_by_its_batch_first(counted):
    counted.launch(singleton="job 0")
    assert counted.launch(singleton="job 0")["states"] == [answer["state"] for answer in counted.batch.serve(block=0)]


def test_a_batch_whose_supervisor_is_gone_is_found_with_its_jobs_lost(batch):
    first = batch(["import time; time.sleep(300)"])
    while first.serve(block=0.05)[0]["state"] != "running":
        pass
    os.kill(first.reply["pid"], 9)
    wait_for_supervisor(first)
    assert launcher.launch(packing.pack(first.plan), first.async_dir)["states"] == ["lost"]


@pytest.mark.parametrize("programs", [["pass"], ["pass", "pass", "pass"]], ids=["fewer", "more"])
def test_a_batch_with_other_jobs_is_refused_and_not_harmed(batch, programs):
    first = batch(["result['n'] = 1", "pass"])
    first.wait()
    other = Batch(first.async_dir, programs)
    other.plan["batch_id"] = first.batch_id
    with pytest.raises(launcher.LaunchError, match=r"already exists, with other jobs \(2: job 0, job 1\).*started"):
        other.launch()
    assert first.results()[0] == {"changed": False, "n": 1}


def test_a_batch_with_another_name_is_refused(batch):
    first = batch(["pass"])
    first.plan["jobs"][0]["name"] = "another"
    with pytest.raises(launcher.LaunchError, match=r"\(1: job 0\) than those of this task \(1: another\)"):
        launcher.launch(packing.pack(first.plan), first.async_dir)


def test_a_record_that_cannot_be_read_is_no_reason_to_launch(counted):
    counted.launch()
    counted.batch.wait()
    with open(counted.batch.path("batch.json"), "w", encoding="ascii") as stream:
        stream.write("{")
    with pytest.raises(launcher.LaunchError, match=r"can't be read.*Nothing was started"):
        counted.launch()


def test_of_many_launches_at_once_one_starts_the_jobs(counted):
    replies, ready = [], threading.Barrier(6)

    def one():
        ready.wait()
        replies.append(counted.launch())

    threads = [threading.Thread(target=one) for dummy in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted("pid" in reply for reply in replies) == [False] * 5 + [True]
    assert all(len(reply["states"]) == 3 for reply in replies if "pid" not in reply)
    assert counted.runs() == [0, 1, 2]


def leave_begun(batch):
    """Leave what a supervisor has written that was killed before all was recorded."""
    writer = batch_writer.BatchWriter(batch.async_dir, batch.batch_id)
    os.makedirs(batch.async_dir, mode=0o700, exist_ok=True)

    class Killed(BaseException):
        pass

    def killed():
        raise Killed

    with pytest.raises(Killed):
        writer.create({}, batch.jids()[:2], killed)


def test_what_was_left_by_a_supervisor_that_was_killed_while_it_recorded_is_launched_anew(counted):
    leave_begun(counted.batch)
    assert len(os.listdir(counted.batch.async_dir)) == 3
    assert "pid" in counted.launch()
    assert counted.runs() == [0, 1, 2]


def test_a_batch_that_is_being_recorded_is_waited_for(counted):
    leave_begun(counted.batch)
    replies = []
    with batch_lock.lock(counted.batch.async_dir, alone=False):
        thread = threading.Thread(target=lambda: replies.append(counted.launch()))
        thread.start()
        assert until(lambda: is_awaited(os.path.join(counted.batch.async_dir, batch_lock.FOLDER, "lock")))
        assert os.path.exists(counted.batch.path("journal"))
        header = {"launched_at": 1.0, "supervisor": {"pid": 1 << 22, "start": 1, "boot_id": "", "init_start": 0}}
        header["jobs"] = [{"name": job["name"]} for job in counted.batch.plan["jobs"]]
        with open(counted.batch.path("batch.json"), "w", encoding="ascii") as stream:
            json.dump(header, stream)
    thread.join()
    assert replies[0]["states"] == ["lost"] * 3  # there was no supervisor: what counts is that none was started


def test_a_supervisor_keeps_the_lock_of_a_launcher_that_is_gone_and_leaves_nothing_without_a_whole_order(counted):
    os.makedirs(counted.batch.async_dir, mode=0o700)
    with batch_lock.lock(counted.batch.async_dir, alone=True) as lock:
        process = launcher._boot(lock)
    path = os.path.join(counted.batch.async_dir, batch_lock.FOLDER, "lock")
    with process:
        assert is_held(path)
        order = json.dumps({"async_dir": counted.batch.async_dir, "template": "", "lock": lock}).encode("ascii")
        process.stdin.write(order + b"\n" + counted.order[: len(counted.order) // 2].encode("ascii"))
        process.stdin.close()
        process.stdout.read()
    assert process.returncode != 0
    assert not is_held(path)
    assert os.listdir(counted.batch.async_dir) == [batch_lock.FOLDER]


def test_an_order_that_was_taken_is_carried_out_though_nobody_listens_any_more(counted, monkeypatch):
    boot = launcher._boot

    def deaf(lock, *more):
        process = boot(lock, *more)
        process.stdout.close()
        nothing, nobody = os.pipe()
        os.close(nobody)
        process.stdout = os.fdopen(nothing, "rb")
        return process

    monkeypatch.setattr(launcher, "_boot", deaf)
    with pytest.raises(launcher.LaunchError, match="it said nothing"):
        counted.launch()
    monkeypatch.undo()
    until(lambda: os.path.exists(counted.batch.path("batch.json")))
    assert "states" in counted.launch()
    assert counted.runs() == [0, 1, 2]


def test_nobody_holds_the_lock_while_jobs_run(batch):
    first = batch(["import time; time.sleep(300)"])
    assert not is_held(os.path.join(first.async_dir, batch_lock.FOLDER, "lock"))


def test_records_that_are_removed_while_somebody_waits_are_told_to_be_gone(counted):
    pid = counted.launch()["pid"]
    counted.batch.wait()
    assert gone(pid)
    followed = batches.Batches()
    reader = followed.get(counted.batch.async_dir, counted.batch.batch_id)
    reader.jobs[1]["state"], reader.unfinished = "running", 1  # as it may have been when it was read
    for index in range(3):
        reader.forget(index)
    reader.remove_if_empty()
    lost = followed.refresh(look_for_processes=True)
    assert [type(why) for why in lost.values()] == [FileNotFoundError]
    assert list(lost) == [reader]
    assert followed.get(counted.batch.async_dir, counted.batch.batch_id) is None


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    """Have supervisors run by a shell script of this text, in which $PYTHON is the real interpreter."""

    def use(text):
        path = tmp_path / "python"
        path.write_text("#!/bin/sh\nPYTHON=%s\n%s\n" % (sys.executable, text))
        path.chmod(0o755)
        monkeypatch.setattr(launcher.sys, "executable", str(path))

    return use


@pytest.mark.parametrize("noise", ["echo oops >&2", "echo oops", "yes oops | head -c 3000000 >&2", "echo '{\"a\": 1}'"])
def test_what_is_said_beside_the_answer_of_a_supervisor_is_not_taken_for_it(counted, interpreter, noise):
    interpreter('%s\nexec "$PYTHON" "$@"' % noise)
    assert "pid" in counted.launch()
    assert counted.runs() == [0, 1, 2]


def test_where_a_supervisor_does_not_come_up_what_was_said_is_told_and_nothing_runs(counted, interpreter):
    interpreter("echo printed; echo complained >&2; exit 3")
    with pytest.raises(launcher.LaunchError, match=r"Nothing was started: .*did not start: printed; complained"):
        counted.launch()
    interpreter("exit 3")
    with pytest.raises(launcher.LaunchError, match="it said nothing, and exited with status 3"):
        counted.launch()
    assert not os.path.exists(counted.file)
