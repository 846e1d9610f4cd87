# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records that somebody has put in the place of ours: each verb refuses or skips them, says so, and touches nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat

import pytest

from ansible_collections.background.jobs.plugins.module_utils._protocol import (
    batch_lock,
    batch_writer,
    records,
    results,
)
from ansible_collections.background.jobs.plugins.module_utils._system import processes
from ansible_collections.background.jobs.plugins.module_utils._verbs import asked_jobs, job_views, launcher

from .conftest import Batch, named, wait_for_supervisor
from .conftest import ask as _ask

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

BAD, FORGED = "b000000000000666", "j000000000000666.0"
GOOD = "j000000000000001.0"
CORE = "j360874038559.4169"
SECRET = "what-only-the-victim-may-read"
VICTIMS = ("secret", os.path.join(BAD, "batch.json"), os.path.join(BAD, "journal"), "0.json", FORGED)
PATIENCE = 30  # seconds that a verb may take; it takes milliseconds
ROOT = os.geteuid() == 0


class Hangs(BaseException):
    """A verb takes too long. No error that the code under test might handle."""


class Place:
    """An async directory with a good batch and a forged one; beside it, what must not be read, written or removed."""

    def __init__(self, tmp_path):
        self.path = tmp_path / "async"
        self.victim = tmp_path / "victim"
        os.makedirs(self.victim / BAD, 0o700)
        header = {
            "protocol": 1,
            "batch_id": BAD,
            "launched_at": 1.0,
            "supervisor": {"pid": 1 << 22, "start": 1, "boot_id": None, "init_start": None},
            "jobs": [{"name": SECRET, "module": "probe", "no_log": False, "ignore_errors": False}],
        }
        text = json.dumps({"msg": SECRET})
        for name in VICTIMS:
            content = json.dumps(header) if name.endswith("batch.json") else "" if name.endswith("journal") else text
            (self.victim / name).write_text(content)
        self.path.mkdir(0o700)
        self._record_a_good_one()
        self.bad = self.path / batch_lock.FOLDER / BAD
        shutil.copytree(self.victim / BAD, self.bad)
        os.chmod(self.bad, 0o700)
        header["jobs"][0]["name"] = "forged"
        (self.bad / "batch.json").write_text(json.dumps(header))
        (self.bad / "journal").write_text('{"job":0,"state":"succeeded","at":2.0}\n')
        (self.path / FORGED).write_text('{"changed": true}')
        (self.path / CORE).write_text('{"changed": true}')
        self.before = self.outside()

    def _record_a_good_one(self):
        writer = batch_writer.BatchWriter(str(self.path), GOOD.replace("j", "b")[:16])
        supervisor = dict(processes.identity(os.getpid()), pid=1 << 22)
        header = {"batch_id": writer.batch_id, "launched_at": 2.0, "supervisor": supervisor, "jobs": [{"name": "good"}]}
        writer.create(header, [GOOD])
        writer.write_result(0, results.of({"changed": True}))
        writer.note(job=0, state="succeeded", at=3.0)
        writer.flush()
        writer.close()

    def outside(self):
        """Return what the victim's files are."""
        found = {}
        for folder, dummy, names in os.walk(self.victim):
            for name in names:
                path = os.path.join(folder, name)
                about = os.lstat(path)
                with open(path, "rb") as stream:
                    found[path] = (stream.read(), about.st_mode, about.st_mtime_ns, about.st_ino)
        return found


# What stands in the place of a file.


def link(path, place):
    path.symlink_to(place.victim / "secret")


def fifo(path, place):
    os.mkfifo(path)


def directory(path, place):
    path.mkdir()


def of_another_user(path, place):
    if not ROOT:
        pytest.skip("only root can give a file away")
    path.write_text('{"changed": true}')
    os.chown(path, 12345, 12345)


def of_2_gb(path, place):
    with open(path, "wb") as stream:
        stream.truncate(2 << 30)


def deeply_nested(path, place):
    path.write_text('{"a":' + "[" * 200000)


def of_another_form(path, place):
    path.write_text(
        '[1, {"job": []}]\n{"job": -1, "state": "lost", "at": 1}\n{"job": 0, "state": [], "at": 1}\n7\n"x"\n'
    )


