# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs parts, two at a time if they allow it; prints a line for each part and a summary, with the counts last."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import machine
from leftovers import Scratch

LOGS = machine.CACHE / "logs"
TAIL = 60
MOST_NAMES = 12
# What Ansible, pytest, molecule and ansible-test print where something fails.
FAILURE = re.compile(r"^(?:fatal|failed|FAILED|FATAL|ERROR|E  )(?=\W)")
MOST_FAILURES = 8
WIDTH = 400
LOOK_AGAIN = (
    1.0  # seconds: a signal that the kernel hands to another thread does not wake the one that has to act on it
)


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {self.skipped} skipped" if self.skipped else text


class Failed(Exception):
    """A part failed; counts: what it had counted until then, if it counts."""

    def __init__(self, message: str, counts: Counts | None = None) -> None:
        super().__init__(message)
        self.counts = counts


@dataclass(frozen=True)
class Part:
    name: str
    group: str
    run: Callable[[Job], Counts | None]
    needs: str = ""
    # No two parts with the same word run at the same time.
    alone: str = ""
    limit: int = 1500


class Job:
    """One run of a part: its commands write to its log, have a temporary folder, and are ended when the time is up."""

    def __init__(self, part: Part, folder: Path) -> None:
        self.part = part
        self.folder = folder
        self.cpu = 0.0
        self.log = LOGS / f"{part.name.replace(':', '-')}.log"
        self.log.unlink(missing_ok=True)
        self._deadline = time.monotonic() + part.limit
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False
        self._starting = threading.Lock()  # what is being started is to be killed too

    def call(self, *command: str | Path, env: dict[str, str], cwd: Path = machine.ROOT) -> tuple[int, str]:
        """Run a command; return its exit status and output."""
        with self.log.open("ab") as log:
            log.write(f"+ {' '.join(map(str, command))}\n".encode())
            log.flush()
            start = log.tell()
            with self._starting:
                if self._is_over:
                    raise Failed("interrupted, or out of time")
                self._process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=env | {"TMPDIR": str(self.folder)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            status = self._end(self._process)
        return status, self.log.read_bytes()[start:].decode(errors="replace")

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for a process, and add its CPU time, with that of the children that it has waited for."""
        end = os.pidfd_open(process.pid)
        try:
            if not select.select([end], [], [], max(1, self._deadline - time.monotonic()))[0]:
                self.kill()
                raise Failed(f"not finished after {self.part.limit} s")
        finally:
            os.close(end)
        dummy, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu += usage.ru_utime + usage.ru_stime
        return process.returncode

    def check(self, *command: str | Path, env: dict[str, str], cwd: Path = machine.ROOT) -> str:
        """Run a command that must succeed; return its output."""
        status, output = self.call(*command, env=env, cwd=cwd)
        if status:
            raise Failed(f"{Path(command[0]).name} failed ({status})")
        return output

    def kill(self) -> None:
        with self._starting:
            self._is_over = True
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def tail(self) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL:])

    def failures(self) -> list[str]:
        """The last lines that name a failure, each after the heading of its task; they may be far from the end."""
        found, heading = [], ""
        for line in self.log.read_text(errors="replace").splitlines() if self.log.exists() else []:
            if line.startswith(("TASK [", "RUNNING HANDLER [")):
                heading = line.rstrip(" *") + ": "
            elif FAILURE.match(line):
                found.append(heading + line[:WIDTH])
                heading = ""
        return found[-MOST_FAILURES:]


class Runner:
    def __init__(self, parts: list[Part], lanes: int) -> None:
        self.waiting = list(parts)
        self.names = {part.name for part in parts}
        self.lanes = lanes
        self.results: dict[str, tuple[Counts, float]] = {}
        self.failures: dict[str, list[str]] = {}
        self.scratch = Scratch()
        self.running: list[Job] = []
        self.changed = threading.Condition()
        self.started = time.monotonic()

    def run(self) -> Counts:
        LOGS.mkdir(parents=True, exist_ok=True)
        (LOGS / "summary.log").unlink(missing_ok=True)  # from an earlier run
        threads = [threading.Thread(target=self._lane, daemon=True) for dummy in range(self.lanes)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(LOOK_AGAIN)
        finally:
            # If this was interrupted: end all that was started, and start nothing more.
            with self.changed:
                self.waiting.clear()
            for job in list(self.running):
                job.kill()
            left, others = self.scratch.close()
        self._tell_what_is_left(left, others)
        return self._summary()

    def _tell_what_is_left(self, left: list[str], others: list[str]) -> None:
        place = self.scratch.place
        if others:
            print(f"also new in {place}, maybe of other programs: {_few(others)}")
        if left:
            print(f"----- LEFT BEHIND in {place}: {_few(left)}")
        # If somebody else tests this on the same machine, it is unclear whose files they are.
        shared = os.environ.get("SHARED_TMP") == "1"
        self.results["nothing-left-behind"] = Counts(failed=len(left)) if left and not shared else Counts(passed=1), 0

    def _lane(self) -> None:
        while job := self._next():
            begun = time.monotonic()
            counts, message = self._outcome(job)
            with self.changed:
                self.running.remove(job)
                self._report(job, counts, message, time.monotonic() - begun)
                shutil.rmtree(job.folder, ignore_errors=True)
                self.changed.notify_all()

    def _next(self) -> Job | None:
        with self.changed:
            while self.waiting:
                for part in self.waiting:
                    if self._may_start(part):
                        self.waiting.remove(part)
                        self.running.append(Job(part, self.scratch.folder()))
                        return self.running[-1]
                self.changed.wait()
            return None

    def _may_start(self, part: Part) -> bool:
        if part.needs in self.names and part.needs not in self.results:
            return False
        return not part.alone or all(job.part.alone != part.alone for job in self.running)

    def _outcome(self, job: Job) -> tuple[Counts, str]:
        try:
            if job.part.needs in self.results:
                needed = self.results[job.part.needs][0]
                if needed.failed:
                    raise Failed(f"NOT RUN: it needs {job.part.needs}, which failed")
            return job.part.run(job) or Counts(passed=1), ""
        except machine.Skip as exc:
            return Counts(skipped=1, notes=[str(exc)]), ""
        except Failed as exc:
            return exc.counts or Counts(failed=1), str(exc)
        except Exception:
            return Counts(failed=1), traceback.format_exc()

    def _report(self, job: Job, counts: Counts, message: str, seconds: float) -> None:
        name = job.part.name
        self.results[name] = counts, seconds
        if counts.failed:
            why = message.rstrip().rpartition("\n")[2]
            self.failures[name] = [why[:WIDTH], *job.failures()]
            print(f"----- {name}: {message}\n{job.tail()}\n----- end of {job.log}")
        word = "FAILED" if counts.failed else "ok" if counts.passed else "SKIPPED"
        print(f"{word:8}{name:22}{seconds:6.0f} s {job.cpu:6.0f} s CPU  {counts}", flush=True)
        for note in counts.notes:
            print(f"{'':8}skipped: {note}", flush=True)

    def _summary(self) -> Counts:
        total = Counts()
        for counts, _seconds in self.results.values():
            total.passed += counts.passed
            total.failed += counts.failed
            total.skipped += counts.skipped
        bad = [name for name, (counts, _seconds) in self.results.items() if counts.failed]
        print(f"\n{len(self.results) - 1} parts in {time.monotonic() - self.started:.0f} s, logs in {LOGS}")
        if bad:
            print(f"FAILED PARTS: {', '.join(bad)}")
            for name in bad:
                print("\n".join([f"----- {name}", *self.failures.get(name, [])]))
        (LOGS / "summary.log").write_text(f"{total}\n")
        print(total, flush=True)
        return total


def _few(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return " ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
