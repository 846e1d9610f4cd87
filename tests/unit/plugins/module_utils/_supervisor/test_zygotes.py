# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Batches of several modules: who forks their templates, and what becomes of jobs where the zygote does not."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import time

import pytest

from ansible_collections.background.jobs.plugins.module_utils._supervisor import fork_process
from ansible_collections.background.jobs.plugins.module_utils._system import processes

from ..conftest import Batch, gone, payload, servants, step, until, utilities_of_core, wait_for_supervisor, words_of
from .test_other_user import PYTHON, USER, become, own_folders

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")

# What a job tells of itself: its template, and who has forked that.
WHO = (
    "stat = lambda pid: open('/proc/%d/stat' % pid).read().rpartition(')')[2].split()\n"
    "result['template'] = os.getppid()\n"
    "result['parent'] = int(stat(os.getppid())[1])\n"
    "from ansible.module_utils import basic\n"
    "result['file'] = basic.__file__\n"
)
SLEEP = "import time; time.sleep(300)"


def several(*keys, **changes):
    """Return so many payloads, which differ in their names."""
    return {key: payload(name="AnsiballZ_%s.py" % key, **changes) for key in keys}


def of(key, program, **settings):
    """Return the body of a job that runs a program in the payload `key`."""
    made = step(program, **settings)
    made["calls"][0].update(payload=key, module="module.%s" % key)
    return [made]


@pytest.fixture
def many(tmp_path):
    """A function that launches a batch of bodies; what still runs at the end of the test is cancelled."""
    launched = []

    def launch(bodies, payloads, concurrency=0, **settings):
        made = Batch(tmp_path / "async", bodies, concurrency, payloads, **settings)
        launched.append(made)
        return made.launch()

    yield launch
    for one in launched:
        assert all(answer.get("finished", True) for answer in one.serve("cancel", grace=0.3))
        wait_for_supervisor(one)


def states(answers):
    return [answer["state"] for answer in answers]


def running(done, count):
    until(lambda: states(done.wait(block=0.1)).count("running") == count)


def test_templates_of_several_modules_are_forks_of_one_interpreter_and_each_has_its_own_payload(many):
    done = many([of(key, WHO) for key in "abc"], several(*"abc"), 1)
    results = done.results()
    assert len({result["template"] for result in results}) == 3
    assert {result["parent"] for result in results} != {done.reply["pid"]}
    assert len({result["parent"] for result in results}) == 1
    assert len({result["file"] for result in results}) == 3


def test_each_process_says_by_its_command_line_what_it_is(many):
    done = many([of(key, SLEEP) for key in "ab"], several(*"ab"))
    running(done, 2)
    (zygote,) = servants(done.reply["pid"], "zygote")
    assert words_of(zygote.pid)[-3:] == ["background.jobs", "zygote", done.batch_id]
    found = sorted(words_of(process.pid)[-3:] for process in servants(done.reply["pid"]))
    assert found == [["background.jobs", "template", "%s module.%s" % (done.batch_id, key)] for key in "ab"]
    assert {process.ppid for process in servants(done.reply["pid"])} == {zygote.pid}


def test_a_batch_of_one_module_has_no_zygote(many):
    done = many([of("a", SLEEP)], several("a"))
    running(done, 1)
    assert not servants(done.reply["pid"], "zygote")
    (template,) = servants(done.reply["pid"])
    assert template.ppid == done.reply["pid"]


@pytest.mark.parametrize(
    "apart", [{"environment": {"LANG": "C.UTF-8"}}, {"environment": {"PYTHONPATH": "/none"}}], ids=str
)
def test_another_environment_at_the_start_is_another_interpreter(many, apart):
    bodies = [*(of(key, WHO) for key in "ab"), *(of(key, WHO, **apart) for key in "ab")]
    results = many(bodies, several(*"ab"), 1).results()
    assert results[0]["parent"] == results[1]["parent"] != results[2]["parent"] == results[3]["parent"]


def test_another_interpreter_has_templates_of_its_own(many, tmp_path):
    other = tmp_path / "python"
    other.symlink_to(os.path.realpath(payload()["interpreter"][0]))
    payloads = dict(several(*"ab"), **several("c", interpreter=[str(other)]))
    done = many([of(key, WHO) for key in "abc"], payloads, 1)
    results = done.results()
    assert results[0]["parent"] == results[1]["parent"]
    assert results[2]["parent"] == done.reply["pid"]


