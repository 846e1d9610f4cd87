# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The interface to ansible-core. Only this file and those beside it touch core's private names.

Checked with 2.19.14, 2.20.10 and 2.21.5.

What it needs, the same in all three unless it says otherwise:

- `Templar._engine` with `resolve_to_container`, and, to cache what they return, `_compile_template`, `_compile_expression`;
  `AnsibleTagHelper.tags`;
- `Task._post_validate_args(name, value, engine)`, which merges module_defaults and renders arguments;
- `_get_action_arg_defaults(fqcn, task, engine)`, which returns the module_defaults of an action, not rendered;
- `Task._parent`, `_play`: kept on copies, for module_defaults and collections; `get_search_path`, replaced on copies;
- of `ActionBase`: `_execute_module`, `_configure_module`, `_update_module_args`, `_find_needle`, `_early_needs_tmp_path`,
  `_low_level_execute_command`, `_discovered_interpreter_key`, `_discovered_interpreter`, `_shared_loader_obj`;
- `Task._variable_manager` with `_vars_cache` and `_nonpersistent_fact_cache`, `get_include_params`, `_role`: what overrides the variables of a task;
- `Task.play`, `Play.only_tags`; `ActionBase._supports_async`, without which core refuses `async` before us;
- `Connection.become`, `AnsiblePlugin._options`, `PlayContext.become_pass`, `ActionBase._get_remote_user`, `Connection._shell`;
- `_BuiltModule`: module_style, shebang, b_module_data (2.21 leaves it empty if the file is sent as it is),
  serialization_profile;
- of `module_common`: `_compile_module_ast`, `ModuleDepFinder` and `LegacyModuleUtilLocator`, whose objects are only read once they are
  made, to remember what they find; `_MODULE_UTILS_PATH`, `module_utils_loader._get_paths`: where utilities are searched for;
- `_get_ansible_module_fqn`, `_CachedModule`, and the folder `ansiballz_cache` in DEFAULT_LOCAL_TMP: what core has built;
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
from ansible.parsing.utils.yaml import from_yaml
from ansible.template import is_trusted_as_template

