# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of several tasks, tried again, and dependent on each other, under a real supervisor."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._system import processes

from .conftest import payload, step, wait_for_supervisor

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

SLEEP = "import time; time.sleep(300)"
# Tells what there was when it was ended.
PARTLY = "import signal; signal.signal(15, lambda *args: sys.exit(print(json.dumps({'so far': 1}))))\n"
FAIL = "result['failed'] = True; result['msg'] = 'no'"


@pytest.fixture
def trail(tmp_path):
    """Programs that leave a mark, and the marks that were left."""

    class Trail:
        path = tmp_path / "trail"

        def mark(self, letter, more="pass"):
            return "with open(%r, 'a') as stream: stream.write(%r)\n%s" % (str(self.path), letter, more)

        def step(self, letter, more="pass", **settings):
            return step(self.mark(letter, more), name=letter, **settings)

        def __str__(self):
            return self.path.read_text() if self.path.exists() else ""

    return Trail()


def states(answers):
    return [answer["state"] for answer in answers]


def tasks(answer):
    return json.loads(answer["tasks"])


def entries(answer):
    return [(entry["name"], entry["section"], entry["state"]) for entry in tasks(answer)["results"]]


def test_the_tasks_of_a_block_run_in_order_and_each_is_told_of(batch, trail):
    body = [{"block": [trail.step("a", "result['changed'] = True"), trail.step("b", "result['n'] = 2")]}]
    done = batch([body])
    (answer,) = done.wait()
    assert str(trail) == "ab"
    assert answer["state"] == "succeeded"
    assert json.loads(answer["result"]) == {"changed": False, "n": 2} == done.results_file()
    assert entries(answer) == [("a", "block", "succeeded"), ("b", "block", "succeeded")]
    first, second = tasks(answer)["results"]
    assert (first["changed"], second["changed"], first["attempts"]) == (True, False, 1)
    assert json.loads(first["result"]) == {"changed": True}
    assert answer["started_at"] <= first["started_at"] < first["ended_at"] <= second["started_at"] < second["ended_at"]
    assert answer["ended_at"] >= second["ended_at"]


def test_a_rescue_saves_a_job_and_what_is_always_done_is_done(batch, trail):
    body = [
        {"block": [trail.step("a", FAIL), trail.step("b")], "rescue": [trail.step("c")], "always": [trail.step("d")]}
    ]
    (answer,) = batch([body]).wait()
    assert str(trail) == "acd"
    assert answer["state"] == "succeeded"
    assert tasks(answer)["rescued"] is True
    assert entries(answer) == [("a", "block", "failed"), ("c", "rescue", "succeeded"), ("d", "always", "succeeded")]


def test_a_job_that_is_not_saved_has_the_result_of_the_task_that_failed_it(batch, trail):
    body = [{"block": [trail.step("a"), trail.step("b", FAIL)], "always": [trail.step("c")]}]
    done = batch([body])
    (answer,) = done.wait()
    assert (str(trail), answer["state"]) == ("abc", "failed")
    assert done.results_file()["msg"] == "no"
    assert tasks(answer)["culprit"] == 1


def test_ignored_failures_and_skipped_tasks_do_not_end_a_block(batch, trail):
    body = [
        {
            "block": [
                trail.step("a", FAIL, ignore_errors=True),
                {"name": "b", "module": "probe", "calls": [], "skip": "its condition was false", "item": 3},
                trail.step("c"),
            ]
        }
    ]
    (answer,) = batch([body]).wait()
    assert (str(trail), answer["state"]) == ("ac", "succeeded")
    told = tasks(answer)["results"]
    assert (told[0]["ignored"], told[1]["state"], told[1]["item"]) == (True, "skipped", 3)


def test_a_block_none_of_whose_tasks_has_to_run_succeeds_and_says_why(batch):
    (answer,) = batch([[{"block": [{"name": "a", "module": "probe", "calls": [], "skip": "no need"}]}]]).wait()
    assert answer["state"] == "succeeded"
    assert json.loads(answer["result"])["msg"] == "no need"


