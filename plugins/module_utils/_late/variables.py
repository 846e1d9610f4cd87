# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The variables of a job while it runs: what its tasks have set, and their precedence."""

from __future__ import annotations

import re

from ansible_collections.background.jobs.plugins.module_utils._late.results import (
    GATHERED,
    INCLUDED,
    SET,
    SET_CACHEABLE,
)
from ansible_collections.background.jobs.plugins.module_utils._late.values import decode

# Facts that would change how Ansible reaches the host: core does not make variables of them if a module returns them.
_RESTRICTED = re.compile(
    r"ansible_(playbook_python|facts|module_compression|shell_type|shell_executable|host|user|password|port|pipelining|"
    r"timeout|private_key_file|network_os|connection_user|become|become_.*|connection|.*_interpreter|"
    r"(ssh|local|docker|podman|paramiko|paramiko_ssh|winrm|psrp)_.*|sftp_extra_args|scp_extra_args)\Z"
)
_ALLOWED = re.compile(r"ansible_ssh_host_key_.*|.*(_bridge|_gwbridge)\Z")


class Variables:
    """What the tasks of a job have set.

    pool: the values of its script; inject: whether facts are top-level variables too.
    """

    def __init__(self, pool, inject=True):
        self._pool = pool
        self._decoded = {}
        self._inject = inject
        self.set = {}  # by register, set_fact, and after a failure
        self.included = {}  # decoded Values, by include_vars
        self.facts = {}  # as modules have returned them
        self.cacheable = set()  # names among those that set_fact has set
        self._of_set_fact = set()
        self._hidden = set()  # names of facts that must not come back

    def of(self, index):
        """Return the value of this index of the script, decoded."""
        if index not in self._decoded:
            self._decoded[index] = decode(self._pool[index])
            self._pool[index] = None  # so that it is not kept twice
        return self._decoded[index]

    def apply(self, kind, new, hidden=False):
        """Apply the effect of a task on variables; see results.py. hidden: nothing of it may be reported."""
        if kind == INCLUDED:
            self.included.update(new)
            return
        (self._hidden.update if hidden else self._hidden.difference_update)(new)
        if kind in (GATHERED, SET_CACHEABLE):
            self.facts.update(new)
        if kind in (SET, SET_CACHEABLE):
            self.set.update(new)
            self._of_set_fact.update(new)
            (self.cacheable.update if kind == SET_CACHEABLE else self.cacheable.difference_update)(new)

    def to_hand_back(self):
        """Return the facts that the job has set or gathered."""
        facts = dict(self.facts, **{name: self.set[name] for name in self._of_set_fact})
        return {name: value for name, value in facts.items() if name not in self._hidden}

    def gathered(self, names):
        """Return which of these names are facts that modules have returned, and no set_fact has set since."""
        return sorted(name for name in names if name not in self._of_set_fact)

    def injected(self, facts):
        """Return those of the facts that are top-level variables too."""
        if not self._inject:
            return {"ansible_local": facts["ansible_local"]} if "ansible_local" in facts else {}
        return {name: value for name, value in facts.items() if not _is_restricted(name)}


def _is_restricted(name):
    return bool(_RESTRICTED.match(name)) and not _ALLOWED.match(name) and name != "ansible_local"


def namespaced(facts):
    """Return facts under their names in ansible_facts."""
    prefix = "ansible_"
    return {
        name[len(prefix) :] if name.startswith(prefix) and name != "ansible_local" else name: value
        for name, value in facts.items()
    }


class View:
    """What the expressions of one task, or of one turn of its loop, see; calling it looks up a name.

    frames: of the includes around it, the innermost first: {name: data}; loop: the variables of its own loop; during: what
    the task has returned so far, in all of its turns.
    """

    def __init__(self, variables, node, turn, *, frames, loop, during):
        self._variables = variables
        self._node = node
        self._turn = turn
        self._frames = frames
        self._loop = loop
        self._during = during

    def returned(self, kind, new):
        """Let the task's own conditions see what it has returned, in the way that later tasks will."""
        if kind in (GATHERED, SET_CACHEABLE):
            self._during["ansible_facts"] = dict(self("ansible_facts", {}), **namespaced(new))
            self._during.update(self._variables.injected(new))
        if kind != GATHERED:
            self._during.update(new)

    def __call__(self, name, *default):
        for layer in (self._loop, self._during):
            if name in layer:
                return layer[name]
        for indexes in (self._turn.get("pinned"), self._node.get("pinned")):
            if indexes and name in indexes:
                return self._variables.of(indexes[name])
        for layer in (*self._frames, self._variables.set, self._variables.included):
            if name in layer:
                return layer[name]
        if name in self._node.get("vars", ()):
            return self._variables.of(self._node["vars"][name])
        return self._fact(name, *default)

    def _fact(self, name, *default):
        known = self._node.get("facts", {})
        gathered = self._variables.facts
        if name == "ansible_facts" and (gathered or name in known):
            before = self._variables.of(known[name]) if name in known else {}
            return dict(before, **namespaced(gathered)) if gathered else before
        if name in gathered and self._variables.injected({name: None}):
            return gathered[name]
        if name in known:
            return self._variables.of(known[name])
        if default:
            return default[0]
        raise KeyError(name)
