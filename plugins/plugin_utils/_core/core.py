# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The one file that touches ansible-core's private names, with its parts _core_files, _core_results and _core_roles.

Checked with 2.19.14, 2.20.10 and 2.21.5.

What it needs, the same in all three unless it says otherwise:

- `Templar._engine` with `resolve_to_container`, and, to remember what they return, `_compile_template`, `_compile_expression`;
  `AnsibleTagHelper.tags`;
- `Task._post_validate_args(name, value, engine)`, which merges module_defaults and renders arguments;
- `_get_action_arg_defaults(fqcn, task, engine)`, which gives what module_defaults has for an action, not rendered;
- `Task._parent`, `_play`: kept on copies, for module_defaults and collections; `get_search_path`, replaced on copies;
- of `ActionBase`: `_execute_module`, `_configure_module`, `_update_module_args`, `_find_needle`, `_early_needs_tmp_path`,
  `_low_level_execute_command`, `_discovered_interpreter_key`, `_discovered_interpreter`, `_shared_loader_obj`;
- `Task._variable_manager` with `_vars_cache` and `_nonpersistent_fact_cache`, `get_include_params`, `_role`: what is stronger than the variables of a task;
- `Task.play`, `Play.only_tags`; `ActionBase._supports_async`, without which core refuses `async` before us;
- `Connection.become`, `AnsiblePlugin._options`, `PlayContext.become_pass`, `ActionBase._get_remote_user`, `Connection._shell`;
- `_BuiltModule`: module_style, shebang, b_module_data (2.21 leaves it empty where the file goes as it is),
  serialization_profile;
- `Display._final_q`, whose `send_callback` takes a raw result in 2.19 and 2.20, and host, task and result in 2.21.
"""

from __future__ import annotations

import copy
import json
import typing as t
from collections.abc import Collection, Mapping
from pathlib import Path

from ansible.errors import AnsibleActionSkip, AnsibleConnectionFailure, AnsibleError, AnsibleValueOmittedError
from ansible.executor import module_common
from ansible.module_utils._internal._datatag import AnsibleTagHelper
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.mod_args import ModuleArgsParser
from ansible.parsing.utils.yaml import from_yaml
from ansible.plugins import loader as plugin_loader
from ansible.template import is_trusted_as_template
from ansible.utils.vars import load_extra_vars

from ansible_collections.background.jobs.plugins.plugin_utils._core import become, files, late, roles
from ansible_collections.background.jobs.plugins.plugin_utils._errors import (
    Refused,
    closest,
    nearest,
    plainly,
    refusing,
)
from ansible_collections.background.jobs.plugins.plugin_utils._model import (
    ABSENT,
    FILE,
    Become,
    Home,
    Included,
    Scope,
    Step,
    Variables,
)
from ansible_collections.background.jobs.plugins.plugin_utils._plan import actions
from ansible_collections.background.jobs.plugins.plugin_utils._plan.payloads import COMMAND, Built
from ansible_collections.background.jobs.plugins.plugin_utils._plan.tape import Command, Staged, Work

if t.TYPE_CHECKING:
    from ansible.playbook.task import Task
    from ansible.plugins.action import ActionBase

Arguments = dict[str, t.Any]

_NORMAL = "ansible.legacy.normal"
_INCLUDE_VARS = "ansible.builtin.include_vars"
_MOST_COMPILED = 1000


class Kind(t.NamedTuple):
    """A module, and the action plugin that runs it; shared by all entries that have it."""

    fqcn: str
    task: Task
    handler: ActionBase


class ParsedCall(t.NamedTuple):
    """The module call of an entry, its arguments still templates; shared by all items of the entry's loop."""

    kind: Kind
    arguments: Arguments

    @property
    def fqcn(self) -> str:
        return self.kind.fqcn


class Asked(t.NamedTuple):
    """What an action plugin would run: a module and its arguments, or nothing, for a reason.

    Where it would run more than one, `calls` are all of them, chosen between by `recipe`; `staged` are files they need.
    """

    module: str
    arguments: Arguments
    ignore_unknown: bool
    handler: t.Any
    skip: str | None = None
    calls: tuple[Asked, ...] = ()
    recipe: dict[str, t.Any] | None = None
    staged: tuple[Staged, ...] = ()