def test_tasks_of_a_block_may_be_of_different_modules_and_environments(batch):
    body = [
        {
            "block": [
                step("result['v'] = os.environ['V']", environment={"V": "1"}),
                step(
                    "result['v'] = os.environ['V']; result['path'] = os.environ['PATH']",
                    environment={"V": "2", "PATH": "/x"},
                ),
            ]
        }
    ]
    body[0]["block"][1]["calls"][0]["payload"] = "q"
    done = batch([body], payloads={"p": payload(), "q": payload(fork=False)})
    told = [json.loads(entry["result"]) for entry in tasks(done.wait()[0])["results"]]
    assert told == [{"changed": False, "v": "1"}, {"changed": False, "v": "2", "path": "/x"}]


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_job_that_is_ended_still_does_what_is_always_done(batch, trail, how):
    body = [
        {
            "block": [step(PARTLY + trail.mark("a", SLEEP), name="a"), trail.step("b")],
            "rescue": [trail.step("r")],
            "always": [trail.step("c"), trail.step("d")],
        }
    ]
    done = batch([body], timeout=1.0 if how == "timeout" else 0)
    if how == "cancel":
        wait_for_trail(done, trail, "a")
        done.serve("cancel", grace=5.0)
    (answer,) = done.wait()
    assert str(trail) == "acd"
    assert answer["state"] == ("timed_out" if how == "timeout" else "cancelled")
    assert states(tasks(answer)["results"]) == [answer["state"], "succeeded", "succeeded"]
    assert (done.results_file()["failed"], done.results_file()["so far"]) == (True, 1)


def test_what_is_always_done_has_a_time_of_its_own(batch, trail):
    body = [{"block": [trail.step("a", SLEEP)], "always": [trail.step("b", SLEEP), trail.step("c")]}]
    (answer,) = batch([body], timeout=0.3, always_timeout=0.5).wait()
    assert (str(trail), answer["state"]) == ("ab", "timed_out")
    assert "timeout of 0.3 s" in answer["msg"] and "ended after 0.5 s" in answer["msg"]
    assert states(tasks(answer)["results"]) == ["timed_out", "timed_out"]
    assert answer["duration"] < 8


def test_a_cancel_that_comes_while_the_rest_is_tidied_up_does_not_disturb_it(batch, trail, tmp_path):
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    body = [{"block": [trail.step("a")], "always": [trail.step("b", "open(%r).read()" % gate), trail.step("c")]}]
    done = batch([body])
    wait_for_trail(done, trail, "ab")
    done.serve("cancel", block=0.2)
    with open(gate, "w", encoding="ascii"):
        pass
    (answer,) = done.wait()
    assert (str(trail), answer["state"]) == ("abc", "cancelled")


def test_a_task_that_runs_too_long_fails_and_is_rescued(batch, trail):
    body = [{"block": [trail.step("a", SLEEP, timeout=0.3)], "rescue": [trail.step("b")]}]
    (answer,) = batch([body]).wait()
    assert (str(trail), answer["state"]) == ("ab", "succeeded")
    told = tasks(answer)["results"][0]
    assert told["state"] == "timed_out"
    assert "timeout of 0.3 s" in json.loads(told["result"])["msg"]


def test_a_task_is_tried_again_within_its_job(batch, trail, tmp_path):
    flaky = "result['failed'] = os.path.getsize(%r) < 3" % str(trail.path)
    body = [{"block": [trail.step("a", flaky, retries=5, delay=0.05), trail.step("b")]}]
    (answer,) = batch([body]).wait()
    assert (str(trail), answer["state"]) == ("aaab", "succeeded")
    assert [entry["attempts"] for entry in tasks(answer)["results"]] == [3, 1]
    assert answer["attempts"] == 1


def test_a_job_that_is_cancelled_between_two_tries_of_a_task_ends_at_once(batch, trail):
    body = [{"block": [trail.step("a", FAIL, retries=5, delay=300)], "always": [trail.step("b")]}]
    done = batch([body])
    done.wait(block=0.2)
    wait_for_trail(done, trail, "a")
    done.serve("cancel")
    (answer,) = done.wait()
    assert (str(trail), answer["state"]) == ("ab", "cancelled")