def of_wrong_types(path, place):
    path.write_text(
        '{"jobs": [{"name": 7}], "supervisor": {}, "launched_at": 1, "job": 0, "state": "running", "at": "now", "attempt": 1}\n'
    )


def not_text(path, place):
    path.write_bytes(b"\xff\xfe\0{}" * 100)


def a_huge_number(path, place):
    path.write_text('{"job": 0, "state": "succeeded", "at": ' + "9" * 10000 + "}\n")


FILES = [
    link,
    fifo,
    directory,
    of_another_user,
    of_2_gb,
    deeply_nested,
    of_another_form,
    of_wrong_types,
    not_text,
    a_huge_number,
]

# What stands in the place of a folder.


def a_link_elsewhere(path, place):
    target = {batch_lock.FOLDER: place.victim, BAD: place.victim / BAD}.get(path.name, place.victim)
    path.symlink_to(target)


def a_file(path, place):
    path.write_text("{}")


def a_fifo(path, place):
    os.mkfifo(path)


def anothers(path, place):
    if not ROOT:
        pytest.skip("only root can give a folder away")
    shutil.copytree(place.victim / BAD if path.name == BAD else place.victim, path)
    os.chown(path, 12345, 12345)


def for_all_to_write(path, place):
    shutil.copytree(place.victim / BAD if path.name == BAD else place.victim, path)
    os.chmod(path, 0o777)


FOLDERS = [a_link_elsewhere, a_file, a_fifo, anothers, for_all_to_write]


@pytest.fixture
def place(tmp_path):
    def late(number, frame):
        raise Hangs

    before = signal.signal(signal.SIGALRM, late)
    yield Place(tmp_path)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def nothing(**more):
    return dict(dict.fromkeys(("names", "batch_ids", "states", "older_than", "newer_than")), core=True, **more)


def ask(place, op, **more):
    brief = {"wait": {"block": 0.0}, "cancel": {"block": 0.0, "grace": 0.1}}
    return _ask(place.path, op, **dict(brief.get(op, {}), **more))


def by_ids(place):
    return {"jobs": [{"jid": jid, "dir": None} for jid in (FORGED, CORE, GOOD)]}


def good_answers(place, reply):
    good = {CORE, GOOD}
    return [answer for answer in reply["jobs"] if answer["jid"] in good]


def go_through_the_verbs(place, good_is_readable=True):
    """Have each verb meet what is there; the good jobs stay as they are until they are forgotten, and then are gone."""
    replies = []
    for op in ("list", "wait", "cancel"):
        for asked in (by_ids(place),) if op == "wait" else ({"select": nothing()}, by_ids(place)):
            signal.alarm(PATIENCE)
            reply = ask(place, op, **asked)
            replies.append(reply)
            if good_is_readable:
                assert [answer["state"] for answer in good_answers(place, reply)] == ["succeeded"] * 2
    signal.alarm(PATIENCE)
    try:
        launched = Batch(place.path, ["pass"], skip="to be quick").launch()
    except launcher.LaunchError as exc:
        assert not good_is_readable
        replies.append(str(exc))
    else:
        assert [answer["state"] for answer in launched.wait()] == ["skipped"]
        wait_for_supervisor(launched)
    signal.alarm(PATIENCE)
    replies.append(ask(place, "prune", remove=False, select=nothing(), leftovers=nothing()))
    reply = ask(place, "prune", remove=True, leftovers=nothing(), **by_ids(place))
    replies.append(reply)
    signal.alarm(0)
    if good_is_readable:
        assert [answer["forgotten"] for answer in good_answers(place, reply)] == [True] * 2
        assert not any(os.path.lexists(place.path / jid) for jid in (CORE, GOOD))
    assert place.outside() == place.before
    assert SECRET not in json.dumps(replies)
    return replies


def told(replies):
    """Return all that was said of what could not be used."""
    words = []
    for reply in replies:
        if isinstance(reply, str):
            words.append(reply)
            continue
        words += reply["troubles"]
        words += [answer.get("msg") or "" for answer in reply["jobs"]]
        words += [answer.get("result") or "" for answer in reply["jobs"]]
    return "\n".join(words)