def test_payloads_that_are_executed_have_processes_of_their_own(many):
    done = many([of(key, "result['parent'] = os.getppid()") for key in "ab"], several(*"ab", fork=False), 1)
    assert states(done.wait()) == ["succeeded"] * 2
    assert not servants(done.reply["pid"], "zygote")


def test_a_module_with_other_utilities_has_a_process_of_its_own(many):
    payloads = dict(several(*"ab"), c=payload(basic="_ANSIBLE_ARGS = None\nstate = []\nOWN = 'other'\n"))
    tell = WHO + "result['own'] = getattr(basic, 'OWN', None)"
    done = many([of(key, tell) for key in "abc"], payloads, 1)
    results = done.results()
    assert [result["own"] for result in results] == [None, None, "other"]
    assert results[0]["parent"] == results[1]["parent"] != done.reply["pid"]
    assert results[2]["parent"] == done.reply["pid"]


def test_what_a_module_changes_in_a_utility_is_not_seen_by_another(many):
    tell = "result['state'] = list(basic.state); basic.state.append(1)"
    done = many([of(key, tell) for key in "abab"], several(*"ab"), 1)
    assert [result["state"] for result in done.results()] == [[]] * 4


# All that a module can see of where it is.
SEEN = """
import pathlib, signal
base = basic.__file__[: -len("/ansible/module_utils/basic.py")]
def show(value):
    return repr(value).replace(base, "ZIP")
modules = {name: module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] == "ansible"}
result["modules"] = {
    name: [show(getattr(module, key, None)) for key in ("__file__", "__loader__", "__spec__", "__cached__", "__path__", "__package__")]
    for name, module in modules.items()
}
result["values"] = [
    [name, key, show(value)]
    for name, module in modules.items()
    for key, value in sorted(vars(module).items())
    if isinstance(value, (str, pathlib.PurePath)) and ("zygote" in str(value) or base in str(value))
]
result["attributes"] = {name: sorted(vars(module)) for name, module in modules.items()}
result["code"] = [show(basic.AnsibleModule.exit_json.__code__), show(basic.json.dumps.__code__.co_filename)]
result["path"] = [path.replace(base, "ZIP") for path in sys.path]
result["finders"] = [getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path]
result["others"] = sorted(name for name in sys.modules if name not in modules)
result["signals"] = [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())]
result["blocked"] = sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, [])))
umask = os.umask(0)
os.umask(umask)
result["process"] = [umask, os.getcwd(), os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.nice(0), len(sys.argv)]
"""


def plain(value):
    return json.loads(re.sub("0x[0-9a-f]+", "0x", json.dumps(value)))


def test_a_module_sees_the_same_in_a_fork_of_a_zygote_as_in_a_process_of_its_own(many):
    made = {key: payload(utilities=utilities_of_core()) for key in "ab"}
    made["b"]["tail"] += "# another"
    (alone,) = many([of("a", SEEN)], {"a": made["a"]}).results()
    done = many([of("a", SEEN), of("b", SEEN + WHO)], made, 1)
    forked, other = done.results()
    assert other["parent"] != done.reply["pid"]
    assert len(alone["modules"]) > 20
    for key, expected in alone.items():
        for result in (forked, other):
            assert plain(result[key]) == plain(expected), key


def test_jobs_have_nothing_open_of_zygotes_and_other_templates(many):
    tell = (
        "found = [os.path.join('/proc/self/fd', fd) for fd in os.listdir('/proc/self/fd')]\n"
        "result['open'] = sorted(os.readlink(fd).split(':')[0] for fd in found if os.path.exists(fd))"
    )
    alone = many([of("a", tell)], several("a")).results()
    forked = many([of(key, SLEEP) for key in "ab"] + [of(key, tell) for key in "cd"], several(*"abcd"))
    names = [json.loads(answer["result"])["open"] for answer in forked.wait(jids=forked.jids()[2:])]
    assert len(names) == 2
    expected = [name for name in alone[0]["open"] if not name.startswith("/")]
    assert [[name for name in found if not name.startswith("/")] for found in names] == [expected] * 2


