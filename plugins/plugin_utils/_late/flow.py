# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What is known on the host only, at one point on the way through a job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

ALL_FACTS = "ansible_facts"
FAILED = ("ansible_failed_task", "ansible_failed_result")

_GATHER = frozenset(("facter", "gather_facts", "ohai", "setup"))
# What modules that gather facts of one kind call them.
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
    """What tasks of the job have set so far, and the place that did it.

    names: variables, by register, set_fact and include_vars; facts: beginnings of names of facts.
    """

    names: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def set(self, names: Iterable[str], where: str) -> None:
        for name in names:
            self.names.setdefault(name, where)

    def gather(self, module: str, where: str) -> None:
        """Take note of the facts that a module of this name returns."""
        leaf = module.rpartition(".")[2]
        if leaf in _GATHER:
            self.facts.setdefault("ansible_", where)
        elif leaf in _FACTS_OF or leaf.endswith("_facts"):
            self.facts.setdefault(ALL_FACTS, where)
            for beginning in _FACTS_OF.get(leaf, ()):
                self.facts.setdefault(beginning, where)

    def is_fact(self, name: str) -> bool:
        """Whether `name` may be a fact that the job has gathered."""
        return any(name.startswith(beginning) for beginning in self.facts)

    def place_of(self, name: str) -> str | None:
        """Return which task sets a variable, in words."""
        if name in self.names:
            return self.names[name]
        return next((where for beginning, where in self.facts.items() if name.startswith(beginning)), None)

    @property
    def size(self) -> int:
        return len(self.names) + len(self.facts)