@pytest.mark.parametrize("make", FILES)
@pytest.mark.parametrize("name", ["batch.json", "journal"])
def test_a_record_that_is_not_ours_is_skipped_with_a_message(place, name, make):
    (place.bad / name).unlink()
    make(place.bad / name, place)
    words = told(go_through_the_verbs(place))
    if name == "journal" and make in (deeply_nested, of_another_form, of_wrong_types, not_text, a_huge_number):
        # lines that nobody can have written are left out: what the results file says is believed, as after a kill
        assert "record of batch" not in words
    else:
        assert "the record of batch %s can't be read" % BAD in words
        assert "could not look for job %s" % FORGED in words


@pytest.mark.parametrize("make", FILES)
def test_a_results_file_that_is_not_ours_is_not_read(place, make):
    (place.path / FORGED).unlink()
    make(place.path / FORGED, place)
    words = told(go_through_the_verbs(place))
    if make in (link, fifo, directory, of_another_user, of_2_gb):
        assert "the result can't be read" in words


@pytest.mark.parametrize("make", FILES)
def test_a_results_file_of_core_that_is_not_ours_is_not_read(place, make):
    other = place.path / "j999.1"
    make(other, place)
    asked = {"jobs": [{"jid": "j999.1", "dir": None}]}
    replies = []
    for op in ("list", "wait", "cancel", "forget"):
        signal.alarm(PATIENCE)
        replies.append(ask(place, op, **asked))
        (answer,) = replies[-1]["jobs"]
        if op in ("list", "forget"):
            assert answer["state"] in ("lost", "succeeded") and answer["finished"]
    if make is directory:
        assert replies[-1]["jobs"][0]["forgotten"] is False
        assert "can't be removed" in replies[-1]["troubles"][0]
    go_through_the_verbs(place)


@pytest.mark.parametrize("make", FILES)
@pytest.mark.parametrize("folder", ["results", "tasks"])
def test_parts_of_a_record_that_are_not_ours_are_not_read(place, folder, make):
    (place.bad / folder).mkdir(0o700)
    make(place.bad / folder / "0.json", place)
    go_through_the_verbs(place)


@pytest.mark.parametrize("make", FOLDERS)
@pytest.mark.parametrize("folder", ["results", "tasks", "output", "staged", "run"])
def test_folders_of_a_record_that_are_not_ours_are_not_looked_into(place, folder, make):
    if make is anothers and folder in ("output", "staged", "run"):
        pytest.skip("inside of a folder of ours only root can have made that")
    (place.bad / "journal").write_text("")  # lost: what it had is tidied up
    make(place.bad / folder, place)
    if make in (anothers, for_all_to_write):
        for name in ("0.json",):
            (place.bad / folder / name).unlink()
    go_through_the_verbs(place)


@pytest.mark.parametrize("make", FOLDERS)
def test_a_folder_of_a_batch_that_is_not_ours_is_left_alone(place, make):
    shutil.rmtree(place.bad)
    make(place.bad, place)
    words = told(go_through_the_verbs(place))
    assert "the record of batch %s can't be read" % BAD in words
    assert os.path.lexists(place.bad)


@pytest.mark.parametrize("make", FOLDERS)
def test_a_place_of_all_batches_that_is_not_ours_is_left_alone(place, make):
    folder = place.path / batch_lock.FOLDER
    shutil.rmtree(folder)
    make(folder, place)
    if make is for_all_to_write:
        # ours after all: a launch closes it
        shutil.rmtree(folder)
        make = a_file
        make(folder, place)
    replies = go_through_the_verbs(place, good_is_readable=False)
    words = told(replies)
    assert "the records of batches can't be read" in words
    assert "Nothing was started" in words or "can't be recorded" in words
    assert os.path.lexists(folder)
    core = [answer for answer in replies[0]["jobs"] if answer["jid"] == CORE]
    assert core[0]["state"] == "succeeded", "jobs that do not need it are not affected"