class Core:
    """ansible-core, as far as one launch needs it: templating, modules, and what action plugins would run."""

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any]) -> None:
        refuse_unsupported_controller(action)
        self.action = action
        self.lookups: dict[str, t.Any] = {}
        self.files = files.store()
        self._task = action._task
        self.task_vars = task_vars
        self._extra_vars = load_extra_vars(action._loader)
        self._strong = late.MAGIC | set(self._extra_vars)
        self._found_out = {*self._extra_vars, *_found_out(action._task, task_vars)}
        self._templar = action._templar.copy_with_new_env(available_variables=dict(task_vars))
        _remember_compiled(self._templar._engine)
        self._scope: Scope | None = None
        self._kinds: dict[tuple[str, Home], Kind] = {}
        self._calls: dict[t.Any, tuple[object, object, ParsedCall]] = {}
        self.sources = roles.Sources(action._task, action._loader)
        self._users = become.Users(action)
        self._common: dict[t.Any, Arguments] = {}

    def resolve(self, value: object) -> object:
        written = _from_text(value) if isinstance(value, str) else value
        if not isinstance(written, str):
            return written
        self._enter({})
        resolved = refusing(self._templar._engine.resolve_to_container, written)
        # Such as a variable that was given on the command line.
        return _from_text(resolved) if isinstance(resolved, str) else resolved

    def scope(self, defaults: Variables, own: Variables, params: Variables, loop: Variables) -> Scope:
        # As for plain tasks: what was found out with set_fact, register and include_vars wins over the variables of a task,
        # -e over those of an include, and the variables of a loop over all.
        return {
            **{key: value for key, value in defaults.items() if key not in self.task_vars},
            **{key: value for key, value in own.items() if key not in self._found_out},
            **{key: value for key, value in params.items() if key not in self._extra_vars},
            **loop,
        }

    def variable(self, name: str, scope: Scope) -> object:
        if name.startswith(FILE):
            name = name.removeprefix(FILE)
            return late.trusted(late.other_template(self.action._loader, name, {**self.task_vars, **scope}))
        return scope.get(name, self.task_vars.get(name, ABSENT))

    def is_template(self, text: str) -> bool:
        return is_trusted_as_template(text)

    def template(self, value: object, scope: Scope) -> t.Any:
        self._enter(scope)
        try:
            return refusing(self._templar.template, value)
        except AnsibleValueOmittedError:
            return ABSENT

    def holds(self, condition: object, scope: Scope) -> bool:
        self._enter(scope)
        return bool(refusing(self._templar.evaluate_conditional, condition))

    def _enter(self, scope: Scope) -> None:
        if scope is not self._scope:
            self._templar.available_variables = {**self.task_vars, **scope}
            self._scope = scope

    def become(self, keys: Mapping[str, t.Any], scope: Scope) -> Become | None:
        self._enter(scope)
        own = {key: getattr(self._task, key) if value is None else value for key, value in keys.items()}
        return self._users.become(own, self._templar)

    def own_tags(self) -> tuple[str, ...]:
        return tuple(str(tag) for tag in self._task.tags or ())

    def is_left_out(self, tags: Collection[str]) -> bool:
        # As Taggable.evaluate_tags.
        play = self._task.play
        given = set(tags) or {"untagged"}
        return not _is_chosen(given, set(play.only_tags)) or _is_skipped(given, set(play.skip_tags))

    def strong(self) -> Collection[str]:
        return self._strong

    def is_fact(self, name: str) -> bool:
        facts = self.task_vars.get("ansible_facts") or {}
        return name == "ansible_facts" or name in facts or name.removeprefix("ansible_") in facts

    def trusted(self, text: str) -> str:
        return late.trusted(text)

    def recall(self, call: ParsedCall, arguments: Arguments) -> ParsedCall:
        return call._replace(arguments=arguments)

    def looked_up(self, lookup: str, value: object, scope: Scope) -> object:
        self._enter(scope)
        return refusing(late.looked_up, self._templar._engine, lookup, value)

    def read_variables(
        self, options: Mapping[str, t.Any], home: Home, scope: Scope
    ) -> tuple[list[str], Mapping[str, object]]:
        self._enter(scope)
        task = self._copy(_INCLUDE_VARS, home)
        task.async_val = 0  # it is run here and now
        if home.roles:
            task._role = home.roles[0].own
        task.args = dict(options)
        return late.read_variables(
            self._handler(_INCLUDE_VARS, task), t.cast("Arguments", self._templar.available_variables)
        )

    def template_file(
        self, call: ParsedCall, arguments: Mapping[str, t.Any], scope: Scope
    ) -> tuple[str, Arguments, Variables] | None:
        if not late.is_template(call.fqcn):
            return None
        return late.template_file(call.kind.handler, lambda value: self.template(value, scope), arguments)

    def of_play(self) -> dict[str, t.Any]:
        play = self._task.play
        return {
            "core": late.VERSION,
            "play_handlers": late.handlers_of(play, self.template),
            "missing_handlers_fail": late.missing_handlers_fail(),
            "force_handlers": bool(play.force_handlers),
            "inject_facts": late.inject_facts(),
            "verbosity": self.action._display.verbosity,
            "archive": True,
        }

    def runs_once_on(self) -> str | None:
        hosts = self.task_vars.get("ansible_play_batch") or []
        return str(hosts[0]) if len(hosts) > 1 else None

    def host(self) -> str:
        return str(self.task_vars.get("inventory_hostname"))

    def is_module(self, name: str, home: Home) -> bool:
        return (
            name.rpartition(".")[2] in actions.NOT_PLUGINS or self._resolve(name, self._collections(home)) is not None
        )

    def modules_like(self, name: str, home: Home) -> list[str]:
        collection, dot, leaf = name.rpartition(".")
        if not dot:
            return closest(leaf, _modules_of([*(self._collections(home) or ()), "ansible.legacy"]))
        from ansible.collections.list import list_collections  # it brings along all of ansible-galaxy

        known = ["ansible.builtin", "ansible.legacy", *list_collections()]
        within = [collection] if collection in known else closest(collection, known)[:1]
        return [f"{one}.{module}" for one in within for module in closest(leaf, _modules_of([one]))]

    def _collections(self, home: Home) -> list[str] | None:
        # A role has collections of its own, and none of those of the play.
        collections: list[str] | None = list(home.roles[0].collections) if home.roles else self._task.collections
        return collections

    def _resolve(self, name: str, collections: list[str] | None) -> t.Any:
        module = refusing(plugin_loader.module_loader.find_plugin_with_context, name, collection_list=collections)
        if module.resolved and not module.action_plugin:
            action = plugin_loader.action_loader.find_plugin_with_context(name, collection_list=collections)
            return action if action.resolved else module
        if module.resolved:
            return module
        action = refusing(plugin_loader.action_loader.find_plugin_with_context, name, collection_list=collections)
        return action if action.resolved else None

    def arguments(self, action: str, value: object, args: object) -> Arguments:
        source = {action: value} if args is ABSENT else {action: value, "args": args}
        parser = ModuleArgsParser(task_ds=source, collection_list=self._task.collections)
        dummy, arguments, dummy = refusing(parser.parse, skip_action_validation=True)
        return dict(arguments)

    def argument_defaults(self, fqcn: str, scope: Scope) -> Arguments:
        self._enter(scope)
        found = refusing(module_common._get_action_arg_defaults, fqcn, self._task, self._templar._engine)
        return t.cast("Arguments", found)

    def call(self, module: str, value: object, args: object, home: Home) -> ParsedCall:
        kind = self._kinds.get((module, home))
        if kind is None:
            kind = self._kinds[module, home] = self._kind(module, home)
        # By identity: what stands inside of a loop is the same for all items. It is kept so that its identity is.
        key = (module, home, id(value), id(args))
        if key not in self._calls:
            self._calls[key] = (value, args, ParsedCall(kind, self.arguments(module, value, args)))
        return self._calls[key][2]

    def _kind(self, module: str, home: Home) -> Kind:
        actions.refuse(module)
        found = self._resolve(module, self._collections(home))
        if found is None:
            hint = nearest(module, (), also=self.modules_like(module, home))
            raise plainly(
                f"there is no module {module!r}: a typing error, a collection that is not installed, or a key that a job does not have.{hint}"
            )
        actions.refuse(found.resolved_fqcn)
        # A short name that only the collections of a role know is not known where modules are built.
        name = found.resolved_fqcn if home.roles and home.roles[0].collections else module
        task = self._copy(name, home)
        return Kind(found.resolved_fqcn, task, self._handler(name, task))

    def _copy(self, action: str, home: Home) -> Task:
        """Return a task as the launching one, for another action, and where its files are looked for."""
        task = self._task.copy(exclude_parent=True)
        task._parent = self._task._parent
        task.action = action
        # Any number makes action plugins take their async road; the time limit is kept by the host half.
        task.async_val = 1
        task.poll = 0
        if home.roles:
            task.collections = self._collections(home)
        if home.search:
            search = self.sources.search_path(home)
            task.get_search_path = lambda: list(search)  # type: ignore[method-assign]
        return task

    def check_role(self, included: Included, scope: Scope) -> None:
        self._enter(scope)
        task = self._copy(roles.VALIDATE, included.home)
        task.async_val = 0  # it is run here and now
        task.args = refusing(task._post_validate_args, "args", dict(included.spec or {}), self._templar._engine)
        result = refusing(self._handler(roles.VALIDATE, task).run, task_vars=self._templar.available_variables)
        if result.get("failed"):
            text = " ".join(str(result.get("msg")).split())
            raise Refused(f"role {included.home.roles[0].name}: {text.rstrip('.')}.")

    def _handler(self, name: str, task: Task) -> ActionBase:
        """Return the action plugin that core would take; see TaskExecutor._get_action_handler_with_module_context."""
        collections: list[str] | None = task.collections
        module = plugin_loader.module_loader.find_plugin_with_context(name, collection_list=collections)
        if module.resolved and module.action_plugin:
            chosen = module.action_plugin
        elif plugin_loader.action_loader.has_plugin(name, collection_list=collections):
            chosen = name
        else:
            chosen, collections = _NORMAL, None
        handler = plugin_loader.action_loader.get(
            chosen,
            task=task,
            connection=self.action._connection,
            play_context=self.action._play_context,
            loader=self.action._loader,
            templar=self._templar,
            shared_loader_obj=plugin_loader,
            collection_list=collections,
        )
        if handler is None:
            raise plainly(
                f"its action plugin {chosen!r} cannot be loaded. Run the task as a plain one, which says why."
            )
        return t.cast("ActionBase", handler)

    def ask(self, step: Step) -> Asked:
        """Run the action plugin of a step with its remote call caught, and return that call."""
        call: ParsedCall = step.call
        self._enter(step.scope)
        task = call.kind.task
        task.check_mode, task.diff, task.no_log = step.check_mode, step.diff, step.no_log
        task.args = refusing(task._post_validate_args, "args", dict(call.arguments), self._templar._engine)
        if actions.has_controller_half(call.fqcn, task.args, step.check_mode):
            return self._ask_of_controller_half(step)
        handler = copy.copy(call.kind.handler)
        recorder = _Recorder(self.lookups)
        recorder.arm(handler)
        try:
            result = handler.run(task_vars=t.cast("dict[str, t.Any]", self._templar.available_variables))
        except AnsibleActionSkip as exc:
            return Asked("", {}, False, handler, skip=str(exc))
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as exc:
            raise actions.unable(call.fqcn, str(exc)) from exc
        if handler._discovered_interpreter_key:  # by a call that found something out
            self.action._discovered_interpreter_key = handler._discovered_interpreter_key
            self.action._discovered_interpreter = handler._discovered_interpreter
        if recorder.caught is not None:
            return recorder.caught
        if result.get("skipped"):
            return Asked(
                "",
                {},
                False,
                handler,
                skip=str(result.get("msg") or result.get("skipped_reason") or "skipped by its action plugin"),
            )
        raise actions.unable(call.fqcn, str(result["msg"]) if result.get("failed") and result.get("msg") else "")

    def _ask_of_controller_half(self, step: Step) -> Asked:
        handler = step.call.kind.handler
        variables = t.cast("dict[str, t.Any]", self._templar.available_variables)
        work = files.work_of(handler, step.call.fqcn, step, variables, self.files)
        return _asked(work, handler)

    def send_files(self) -> dict[str, t.Any]:
        """Return what the plan says of the files that jobs need, after sending them ahead where they are large.

        May be called again where the connection broke; whoever calls it closes `files`.
        """
        return files.send(self.action, self.files)

    def complete(self, asked: Asked, step: Step) -> Arguments:
        """Return the arguments of a module as it gets them, with those that core adds."""
        key = (asked.module, step.check_mode, step.diff, step.no_log, asked.ignore_unknown, self.overrides(step))
        common = self._common.get(key)
        if common is None:
            common = {}
            asked.handler._update_module_args(
                asked.module, common, self._templar.available_variables, ignore_unknown_opts=asked.ignore_unknown
            )
            # The temporary directory of the launch is gone by the time that the job runs: the module makes its own.
            common["_ansible_tmpdir"] = None
            self._common[key] = common
        return {**asked.arguments, **common}

    def overrides(self, step: Step) -> str:
        """Return what a step's own variables may change about how its module is built: the interpreter above all."""
        names = sorted(name for name in step.scope if name.startswith("ansible_") and name not in _WITHOUT_EFFECT)
        return json.dumps([(name, str(self.template(step.scope[name], step.scope))) for name in names]) if names else ""

    def build(self, asked: Asked, arguments: Arguments, step: Step) -> Built:
        """Return what core would send to the host to run a module with these arguments."""
        self._enter(step.scope)
        templar, self.action._templar = self.action._templar, self._templar
        try:
            bits, path = self.action._configure_module(asked.module, arguments, self._templar.available_variables)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as exc:
            raise Refused(f"its module cannot be sent: {exc}") from exc
        finally:
            self.action._templar = templar
        shebang = bits.shebang or ""
        if str(path).endswith(".ps1") or getattr(bits, "has_async", False):
            raise plainly(
                "it is a PowerShell module, and those cannot run in the background here. Use a plain task with 'async' and 'poll: 0'."
            )
        data = bits.b_module_data
        if not data or bits.module_style == "binary":
            data = Path(path).read_bytes()
        name = self.action._connection._shell.get_remote_filename(path)
        return Built(
            style=bits.module_style,
            shebang=shebang,
            data=data,
            name=f"AnsiballZ_{name}",
            profile=bits.serialization_profile,
        )