@pytest.mark.parametrize("payloads", [{"p": payload()}, {"p": payload(fork=False)}], ids=["fork", "exec"])
def test_a_job_is_tried_again_and_its_failures_are_kept(batch, trail, payloads):
    flaky = "if os.path.getsize(%r) < 3: result.update(failed=True, rc=7, msg='oops')" % str(trail.path)
    (answer,) = batch([trail.mark("a", flaky)], retries=3, delay=0.05, backoff=2.0, payloads=payloads).wait()
    assert (str(trail), answer["state"], answer["attempts"]) == ("aaa", "succeeded", 3)
    told = [(attempt["attempt"], attempt["state"], attempt["msg"]) for attempt in answer["failed_attempts"]]
    assert told == [(1, "failed", "rc 7: oops"), (2, "failed", "rc 7: oops")]
    ends = [attempt["ended_at"] for attempt in answer["failed_attempts"]]
    assert answer["started_at"] < ends[0] < ends[1] - 0.05
    assert ends[1] < answer["ended_at"] - 0.1


def test_a_job_that_timed_out_is_tried_again_and_then_has_timed_out(batch, trail):
    (answer,) = batch([trail.mark("a", SLEEP)], retries=1, delay=0, backoff=1.0, timeout=0.5).wait()
    assert (str(trail), answer["state"], answer["attempts"]) == ("aa", "timed_out", 2)
    assert answer["failed_attempts"][0]["state"] == "timed_out"


def test_a_whole_block_is_tried_again(batch, trail):
    flaky = "result['failed'] = os.path.getsize(%r) < 5" % str(trail.path)
    body = [{"block": [trail.step("a"), trail.step("b", flaky)], "always": [trail.step("c")]}]
    (answer,) = batch([body], retries=1, delay=0, backoff=1.0).wait()
    assert (str(trail), answer["state"], answer["attempts"]) == ("abcabc", "succeeded", 2)


def test_the_failures_of_a_no_log_job_are_kept_without_its_values(batch):
    program = "result.update(failed=True, rc=3, msg='s3cret', stderr='s3cret')"
    done = batch([[{"block": [step(program)]}]], retries=1, delay=0, backoff=1.0, no_log=True)
    (answer,) = done.wait()
    assert answer["failed_attempts"][0]["msg"] == "rc 3"
    assert "s3cret" not in json.dumps(answer)
    wait_for_supervisor(done)
    for folder, dummy, names in os.walk(done.async_dir):
        for name in names:
            with open(os.path.join(folder, name), "rb") as stream:
                assert b"s3cret" not in stream.read()


def test_a_no_log_task_of_a_block_is_hidden_and_no_other(batch):
    body = [{"block": [step("result['v'] = 's3cret'", no_log=True), step("result['v'] = 'open'")]}]
    (answer,) = batch([body]).wait()
    hidden, shown = [json.loads(entry["result"]) for entry in tasks(answer)["results"]]
    assert "v" not in hidden and "censored" in hidden
    assert shown["v"] == "open"


def test_jobs_wait_for_those_that_they_depend_on(batch, trail):
    programs = [trail.mark(letter) for letter in "abcd"]
    answers = batch(programs, depends_on=[[1, 2], [3], [3], []]).wait()
    assert [answer.get("depends_on") for answer in answers] == [["job 1", "job 2"], ["job 3"], ["job 3"], None]
    assert states(answers) == ["succeeded"] * 4
    assert str(trail)[0] == "d" and str(trail)[-1] == "a"


def test_what_depends_on_a_failure_is_skipped_and_what_tidies_up_after_it_runs(batch, trail):
    programs = [trail.mark("a", FAIL), trail.mark("b"), trail.mark("c"), trail.mark("d"), trail.mark("e")]
    answers = batch(
        programs,
        depends_on=[[], [0], [1], [1], [0]],
        run_when=["success", "success", "success", "failure", "always"],
    ).wait()
    assert states(answers) == ["failed", "skipped", "skipped", "succeeded", "succeeded"]
    assert sorted(str(trail)) == list("ade")
    assert answers[1]["msg"] == "depends on job 0, which is failed"
    assert answers[2]["msg"] == "depends on job 1, which is skipped"