from ansible_collections.background.jobs.plugins.plugin_utils._core import (
    become,
    calls,
    compiling,
    files,
    late,
    own_task,
    precedence,
    roles,
)
from ansible_collections.background.jobs.plugins.plugin_utils._core import tags as tags_of_play
from ansible_collections.background.jobs.plugins.plugin_utils._core.asking import Asked, Recorder, asked_by
from ansible_collections.background.jobs.plugins.plugin_utils._errors import (
    Refused,
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
from ansible_collections.background.jobs.plugins.plugin_utils._plan.payloads import Built

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

Arguments = dict[str, t.Any]

_INCLUDE_VARS = "ansible.builtin.include_vars"


class Core:
    """ansible-core, as far as one launch needs it: templating, modules, and what action plugins would run."""

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any]) -> None:
        own_task.refuse_unsupported_controller(action)
        self.action = action
        self.lookups: dict[str, t.Any] = {}
        self.files = files.store()
        self._task = action._task
        self.task_vars = task_vars
        self._known = precedence.Known(action, task_vars)
        self._templar = action._templar.copy_with_new_env(available_variables=dict(task_vars))
        compiling.remember(self._templar._engine)
        self._scope: Scope | None = None
        self.sources = roles.Sources(action._task, action._loader)
        self._calls = calls.Calls(action, self._templar, self.sources)
        self._users = become.Users(action)
        self._common: dict[t.Any, Arguments] = {}

    def resolve(self, value: object) -> object:
        written = _from_text(value) if isinstance(value, str) else value
        if not isinstance(written, str):
            return written
        self._enter({})
        resolved = refusing(self._templar._engine.resolve_to_container, written)
        # For example a variable from the command line.
        return _from_text(resolved) if isinstance(resolved, str) else resolved

    def scope(self, defaults: Variables, own: Variables, params: Variables, loop: Variables) -> Scope:
        return self._known.scope(defaults, own, params, loop)

    def variable(self, name: str, scope: Scope) -> object:
        if name.startswith(FILE):
            variables = {**self.task_vars, **scope}
            return late.other_templates(self.action._loader, name, variables, lambda text: self.template(text, scope))
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
        return tags_of_play.is_left_out(tags, self._task.play)

    def strong(self) -> Collection[str]:
        return self._known.strong

    def set_before(self) -> Collection[str]:
        return self._known.set_before

    def is_fact(self, name: str) -> bool:
        facts = self.task_vars.get("ansible_facts") or {}
        return name == "ansible_facts" or name in facts or name.removeprefix("ansible_") in facts

    def trusted(self, text: str) -> str:
        return late.trusted(text)

    def recall(self, call: calls.ParsedCall, arguments: Arguments) -> calls.ParsedCall:
        return call._replace(arguments=arguments)

    def looked_up(self, lookup: str, value: object, scope: Scope) -> object:
        self._enter(scope)
        return refusing(late.looked_up, self._templar._engine, lookup, value)

    def read_variables(
        self, options: Mapping[str, t.Any], home: Home, scope: Scope
    ) -> tuple[list[str], Mapping[str, object]]:
        self._enter(scope)
        task = self._calls.copy_of_task(_INCLUDE_VARS, home)
        task.async_val = 0  # it runs at once, on the controller
        if home.roles:
            task._role = home.roles[0].own
        task.args = dict(options)
        return late.read_variables(
            self._calls.handler(_INCLUDE_VARS, task), t.cast("Arguments", self._templar.available_variables)
        )

    def template_file(
        self, call: calls.ParsedCall, arguments: Mapping[str, t.Any], scope: Scope
    ) -> tuple[str, Arguments, Variables] | None:
        if not late.is_template(call.fqcn):
            return None
        return late.template_file(call.kind.handler, lambda value: self.template(value, scope), arguments)

    def of_play(self, roles: Collection[object]) -> dict[str, t.Any]:
        play = self._task.play
        return {
            "core": late.VERSION,
            "play_handlers": late.handlers_of(play, self.template, roles),
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
        return self._calls.is_module(name, home)

    def modules_like(self, name: str, home: Home) -> list[str]:
        return self._calls.modules_like(name, home)

    def arguments(self, action: str, value: object, args: object) -> Arguments:
        return self._calls.arguments(action, value, args)

    def argument_defaults(self, fqcn: str, scope: Scope) -> Arguments:
        self._enter(scope)
        found = refusing(module_common._get_action_arg_defaults, fqcn, self._task, self._templar._engine)
        return t.cast("Arguments", found)

    def call(self, module: str, value: object, args: object, home: Home) -> calls.ParsedCall:
        return self._calls.call(module, value, args, home)

    def check_role(self, included: Included, scope: Scope) -> None:
        self._enter(scope)
        task = self._calls.copy_of_task(roles.VALIDATE, included.home)
        task.async_val = 0  # it runs at once, on the controller
        task.args = refusing(task._post_validate_args, "args", dict(included.spec or {}), self._templar._engine)
        result = refusing(self._calls.handler(roles.VALIDATE, task).run, task_vars=self._templar.available_variables)
        if result.get("failed"):
            text = " ".join(str(result.get("msg")).split())
            raise Refused(f"role {included.home.roles[0].name}: {text.rstrip('.')}.")

    def ask(self, step: Step) -> Asked:
        """Run the action plugin of a step with its remote call caught, and return that call."""
        call: calls.ParsedCall = step.call
        self._enter(step.scope)
        task = call.kind.task
        task.check_mode, task.diff, task.no_log = step.check_mode, step.diff, step.no_log
        task.args = refusing(task._post_validate_args, "args", dict(call.arguments), self._templar._engine)
        if actions.has_controller_half(call.fqcn, task.args, step.check_mode):
            return self._ask_of_controller_half(step)
        handler = copy.copy(call.kind.handler)
        recorder = Recorder(self.lookups)
        recorder.arm(handler)
        try:
            result = handler.run(task_vars=t.cast("dict[str, t.Any]", self._templar.available_variables))
        except AnsibleActionSkip as exc:
            return Asked("", {}, False, handler, skip=str(exc))
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as exc:
            raise actions.unable(call.fqcn, str(exc)) from exc
        if handler._discovered_interpreter_key:  # by a call that gathered information
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
        return asked_by(work, handler)

    def send_files(self) -> dict[str, t.Any]:
        """Return the part of the plan for the files that jobs need, after sending them ahead if they are large.

        May be called again if the connection broke; the caller closes `files`.
        """
        return files.send(self.action, self.files)

    def complete(self, asked: Asked, step: Step) -> Arguments:
        """Return the final arguments of a module, with those that core adds."""
        key = (asked.module, step.check_mode, step.diff, step.no_log, asked.ignore_unknown, self.overrides(step))
        common = self._common.get(key)
        if common is None:
            common = {}
            asked.handler._update_module_args(
                asked.module, common, self._templar.available_variables, ignore_unknown_opts=asked.ignore_unknown
            )
            # The temporary directory of the launch is gone when the job runs: the module makes its own.
            common["_ansible_tmpdir"] = None
            self._common[key] = common
        return {**asked.arguments, **common}

    def overrides(self, step: Step) -> str:
        """Return those variables of a step that may change how its module is built, above all the interpreter."""
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
    """Return the tasks in a text of YAML or JSON, as on a command line; the text itself if it holds none.

    Only trusted text is parsed, from a playbook or the command line: text from a host is never a playbook.
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


# Variables from loops and roles, which do not affect how a module is built.
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