def _from_text(text: str) -> object:
    """Return the tasks that a text is the YAML or JSON of, as on a command line; the text itself where it is none.

    Only of a text that may hold templates, as what is written in a playbook or typed: what a host says is no playbook.
    """
    if not is_trusted_as_template(text):
        return text
    try:
        found = from_yaml(text)
    except AnsibleError as exc:
        if "{{" in text or "{%" in text:  # a template, which stands for tasks
            return text
        raise Refused(f"it is not the YAML or JSON of tasks: {' '.join(str(exc).split()).rstrip('.')}.") from exc
    return found if isinstance(found, (dict, list)) else text


def _modules_of(collections: list[str]) -> list[str]:
    """Return the names of modules, without their collections."""
    from ansible.plugins.list import list_plugins  # as above

    found: Collection[str] = refusing(list_plugins, "module", collections)
    return list(dict.fromkeys(name.rpartition(".")[2] for name in found))


def _asked(work: Work, handler: ActionBase) -> Asked:
    calls = tuple(
        Asked(COMMAND, {"command": list(call.words)}, False, handler)
        if isinstance(call, Command)
        else Asked(call.module, call.arguments, call.ignore_unknown, handler)
        for call in work.calls
    )
    main = calls[0] if calls else Asked("", {}, False, handler)
    return main._replace(calls=calls, recipe=work.recipe, staged=tuple(work.staged))