def test_templates_are_no_zombies_of_their_zygote(many):
    count = (
        "stat = lambda pid: open('/proc/%s/stat' % pid).read().rpartition(')')[2].split()\n"
        "zygote = stat(os.getppid())[1]\n"
        "found = []\n"
        "for name in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try:\n"
        "        found.append(stat(name)[:2])\n"
        "    except OSError:\n"
        "        pass\n"
        "result['zombies'] = found.count(['Z', zygote])\n"
    )
    done = many([of(key, count) for key in "abcdefgh"], several(*"abcdefgh"), 1)
    zombies = [result["zombies"] for result in done.results()]
    assert max(zombies) <= 1, zombies


def test_all_ends_with_a_supervisor_that_is_killed(many):
    done = many([of(key, SLEEP) for key in "ab"], several(*"ab"))
    running(done, 2)
    family = servants(done.reply["pid"]) + servants(done.reply["pid"], "zygote")
    assert len(family) == 3
    jobs = [int(job["pid"]) for job in done.serve("list")]
    os.kill(done.reply["pid"], signal.SIGKILL)
    assert all(gone(process.pid) for process in family)
    assert all(map(gone, jobs))


def test_jobs_go_on_where_the_zygote_is_killed_and_those_that_come_later_run_too(many, tmp_path):
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    bodies = [of("a", "open(%r).read()" % gate), of("b", SLEEP), of("c", WHO), of("d", WHO)]
    done = many(bodies, several(*"abcd"), depends_on=[[], [], [0], [0]])
    running(done, 2)
    (zygote,) = servants(done.reply["pid"], "zygote")
    assert processes.send(zygote, signal.SIGKILL)
    assert gone(zygote.pid)
    with open(gate, "w", encoding="ascii"):
        pass
    until(lambda: states(done.wait(block=0.1)) == ["succeeded", "running", "succeeded", "succeeded"])
    ahead, later = [json.loads(answer["result"])["parent"] for answer in done.wait(jids=done.jids()[2:])]
    assert later == done.reply["pid"]
    assert ahead != zygote.pid  # which had forked its template before it was needed
    sleeper = processes.look(processes.look(done.serve("list")[1]["pid"]).ppid)
    assert states(done.serve("cancel", jids=[done.jids()[1]], grace=0.3)) == ["cancelled"]
    assert gone(sleeper.pid)


def test_a_killed_template_loses_its_own_jobs_and_no_others(many):
    done = many(
        [of("a", SLEEP), of("b", SLEEP), of("a", "pass")], several(*"ab"), depends_on=[[], [], [0]], run_when="always"
    )
    running(done, 2)
    (template,) = [one for one in servants(done.reply["pid"]) if words_of(one.pid)[-1].endswith("module.a")]
    assert processes.send(template, signal.SIGKILL)
    until(lambda: states(done.wait(block=0.1)) == ["lost", "running", "succeeded"])


def hold(number):
    """Return a script that is an interpreter whose zygote gets a signal before it does anything."""
    python = payload()["interpreter"][0]
    return '#!/bin/sh\ncase "$*" in *\' zygote \'*) kill -%s $$;; esac\nexec %s "$@"\n' % (number, python)


@pytest.mark.parametrize("number", ["STOP", "KILL"])
def test_jobs_run_without_a_zygote_that_never_comes_up(many, tmp_path, number):
    interpreter = tmp_path / "interpreter"
    interpreter.write_text(hold(number))
    interpreter.chmod(0o755)
    begun = time.monotonic()
    done = many([of(key, WHO) for key in "ab"], several(*"ab", interpreter=[str(interpreter)]), 1)
    assert {result["parent"] for result in done.results()} == {done.reply["pid"]}
    assert time.monotonic() - begun < fork_process.FORK_PATIENCE + 15
    wait_for_supervisor(done)
    assert not [process for process in processes.Snapshot() if words_of(process.pid)[-1:] == [done.batch_id]]


def test_a_zygote_that_hangs_later_holds_up_no_job_for_ever_and_is_gone_at_the_end(many, tmp_path):
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    bodies = [of("a", "open(%r).read()" % gate), of("b", "pass"), of("c", WHO), of("d", WHO)]
    done = many(bodies, several(*"abcd"), 1, depends_on=[[], [0], [1], [2]])
    running(done, 1)
    until(lambda: len(servants(done.reply["pid"])) == 2)  # that of the next one is read in by now
    (zygote,) = servants(done.reply["pid"], "zygote")
    assert processes.send(zygote, signal.SIGSTOP)
    with open(gate, "w", encoding="ascii"):
        pass
    assert states(done.wait()) == ["succeeded"] * 4
    wait_for_supervisor(done)
    assert gone(zygote.pid)


