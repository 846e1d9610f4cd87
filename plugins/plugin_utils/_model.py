# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The parts of a launch: jobs, their tasks, and the interface to Ansible that making them needs."""

from __future__ import annotations

import math
import typing as t
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.background.jobs.plugins.module_utils._protocol import defaults
from ansible_collections.background.jobs.plugins.plugin_utils._errors import JobRefused, Refused, unfit

ABSENT: t.Final = object()
"""Stands for a missing value: no item, or a template that gave `omit`."""

MAX_SECONDS = 10 * 365 * 86400
FILE: t.Final = "the template "
"""The prefix with which a template file's name is listed among the variables that a value uses."""
NAMED_FILE: t.Final = f"{FILE}named "
"""The same before a template of the name, which may give a list of names."""

Scope = dict[str, t.Any]
Variables = Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Role:
    """A role, included or a dependency of another role; `own` is ansible-core's object."""

    name: str
    path: str
    collections: tuple[str, ...] = ()
    is_included: bool = True
    own: t.Any = None


@dataclass(frozen=True, slots=True)
class Home:
    """Where tasks come from: included files and roles, innermost first. Empty for those of the playbook."""

    files: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()

    @property
    def search(self) -> tuple[str, ...]:
        """The folders in which Ansible looks for the files of these tasks, before those of the task that launches."""
        folders = [role.path for role in self.roles] + [str(Path(file).parent) for file in self.files[:1]]
        return tuple(dict.fromkeys(folders))


@dataclass(frozen=True, slots=True)
class Included:
    """The tasks of a file, with what a role adds to them."""

    tasks: Sequence[object]
    home: Home
    defaults: Mapping[str, object] = field(default_factory=dict)
    variables: Mapping[str, object] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    magic: Mapping[str, object] = field(default_factory=dict)
    keys: Mapping[str, object] = field(default_factory=dict)
    """Keywords that a role that depends on this one sets for it: when, environment and so on."""
    role: str | None = None
    """The name of the role, if these are all its tasks."""
    handlers: Sequence[object] = ()
    spec: Mapping[str, object] | None = None
    """What the variables are checked against: the arguments of validate_argument_spec."""


class Call(t.Protocol):
    """The module call of a task, parsed but not templated; the same for all items of its loop."""

    @property
    def fqcn(self) -> str: ...

    @property
    def arguments(self) -> Mapping[str, t.Any]: ...


class Sources(t.Protocol):
    """Files of tasks, and roles. All methods may raise `Refused`."""

    def tasks(self, name: str, home: Home) -> Included:
        """Return the tasks of a file that one of `home` includes."""

    def role(self, options: Mapping[str, t.Any], home: Home) -> list[Included]:
        """Return the tasks of a role, after those of the roles that it depends on."""

    def position(self, value: object) -> str | None:
        """Return file and line of something written in a playbook."""


class Language(t.Protocol):
    """What expanding needs to know of Ansible. All methods may raise `Refused`."""

    @property
    def sources(self) -> Sources: ...

    def resolve(self, value: object) -> object:
        """Return the list or dict that the template `value` stands for, its own values untouched."""

    def scope(self, defaults: Variables, own: Variables, params: Variables, loop: Variables) -> Scope:
        """Return the variables that a task sees, from the weakest to the strongest.

        `defaults` are those of roles, `own` of the task, its blocks and roles, `params` of its includes.
        """

    def template(self, value: object, scope: Scope) -> t.Any:
        """Return `value` rendered, ABSENT if it is `omit`."""

    def holds(self, condition: object, scope: Scope) -> bool:
        """Return whether a condition, as in `when`, is true."""

    def variable(self, name: str, scope: Scope) -> object:
        """Return the value of a variable as written, ABSENT if there is none; for FILE with a name, the file's text.

        For NAMED_FILE with a template of the name, the texts of all files that it names.
        """

    def strong(self) -> Collection[str]:
        """Return the variables that nothing a task sets can override.

        These are extra variables, Ansible's own, and those from the includes and the role of the launching task.
        """

    def set_before(self) -> Collection[str]:
        """Return the variables that tasks before the launch have set or registered: they override those from files."""

    def is_fact(self, name: str) -> bool:
        """Whether a variable is a known fact of the host."""

    def trusted(self, text: str) -> str:
        """Return a part of a template as a trusted template."""

    def is_template(self, text: str) -> bool:
        """Return whether a text is a template that may be rendered: text from a host, for example, may not."""

    def is_module(self, name: str, home: Home) -> bool: ...

    def modules_like(self, name: str, home: Home) -> list[str]:
        """Return the modules that `name`, which is not one, may be a mistyped form of."""

    def arguments(self, action: str, value: object, args: object) -> dict[str, t.Any]:
        """Return the arguments of a task, from all the ways to write them; a free text is `_raw_params`."""

    def argument_defaults(self, fqcn: str, scope: Scope) -> dict[str, t.Any]:
        """Return the module_defaults of an action, as written."""

    def call(self, module: str, value: object, args: object, home: Home) -> Call: ...

    def recall(self, call: t.Any, arguments: dict[str, t.Any]) -> Call:
        """Return a call with other arguments."""

    def check_role(self, included: Included, scope: Scope) -> None:
        """Raise Refused if the variables do not fit the role's argument specification."""

    def own_tags(self) -> tuple[str, ...]:
        """Return the tags of the task that launches, which its jobs have as well."""

    def is_left_out(self, tags: Collection[str]) -> bool:
        """Return whether `--tags`, `--skip-tags` or its tag `never` leave out a task with these tags."""

    def read_variables(
        self, options: Mapping[str, t.Any], home: Home, scope: Scope
    ) -> tuple[list[str], Mapping[str, object]]:
        """Return the files that an include_vars with these options reads, and what is in them, as written."""

    def template_file(
        self, call: t.Any, arguments: Mapping[str, t.Any], scope: Scope
    ) -> tuple[str, dict[str, t.Any], Variables] | None:
        """Return the text of the file that a call of `template` renders, the options for that, and the variables that it adds.

        None if there is no such file, which the call itself reports, and for every other call.
        """

    def of_play(self, roles: Collection[object]) -> dict[str, t.Any]:
        """Return what a script has to know of the play, and of this ansible-core; roles: the paths of those in the job."""

    def looked_up(self, lookup: str, value: object, scope: Scope) -> object:
        """Return the items of a loop with_<lookup>."""

    def runs_once_on(self) -> str | None:
        """Return the host on which tasks with `run_once` run, None if there is only one host."""

    def host(self) -> str: ...

    def become(self, keys: Mapping[str, t.Any], scope: Scope) -> Become | None:
        """Return how to become the user of a task with these keywords `keys`; a None among them: as for the launching task.

        None if it is the user of the launch.
        """