@pytest.mark.parametrize("name", ["control", "lock"])
@pytest.mark.parametrize("make", FILES)
def test_what_requests_and_locks_go_to_is_not_written_elsewhere(place, name, make):
    path = place.bad / "control" if name == "control" else place.path / batch_lock.FOLDER / "lock"
    if path.exists():
        path.unlink()
    make(path, place)
    reader = records.BatchReader(str(place.path), BAD)
    signal.alarm(PATIENCE)
    before = os.lstat(path)
    if make is not fifo:
        assert reader.ask({"cancel": [0], "grace": 1.0}) is False
    assert os.lstat(path).st_size == before.st_size
    signal.alarm(0)
    assert place.outside() == place.before


def cut(data):
    return range(len(data))


def test_a_batch_json_that_is_cut_off_anywhere_is_skipped_with_a_message(place):
    whole = (place.bad / "batch.json").read_bytes()
    for size in cut(whole):
        (place.bad / "batch.json").write_bytes(whole[:size])
        signal.alarm(PATIENCE)
        reply = ask(place, "list", select=nothing())
        assert len(good_answers(place, reply)) == 2
        assert BAD in " ".join(reply["troubles"]), size
        (answer,) = ask(place, "wait", jobs=[{"jid": FORGED, "dir": None}])["jobs"]
        assert answer["error"] == "not_found" and BAD in answer["msg"], size


def test_a_journal_that_is_cut_off_anywhere_tells_as_much_as_it_holds(place):
    lines = [
        {"job": 0, "state": "running", "at": 1.0, "attempt": 1, "pid": 1 << 22, "start": 5},
        {"job": 0, "state": "queued", "at": 1.5, "attempt": 1, "was": "failed", "msg": "no"},
        {"job": 0, "state": "failed", "at": 2.0},
    ]
    whole = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    for size in cut(whole + b"."):
        (place.bad / "journal").write_bytes(whole[:size])
        signal.alarm(PATIENCE)
        (answer,) = ask(place, "wait", jobs=[{"jid": FORGED, "dir": None}])["jobs"]
        # where the last line is missing, its supervisor is gone, and the results file says that it succeeded
        assert answer["state"] == ("failed" if size >= len(whole) - 1 else "succeeded"), size
        reader = records.BatchReader(str(place.path), BAD)
        reader.refresh()
        assert reader.jobs[0]["state"] == answer["state"], "the next reader finds what the first has written"


def test_a_result_that_is_cut_off_anywhere_is_told_as_it_is(place):
    whole = json.dumps({"changed": True, "stdout": "é" * 3}).encode()
    for folder in (None, "results"):
        path = place.path / FORGED
        if folder:
            (place.bad / folder).mkdir(0o700)
            path = place.bad / folder / "0.json"
        for size in cut(whole):
            path.write_bytes(whole[:size])
            signal.alarm(PATIENCE)
            reply = ask(place, "wait", **by_ids(place))
            assert reply["jobs"][0]["result"] == whole[:size].decode("utf-8", "surrogateescape")
            assert len(good_answers(place, reply)) == 2


def test_a_result_of_a_lost_batch_that_is_cut_off_anywhere_is_no_result(place):
    whole = json.dumps({"changed": True}).encode()
    for size in cut(whole):
        (place.bad / "journal").write_text("")
        (place.path / FORGED).write_bytes(whole[:size])
        signal.alarm(PATIENCE)
        assert ask(place, "wait", **by_ids(place))["jobs"][0]["state"] == "lost", size


def test_tasks_that_are_cut_off_anywhere_hold_nothing_up(place):
    whole = json.dumps({"rescued": False, "results": []}).encode()
    (place.bad / "tasks").mkdir(0o700)
    for size in cut(whole):
        (place.bad / "tasks" / "0.json").write_bytes(whole[:size])
        signal.alarm(PATIENCE)
        assert len(good_answers(place, ask(place, "wait", **by_ids(place)))) == 2