def test_a_job_is_cancelled_while_its_template_is_awaited(many, tmp_path):
    interpreter = tmp_path / "interpreter"
    interpreter.write_text("#!/bin/sh\nexec sleep 300\n")
    interpreter.chmod(0o755)
    done = many([of(key, "pass") for key in "ab"], several(*"ab", interpreter=[str(interpreter)]))
    until(lambda: [process for process in processes.Snapshot() if process.ppid == done.reply["pid"]])
    assert states(done.serve("cancel", grace=0.1)) == ["cancelled"] * 2


def test_a_zygote_goes_with_the_last_job_that_may_need_it(many):
    bodies = [of("a", "pass"), of("b", "pass"), of("c", SLEEP, environment={"LANG": "C"})]
    done = many(bodies, several(*"abc"))
    until(lambda: states(done.wait(block=0.1)) == ["succeeded", "succeeded", "running"])
    until(lambda: not servants(done.reply["pid"], "zygote"))


AS_OTHERS = pytest.mark.skipif(
    not (os.geteuid() == 0 and shutil.which("runuser") and os.path.exists(PYTHON)),
    reason="becomes another user: needs root, runuser and %s" % PYTHON,
)


def as_another(bodies):
    for body in bodies:
        body[0]["calls"][0]["become"] = 0
    return bodies


@AS_OTHERS
@pytest.mark.usefixtures("nobody_else")
def test_modules_of_another_user_have_one_interpreter_too_and_leave_nothing(many):
    tell = WHO + "result['uid'] = os.getuid(); result['leader'] = os.getsid(0) == os.getpid()"
    bodies = [*as_another([of(key, tell) for key in "abc"]), of("a", tell), of("b", tell)]
    done = many(bodies, several(*"abc", interpreter=[PYTHON]), 1, plan={"become": [become()]})
    results = done.results()
    assert [result["uid"] for result in results] == [pwd.getpwnam(USER).pw_uid] * 3 + [0] * 2
    assert len({result["template"] for result in results}) == 5
    assert len({result["parent"] for result in results[:3]}) == len({result["parent"] for result in results[3:]}) == 1
    assert all(result["leader"] for result in results)
    assert not results[0]["file"].startswith(done.async_dir)
    wait_for_supervisor(done)
    assert not os.path.exists(done.path("run"))
    assert own_folders() == []


@AS_OTHERS
@pytest.mark.usefixtures("nobody_else")
def test_jobs_of_another_user_who_cannot_be_become_are_told_why_once(many):
    how = become("sh -c 'echo not you >&2; exit 1'")
    bodies = [*as_another([of(key, "pass") for key in "ab"]), of("a", "pass")]
    done = many(bodies, several(*"ab", interpreter=[PYTHON]), plan={"become": [how]})
    answers = done.wait()
    assert states(answers) == ["failed", "failed", "succeeded"]
    for answer in answers[:2]:
        assert json.loads(answer["result"])["msg"] == "cannot start it: becoming nobody failed: not you"


@AS_OTHERS
@pytest.mark.usefixtures("nobody_else")
def test_jobs_of_another_user_go_on_where_the_zygote_is_killed(many):
    bodies = as_another([of("a", SLEEP), of("b", "pass"), of("c", "result['n'] = os.getuid()")])
    done = many(
        bodies,
        several(*"abc", interpreter=[PYTHON]),
        plan={"become": [become("setsid runuser -u nobody --")]},
        depends_on=[[], [], [1]],
    )
    until(lambda: states(done.wait(block=0.1)) == ["running", "succeeded", "succeeded"])
    template = processes.look(done.serve("list")[0]["pid"]).ppid
    zygote = processes.look(processes.look(template).ppid)
    assert processes.send(zygote, signal.SIGKILL)
    assert gone(zygote.pid)
    assert states(done.serve("cancel", jids=done.jids()[:1], grace=0.3)) == ["cancelled"]