# What a loop or a role adds, and what has no effect on how a module is built.
_WITHOUT_EFFECT = frozenset(
    (
        "ansible_loop_var",
        "ansible_index_var",
        "ansible_loop",
        "ansible_search_path",
        "ansible_role_name",
        "ansible_collection_name",
        "ansible_parent_role_names",
        "ansible_parent_role_paths",
    )
)


class _Recorder:
    """Stands in for the remote calls of one run of an action plugin."""

    def __init__(self, lookups: dict[str, t.Any]) -> None:
        self.caught: Asked | None = None
        self.lookups = lookups
        self.looking_up = False

    def arm(self, handler: t.Any) -> None:
        really_execute, really_command = handler._execute_module, handler._low_level_execute_command

        def execute(module_name: str | None = None, module_args: t.Any = None, *rest: t.Any, **more: t.Any) -> t.Any:
            module = module_name or handler._task.action
            arguments = dict(handler._task.args if module_args is None else module_args)
            if more.get("wrap_async"):
                return self.catch(Asked(module, arguments, bool(more.get("ignore_unknown_opts")), handler))
            return self.look_up(really_execute, module, arguments, *rest, **more)

        def command(*rest: t.Any, **more: t.Any) -> t.Any:
            if self.looking_up:
                return really_command(*rest, **more)
            raise plainly(
                "its action plugin runs commands on the host itself, which cannot be put off to a job. Use a plain task."
            )

        def needle(*dummy: t.Any) -> t.Any:
            raise plainly(actions.TRANSFERS)

        handler._execute_module = execute
        handler._low_level_execute_command = command
        handler._find_needle = needle
        handler._early_needs_tmp_path = lambda: False
        # An action plugin may hand on to another one, as that of shell does to that of command.
        handler._shared_loader_obj = _Loaders(self)

    def catch(self, asked: Asked) -> Arguments:
        if self.caught is not None:
            raise plainly("its action plugin runs more than one module. Use a plain task.")
        self.caught = asked
        return {"changed": True, "started": True, "finished": False, "ansible_job_id": "0.0"}

    def look_up(
        self, really: t.Callable[..., t.Any], module: str, arguments: Arguments, *rest: t.Any, **more: t.Any
    ) -> t.Any:
        """Make a call that finds something out, once a launch; refuse one that may change something."""
        if not actions.only_looks(module):
            raise plainly(f"its action plugin runs {module!r} itself before the job could start. Use a plain task.")
        key = json.dumps([module, arguments], sort_keys=True, default=str)
        if key not in self.lookups:
            self.looking_up = True
            try:
                self.lookups[key] = really(module, arguments, *rest, **more)
            finally:
                self.looking_up = False
        return copy.deepcopy(self.lookups[key])