@dataclass(frozen=True, slots=True)
class Defaults:
    """What jobs take over from the task that launches them, unless they set it themselves."""

    timeout: float = 0.0
    check_mode: bool = False
    diff: bool = False
    no_log: bool = False
    limits: Mapping[str, t.Any] = field(default_factory=dict)
    """nice, memory_max, cpu_quota and pool, as far as they are given."""


class Become(t.NamedTuple):
    """How the host starts a process as another user."""

    user: str
    command: tuple[str, ...]
    """A command line around `becoming.PROGRAM`."""


@dataclass(slots=True)
class Step:
    """One task of a job, with all that is needed to make its module call; times in seconds."""

    call: t.Any
    scope: Scope
    environment: dict[str, str]
    check_mode: bool
    diff: bool
    no_log: bool
    name: str = ""
    where: str = ""
    source: object = None
    item: object = ABSENT
    timeout: float = 0.0
    retries: int = 0
    delay: float = defaults.DELAY
    backoff: float = defaults.BACKOFF
    ignore_errors: bool = False
    skip: str | None = None
    contents: t.Any = None
    """Files whose content is known only on the host, see _plan/contents.py."""
    search: tuple[str, ...] = ()
    """Folders that are searched for its files before those of the task that launches."""
    become: Become | None = None
    """None: it runs as the user of the launch."""


@dataclass(slots=True)
class Block:
    """Tasks in order, those that run if one of them fails, and those that run in any case."""

    block: list[Step | Block]
    rescue: list[Step | Block] = field(default_factory=list)
    always: list[Step | Block] = field(default_factory=list)


Body = list[Step | Block]

Node = dict[str, t.Any]
"""A part of a script: see _protocol/plans.py."""


@dataclass(slots=True)
class Job:
    """A job to launch: one task, or one block. It runs after the jobs (by index) that it depends on."""

    name: str
    where: str
    fqcn: str
    timeout: float
    ignore_errors: bool
    no_log: bool
    item: object = ABSENT
    skip: str | None = None
    source: object = None
    body: Body = field(default_factory=list)
    script: Node | None = None
    """Replaces `body` if the host evaluates the tasks. A turn that makes calls has its Step as `step`."""
    always_timeout: float = defaults.ALWAYS_TIMEOUT
    depends_on: list[int] = field(default_factory=list)
    run_when: str = "success"
    retries: int = 0
    delay: float = defaults.DELAY
    backoff: float = defaults.BACKOFF
    nice: int | None = None
    memory_max: int | None = None
    cpu_quota: float | None = None
    """Percent of one processor; memory_max in bytes."""
    pool: str | None = None
    generated: bool = False
    refused: list[JobRefused] = field(default_factory=list)
    """Errors of tasks inside of it. Nothing is launched then, and all of them are reported at once."""


class Refusable(t.Protocol):
    """What a refusal of a job, or of one of its tasks, needs to know of it."""

    name: str
    where: str
    no_log: bool
    source: object


def refusal_of(node: Refusable, key: str | None, text: str | Refused) -> JobRefused:
    """Return why a job or a step is refused; with `no_log` without any value, and with its name as written."""
    if not node.no_log:
        return JobRefused(node.where, node.name, key, str(text), node.source)
    name = node.source.get("name") if isinstance(node.source, Mapping) else None
    return JobRefused(
        node.where, None if name is None else str(name), key, text.hidden if isinstance(text, Refused) else text
    )


def seconds(value: object) -> float:
    """Return a time limit in seconds, 0 for none; raise Refused if `value` cannot be one."""
    try:
        number = float(str(value)) if not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise unfit("it must be a number of seconds", value)
    if number < 0:
        raise unfit("it must be 0 (no limit) or more", value)
    if number > MAX_SECONDS:
        raise unfit(f"it must be {MAX_SECONDS} seconds (ten years) or less, 0 for no limit", value)
    return number
