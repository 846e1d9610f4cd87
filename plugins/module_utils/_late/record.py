# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The report on a job with a script: its tasks one by one, and the variables that are handed back."""

from __future__ import annotations

import json

from ansible_collections.background.jobs.plugins.module_utils._late import results
from ansible_collections.background.jobs.plugins.module_utils._protocol import results as protocol
from ansible_collections.background.jobs.plugins.module_utils._protocol import states


class Record:
    """Entries of turns. Registered results are not kept twice: they refer to the entries.

    put: keeps the text of a result until the end, and returns a function that returns it.
    """

    def __init__(self, core, put):
        self._core = core
        self._put = put
        self._entries = []
        self._registered = {}  # name: what it refers to, see guide_job_records

    @property
    def last(self):
        """The index of the last entry."""
        return len(self._entries) - 1

    def told(self, index):
        """Return the result of an entry as it is reported; None if there is no entry."""
        return json.loads(self._entries[index]["result"]()) if self._entries else None

    def index_of_failure(self, done):
        """Return the index of the entry of a task's first failed turn."""
        failed = (turn for turn in done.turns if turn.result.failed and not turn.ignored)
        turn = next(failed, done.turns[-1] if done.turns else None)
        return turn.index if turn is not None else self.last

    def add(self, of, turn, where, now, hidden):
        """Add the entry of a turn of a task, and return its Result as reported."""
        result = self._shown(turn, hidden)
        entry = {"name": of.name, "module": of.node["module"], "section": where.section, "state": turn.state}
        entry.update(started_at=turn.started, ended_at=now, attempts=turn.attempts, changed=result.changed)
        entry["result"] = self._kept(result, of.node)
        if turn.state == states.SKIPPED:
            entry["msg"] = result.value.get("skip_reason") or result.value.get("skipped_reason")
        elif turn.why is not None:
            entry["msg"] = turn.why
        if turn.ignored:
            entry["ignored"] = True
        if turn.item is not None and not hidden:
            entry["item"] = turn.item[0]
        if turn.result.failed and of.node.get("where"):
            entry["where"] = of.node["where"]
        turn.index = len(self._entries)
        self._entries.append(entry)
        return result

    def amend(self, turn, node, hidden):
        """Update the entry of a turn whose result has changed."""
        self._entries[turn.index].update(state=turn.state, result=self._kept(self._shown(turn, hidden), node))

    def _shown(self, turn, hidden):
        return _censored(turn.result, self._core) if hidden else turn.result

    def _kept(self, result, node):
        """Return a function that returns the text of a result; a registered one is in memory anyway."""
        if node.get("register"):
            return lambda: results.text_of(result)
        return self._put(results.text_of(result))

    def register(self, name, done, hidden):
        """Note what a name refers to now; hidden results are not handed back."""
        self._registered.pop(name, None)
        if hidden:
            return
        if not done.looped:
            self._registered[name] = {"entry": done.turns[0].index}
        else:
            more = {key: value for key, value in done.result.value.items() if key != "results"}
            entries = [turn.index for turn in done.turns]
            self._registered[name] = {"entries": entries, "more": more}
            if results.version_of(self._core) < (2, 21):  # which the items no longer have
                self._registered[name]["without"] = [key for key in ("warnings", "deprecations") if key in more]

    def pieces(self, told, wall):
        """Yield the JSON text of the report, an entry at a time."""
        yield json.dumps(dict(told, registered=self._registered))[:-1]
        yield ', "results": ['
        for number, entry in enumerate(self._entries):
            said = dict(entry, result=entry["result"]())
            said["started_at"], said["ended_at"] = wall(entry["started_at"]), wall(entry["ended_at"])
            said["duration"] = round(entry["ended_at"] - entry["started_at"], 6)
            yield (", " if number else "") + json.dumps(said)
        yield "]}"


def _censored(result, core):
    outcome = protocol.Outcome("", result.value, result.failed, result.changed)
    return results.Result(protocol.censor(outcome).result, core)
