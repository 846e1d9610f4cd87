# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Tracks what is known only on the host, at one point on the way through a job."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ansible_collections.background.jobs.plugins.plugin_utils._entries.references import ALL_FACTS, FACT
from ansible_collections.background.jobs.plugins.plugin_utils._model import ABSENT, FILE, Language, Scope

FAILED = ("ansible_failed_task", "ansible_failed_result")

_GATHER = frozenset(("facter", "gather_facts", "ohai", "setup"))
# Collections whose modules return just the facts listed here; those of any other collection are unknown.
_KNOWN = frozenset(("", "ansible.builtin", "ansible.legacy", "community.general"))
_ALL = ""  # the beginning of every name
# The names of facts of modules that gather only some.
_FACTS_OF = {
    "getent": ("getent_",),
    "hostname": ("ansible_hostname", "ansible_nodename", "ansible_fqdn", "ansible_domain"),
    "listen_ports_facts": ("tcp_listen", "udp_listen"),
    "mount_facts": ("mount_points", "aggregate_mounts"),
    "package_facts": ("packages",),
    "service_facts": ("services",),
}


@dataclass(slots=True)
class Flow:
    """What tasks of the job have set so far, and the places that set it.

    names: variables, by register, set_fact and include_vars; facts: beginnings of names of facts that are top-level
    variables; held: of those in ansible_facts; known: the values of those of the names that are known at launch all the
    same, because the task that sets them runs in any case.
    """

    names: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    known: dict[str, object] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    stronger: set[str] = field(default_factory=set)

    def set(self, names: Iterable[str], where: str, stronger: bool = False) -> None:
        """Note what a task sets. stronger: it overrides include_vars, as register and set_fact do."""
        for name in names:
            if stronger:
                self.stronger.add(name)
            self.names.setdefault(name, where)
            self.known.pop(name, None)
            self.touched.add(name)

    def know(self, values: Mapping[str, object]) -> None:
        """Note the known values of variables that were set."""
        self.known.update((name, value) for name, value in values.items() if name in self.names)

    @contextmanager
    def watching(self) -> Iterator[Collection[str]]:
        """Collect the names that are set meanwhile."""
        outer, self.touched = self.touched, set()
        touched = self.touched
        try:
            yield touched
        finally:
            outer |= touched
            self.touched = outer

    def forget(self, names: Iterable[str]) -> None:
        """Treat known values as late: the task that sets them may not have run."""
        for name in names:
            self.known.pop(name, None)

    def gather(self, module: str, where: str) -> None:
        """Note the facts that a module of this name returns."""
        owner, dummy, leaf = module.rpartition(".")
        beginnings = _FACTS_OF.get(leaf, ())
        if leaf in _GATHER:
            beginnings = ("ansible_",)
        elif not beginnings and not leaf.endswith("_facts"):
            return
        for beginning in beginnings:
            self.facts.setdefault(beginning, where)
        self.cache(beginnings if owner in _KNOWN and beginnings else [_ALL], where)

    def cache(self, names: Iterable[str], where: str) -> None:
        """Note facts that become part of ansible_facts."""
        for name in names:
            self.held.setdefault(name.removeprefix("ansible_"), where)

    def is_fact(self, name: str) -> bool:
        """Whether `name` may be a fact that the job has gathered."""
        return any(name.startswith(beginning) for beginning in self.facts)

    def is_held(self, name: str) -> bool:
        """Whether `name` is ansible_facts, or FACT and the name of a fact, and the job may have gathered that."""
        return self._place_in_facts(name) is not None

    def _place_in_facts(self, name: str) -> str | None:
        if not name.startswith(FACT):
            return next(iter(self.held.values()), None) if name == ALL_FACTS else None
        fact = name.removeprefix(FACT)
        return next((where for beginning, where in self.held.items() if fact.startswith(beginning)), None)

    def place_of(self, name: str) -> str | None:
        """Return which task sets a variable, in words."""
        if name in self.names:
            return self.names[name]
        of_fact = next((where for beginning, where in self.facts.items() if name.startswith(beginning)), None)
        return of_fact or self._place_in_facts(name)

    @property
    def size(self) -> int:
        return len(self.names) + len(self.facts) + len(self.held) - len(self.known)

    def said_of(self, name: str) -> str:
        """Return where a variable that is late comes from, in words."""
        if name == FILE:
            return "is found only when the template is rendered, and may use what is known on the host only"
        place = self.place_of(name)
        return f"is known on the host only, while the job runs{f': it is set by {place}' if place else ''}"


class NeedsScript(Exception):
    """A job uses what only the host knows: it cannot be evaluated as a whole at launch."""


class Late(Collection[str]):
    """The variables that are known only on the host, at one task.

    pinned: those that nothing in the job can override; turning: those that loops on the host set.
    """

    def __init__(
        self,
        flow: Flow,
        language: Language,
        scope: Scope,
        *,
        pinned: Collection[str],
        turning: Collection[str],
        failed: bool,
    ) -> None:
        self._flow, self._language, self._scope = flow, language, scope
        self._pinned, self._turning, self._failed = pinned, turning, failed

    def __contains__(self, name: object) -> bool:
        name = str(name)
        if name in self._turning:
            return True
        if name == FILE:  # whatever the file uses
            return bool(len(self) or self._failed or self._turning)
        if name in self._pinned or name in self._flow.known:
            return False
        if name in self._flow.names or (self._failed and name in FAILED):
            return True
        return self._flow.is_held(name) or (self._flow.is_fact(name) and self._may_be_gathered(name))

    def _may_be_gathered(self, name: str) -> bool:
        return self._language.is_fact(name) or self._language.variable(name, self._scope) is ABSENT

    def __iter__(self) -> Iterator[str]:
        return iter(self._flow.names)

    def __len__(self) -> int:
        return self._flow.size