def test_what_depends_on_a_job_whose_condition_was_false_is_skipped(batch, trail):
    answers = batch([trail.mark("a"), trail.mark("b")], skip=["no", None], depends_on=[[], [0]]).wait()
    assert states(answers) == ["skipped", "skipped"]
    assert str(trail) == ""


def test_a_batch_that_halts_starts_no_more_and_lets_what_runs_end(batch, trail, tmp_path):
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    slow = trail.mark("a", "open(%r).read()" % gate)
    done = batch([slow, trail.mark("b", FAIL), trail.mark("c")], concurrency=2, plan={"max_failures": 0})
    answers = done.wait(mode="any")
    while states(answers) != ["running", "failed", "skipped"]:
        answers = done.wait(mode="any")
    assert "1 of 3 jobs failed" in answers[2]["msg"]
    with open(gate, "w", encoding="ascii"):
        pass
    assert states(done.wait()) == ["succeeded", "failed", "skipped"]
    assert sorted(str(trail)) == list("ab")


def test_a_batch_that_halts_cancels_what_runs_where_it_was_asked_to(batch, trail):
    body = [{"block": [trail.step("a", SLEEP)], "always": [trail.step("z")]}]
    programs = [
        body,
        trail.mark(
            "b",
            "while open(%r).read() != 'ab' and open(%r).read() != 'ba': pass\n%s"
            % (str(trail.path), str(trail.path), FAIL),
        ),
        trail.mark("c"),
    ]
    answers = batch(programs, concurrency=2, plan={"max_failures": 0, "on_failure": "cancel"}).wait()
    assert states(answers) == ["cancelled", "failed", "skipped"]
    assert "1 of 3 jobs failed" in answers[0]["msg"]
    assert sorted(str(trail)) == list("abz")


def test_a_block_whose_template_dies_is_lost_but_does_what_is_always_done(batch, trail):
    body = [{"block": [trail.step("a", SLEEP)], "always": [trail.step("b")]}]
    done = batch([body])
    wait_for_trail(done, trail, "a")
    (template,) = [process for process in processes.Snapshot() if process.ppid == done.reply["pid"]]
    assert processes.send(template, signal.SIGKILL)
    (answer,) = done.wait()
    assert (str(trail), answer["state"]) == ("ab", "lost")


def test_forgetting_a_job_removes_what_is_known_of_its_tasks(batch):
    done = batch([[{"block": [step("pass"), step("pass")]}], "pass"])
    done.wait()
    assert os.listdir(done.path("tasks")) == ["0.json"]
    done.serve("forget", done.jids()[:1])
    assert os.listdir(done.path("tasks")) == []


def wait_for_trail(batch, trail, expected):
    for dummy in range(200):
        if str(trail) == expected:
            return
        batch.wait(block=0.05)
    raise AssertionError("%r instead of %r" % (str(trail), expected))


def test_the_results_of_a_long_block_are_told_and_do_not_stay_in_memory(batch, tmp_path):
    gate, there = str(tmp_path / "gate"), tmp_path / "there"
    os.mkfifo(gate)
    size, count = 1 << 20, 40
    body = [step("result['text'] = '%02d' + 'x' * %d" % (number, size)) for number in range(count)]
    done = batch([[*body, step("open(%r, 'w'); open(%r).read()" % (str(there), gate))]])
    deadline = time.monotonic() + 30
    while not there.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with open("/proc/%d/statm" % done.reply["pid"], encoding="ascii") as stream:
        resident = int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with open(gate, "w", encoding="ascii"):
        pass
    done.wait()
    wait_for_supervisor(done)
    with open(done.path("tasks", "0.json"), encoding="utf-8") as stream:
        told = json.load(stream)["results"]
    assert [json.loads(entry["result"])["text"][:3] for entry in told[:count]] == [
        "%02dx" % number for number in range(count)
    ]
    assert resident < count * size, resident