@pytest.mark.parametrize("kind", ["link", "world-writable", "of another user", "file", "fifo"])
def test_an_async_dir_that_is_not_ours_is_refused_by_each_verb(place, kind):
    moved = place.path.with_name("moved")
    if kind == "world-writable":
        os.chmod(place.path, 0o777)
    elif kind == "of another user":
        if not ROOT:
            pytest.skip("only root can give a folder away")
        os.chown(place.path, 12345, 12345)
    else:
        place.path.rename(moved)
        if kind == "link":
            place.path.symlink_to(moved)
        elif kind == "file":
            place.path.write_text("{}")
        else:
            os.mkfifo(place.path)
    real = place.path if kind in ("world-writable", "of another user") else moved
    listing = sorted(os.listdir(real))
    replies = []
    for op in ("list", "wait", "cancel", "forget"):
        signal.alarm(PATIENCE)
        replies.append(ask(place, op, **by_ids(place)))
        assert all(answer["error"] == "not_found" for answer in replies[-1]["jobs"])
        assert all("could not look for job" in answer["msg"] for answer in replies[-1]["jobs"])
        if op in ("list", "cancel"):
            reply = ask(place, op, select=nothing())
            assert reply["jobs"] == [] and "could not look for jobs" in reply["troubles"][0]
    for remove in (False, True):
        reply = ask(place, "prune", remove=remove, leftovers=nothing(), **by_ids(place))
        assert reply["leftovers"] == []
        assert any("could not look for leftovers" in trouble for trouble in reply["troubles"])
    with pytest.raises(launcher.LaunchError, match="async_dir"):
        Batch(place.path, ["pass"]).launch()
    with pytest.raises(launcher.LaunchError, match="async_dir"):
        launcher.launch("", str(place.path), "singleton")
    assert sorted(os.listdir(real)) == listing
    assert place.outside() == place.before


def test_where_a_record_goes_away_during_a_wait_that_is_told(batch):
    running = batch(["import time; time.sleep(300)"])
    reader = records.BatchReader(running.async_dir, running.batch_id)
    asked = asked_jobs.AskedJobs(named(running.jids()[0]), running.async_dir)
    journal = running.path("journal")
    os.rename(journal, journal + ".away")
    try:
        asked.refresh(look_for_processes=True)
        (answer,) = job_views.with_results(asked, 1 << 20)
        assert answer["error"] == "not_found"
        os.mkfifo(journal)
        with pytest.raises(records.files.UnsafePath, match="not a regular file"):
            reader.refresh()
    finally:
        if stat.S_ISFIFO(os.lstat(journal).st_mode):
            os.unlink(journal)
        os.rename(journal + ".away", journal)


def test_of_readers_that_find_a_supervisor_gone_one_writes_it_down(place):
    (place.bad / "journal").write_text("")
    (place.path / FORGED).write_text('{"started": true, "finished": false}')
    readers = [records.BatchReader(str(place.path), BAD) for dummy in range(3)]
    for reader in readers:
        reader.refresh()
    for reader in readers:
        reader.declare_lost("its supervisor was gone")
        assert reader.jobs[0]["state"] == "lost"
    assert (place.bad / "journal").read_text().count('"lost"') == 1


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_a_results_file_that_was_replaced_costs_no_other_job(batch, tmp_path, kind):
    replace = "os.unlink({0!r}); os.mk%s({0!r})" % {"directory": "dir", "fifo": "fifo"}[kind]
    launched = Batch(tmp_path / "async", ["pass", "pass"], concurrency=1)
    path = os.path.join(launched.async_dir, launched.jids()[0])
    call = launched.plan["jobs"][0]["body"][0]["calls"][0]
    call["params"] = json.dumps({"run": replace.format(path)})
    answers = launched.launch().wait()
    assert [answer["state"] for answer in answers] == ["succeeded", "succeeded"]
    if kind == "directory":
        assert "could not be kept" in answers[0]["msg"]
        assert json.loads(answers[0]["result"])["failed"] is True
    assert json.loads(answers[1]["result"]) == {"changed": False}


def test_of_many_records_that_cannot_be_removed_a_few_are_told(place):
    jids = ["j9.%d" % number for number in range(8)]
    for jid in jids:
        (place.path / jid).mkdir()
    reply = ask(place, "forget", jobs=[{"jid": jid, "dir": None} for jid in jids])
    assert [answer["forgotten"] for answer in reply["jobs"]] == [False] * 8
    assert len(reply["troubles"]) == 6
    assert reply["troubles"][-1] == "3 more records can't be removed either"