class _Loaders:
    """`ansible.plugins.loader`, whose action plugins come with their remote calls caught."""

    def __init__(self, recorder: _Recorder) -> None:
        self._recorder = recorder
        self.action_loader = self

    def __getattr__(self, name: str) -> t.Any:
        source = plugin_loader if hasattr(plugin_loader, name) else plugin_loader.action_loader
        return getattr(source, name)

    def get(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        handler = plugin_loader.action_loader.get(*args, **kwargs)
        if handler is not None and not isinstance(handler, type):
            self._recorder.arm(handler)
        return handler


def _is_chosen(tags: set[str], only: set[str]) -> bool:
    if not only or "always" in tags or tags & only:
        return True
    if "never" in tags:
        return False
    return "all" in only or ("tagged" in only and tags != {"untagged"})


def _is_skipped(tags: set[str], skipped: set[str]) -> bool:
    if "all" in skipped:
        return "always" not in tags or "always" in skipped
    return bool(tags & skipped) or ("tagged" in skipped and tags != {"untagged"})


def _found_out(task: Task, task_vars: Mapping[str, t.Any]) -> t.Iterator[str]:
    """Return the variables that earlier tasks have set for this host, and those that includes of the launching task hand on."""
    manager, host = task._variable_manager, task_vars.get("inventory_hostname")
    if manager is not None:
        yield from manager._vars_cache.get(host, ())
        yield from manager._nonpersistent_fact_cache.get(host, ())
    yield from task.get_include_params()
    if task._role is not None:
        yield from task._role.get_role_params(task.get_dep_chain())


def _remember_compiled(engine: t.Any) -> None:
    """Keep templates that were compiled: all items of a loop have the same ones, and compiling is most of the work."""
    for name in ("_compile_template", "_compile_expression"):
        compile_one = getattr(engine, name, None)
        if compile_one is not None:
            setattr(engine, name, _remembering(compile_one))


def _remembering(compile_one: t.Callable[[str, t.Any], t.Any]) -> t.Callable[[str, t.Any], t.Any]:
    # With its tags, such as its place in a file: equal texts may differ in them.
    compiled: dict[t.Any, t.Any] = {}

    def remembering(text: str, options: t.Any) -> t.Any:
        key = (str.__str__(text), AnsibleTagHelper.tags(text), options)
        try:
            hash(key)
        except TypeError:  # as of `args` that are one template
            return compile_one(text, options)
        if key not in compiled:
            if len(compiled) >= _MOST_COMPILED:
                compiled.clear()
            compiled[key] = compile_one(text, options)
        return compiled[key]

    return remembering


def flag(action: ActionBase, task_vars: Mapping[str, t.Any], name: str, default: bool) -> bool:
    """Return what a variable that switches something says; false where it is no word for true."""
    return bool(boolean(refusing(action._templar.template, task_vars.get(name, default)), strict=False))


_LAUNCHING = (
    "it launches in the background already. Leave out 'async' and 'poll': 'timeout' limits the jobs, "
    "and with 'wait: true' the task waits for them."
)
_OTHER_THAN_LAUNCHING = "it is not for the background. Leave out 'async' and 'poll'."
_INSTEAD_OF_ASYNC = {
    "async_batch": _LAUNCHING,
    "async_run": _LAUNCHING,
    "async_wait": "it is what waits. Leave out 'async' and 'poll' (or write 'poll' as an option): 'timeout' limits the wait.",
}


def refuse_unsupported_controller(action: ActionBase) -> None:
    """Refuse `async` on our own tasks, Windows hosts, and Mitogen, which replaces the calls that a launch is made of."""
    if action._task.async_val:
        verb = str(action._task.action).rpartition(".")[2]
        raise plainly(f"'async' on a task of {verb}: {_INSTEAD_OF_ASYNC.get(verb, _OTHER_THAN_LAUNCHING)}")
    action._supports_async = False  # as it is: 2.21 lets no action that supports it hand on facts
    if getattr(action._connection._shell, "_IS_WINDOWS", False):
        raise Refused("this host runs Windows, where background.jobs does not work. Use 'async' and 'poll: 0' there.")
    if any(base.__module__.split(".")[0] in ("ansible_mitogen", "mitogen") for base in type(action).__mro__):
        raise Refused(
            "Mitogen is active, and background.jobs does not work under it. Use another strategy (such as linear) for this play."
        )


def hand_on_discovered_interpreter(action: ActionBase, result: Arguments) -> None:
    """Make known which Python was found on the host, as `_execute_module` does, so that later tasks need not look again."""
    key = action._discovered_interpreter_key
    if not key:
        return
    register = getattr(action, "register_host_variables", None)
    if register is not None:  # 2.21: beside the result
        from ansible.plugins.action import VariableLayer

        register({key: action._discovered_interpreter}, layer=VariableLayer.CACHEABLE_FACT)
    else:
        result["ansible_facts"] = {key: action._discovered_interpreter}


def send_poll_event(action: ActionBase, task_vars: Mapping[str, t.Any], views: list[Arguments]) -> None:
    """Tell callbacks that follow core's async polls; without effect where this version does it otherwise."""
    view = next((view for view in views if not view["finished"]), None)
    queue = getattr(action._display, "_final_q", None)
    if view is None or queue is None:
        return
    from ansible.executor import task_result
    from ansible.inventory.host import Host

    host = Host(str(task_vars.get("inventory_hostname")))
    result = {"ansible_job_id": view["ansible_job_id"], "started": True, "finished": False, "changed": False}
    raw_result = getattr(task_result, "_RawTaskResult", None)  # 2.19, 2.20
    try:
        if raw_result is not None:
            told: tuple[t.Any, ...] = (raw_result(host, action._task, result, action._task.dump_attrs()),)
        else:
            from ansible._internal._task import UnifiedTaskResult  # 2.21

            told = (host, action._task, UnifiedTaskResult.from_action_result_dict(result))
        queue.send_callback("v2_runner_on_async_poll", *told)
    except (AttributeError, ImportError, TypeError) as exc:
        action._display.vvv(f"callbacks were not told of the poll: {exc}")
