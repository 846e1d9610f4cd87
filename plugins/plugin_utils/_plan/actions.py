# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Which action plugins cannot work in a job, why, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused, plainly

# Actions of playbooks that are not plugins.
NOT_PLUGINS = frozenset(
    ("meta", "include_tasks", "include_role", "import_tasks", "import_role", "include", "import_playbook")
)

TRANSFERS = (
    "it transfers files from the controller, which works in background jobs only for copy, template, unarchive, assemble, "
    "script and uri of ansible-core. Put the files on the host with a plain task first, and let the job read them there (remote_src: true)."
)
_CONTROLLER = "it does its work on the controller. Put it in a plain task before the launch, or after the wait."
_INCLUDE = "it adds tasks to the play, which a job cannot do. Write the tasks themselves, each as an entry."

REFUSED = {
    "add_host": _CONTROLLER,
    "async_status": "use background.jobs.async_wait after the launch.",
    "fetch": "it brings files to the controller. Fetch them with a plain task after the wait.",
    "gather_facts": "it sets facts on the controller. Use ansible.builtin.setup, whose facts come in the job's result.",
    "group_by": _CONTROLLER,
    "import_playbook": _INCLUDE,
    "include": _INCLUDE,
    "raw": "it runs without a module, so nothing could watch it. Use ansible.builtin.shell.",
    "reboot": "it waits for the host on the controller. Use a plain task.",
    "set_stats": _CONTROLLER,
    "validate_argument_spec": _CONTROLLER,
    "wait_for_connection": _CONTROLLER,
}

# Their action plugins find, render and transfer files: that is done at launch, the rest when the job runs.
_CONTROLLER_HALF = frozenset(
    f"{collection}.{leaf}"
    for collection in ("ansible.builtin", "ansible.legacy")
    for leaf in ("assemble", "copy", "script", "template", "unarchive")
)

_URI = frozenset(("ansible.builtin.uri", "ansible.legacy.uri"))

_LOOKS = ("setup", "gather_facts", "stat", "getent", "package_facts", "service_facts")


def refuse(name: str) -> None:
    """Raise Refused if `name` is an action of ansible-core, or of this collection, that cannot be a job."""
    collection, dummy, leaf = name.rpartition(".")
    if collection in ("", "ansible.builtin", "ansible.legacy") and leaf in REFUSED:
        raise plainly(f"{leaf} cannot run in the background: {REFUSED[leaf]}")
    if collection == "background.jobs":
        raise plainly("jobs cannot launch or wait for jobs. Put it in a task of its own.")


# The options by which action plugins decide what to do: they have to be known at launch.
_DECIDING = {
    "assemble": ("decrypt", "delimiter", "regexp", "remote_src", "src", "ignore_hidden"),
    "copy": ("decrypt", "directory_mode", "local_follow", "remote_src", "src"),
    "dnf": ("use", "use_backend"),
    "package": ("use",),
    "service": ("use",),
    "template": (
        "block_end_string",
        "block_start_string",
        "comment_end_string",
        "comment_start_string",
        "lstrip_blocks",
        "newline_sequence",
        "output_encoding",
        "src",
        "trim_blocks",
        "variable_end_string",
        "variable_start_string",
    ),
    "unarchive": ("copy", "decrypt", "remote_src", "src"),
    "uri": ("body_format", "remote_src", "src"),
}


def is_script(fqcn: str) -> bool:
    return fqcn in ("ansible.builtin.script", "ansible.legacy.script")


LATE_AS_A_WHOLE = frozenset(("content",))
"""Options that an action plugin turns into one text, whatever their values."""


def decides(fqcn: str, option: str, arguments: Mapping[str, object]) -> bool:
    """Whether the action plugin of a module decides by this option, on the controller, what to do.

    arguments: all arguments of the task, as written.
    """
    if option == "src" and boolean(arguments.get("remote_src", False), strict=False):
        return False  # the module reads it on the host
    return option in _DECIDING.get(fqcn.rpartition(".")[2], ())


def has_controller_half(fqcn: str, arguments: Mapping[str, object], check_mode: bool) -> bool:
    """Whether this action hands over files with these arguments, and can do so for a job."""
    if fqcn in _URI:  # in check mode it is skipped before that
        sends = arguments.get("src") or arguments.get("body_format") == "form-multipart"
        return bool(sends) and not boolean(arguments.get("remote_src", False), strict=False) and not check_mode
    return fqcn in _CONTROLLER_HALF


def only_looks(module: str) -> bool:
    """Whether an action plugin may run `module` at launch, because that only gathers information and changes nothing."""
    leaf = module.rpartition(".")[2]
    return leaf in _LOOKS or leaf.endswith(("_facts", "_info"))


def unable(fqcn: str, text: str) -> Refused:
    """Return why an action plugin that made no module call can't be a job; text: its message, if any."""
    if not text:
        return plainly(
            f"{fqcn} does its work on the controller and calls no module that could run in the background. Use a plain task."
        )
    if "does not support async" in text:
        return plainly(
            f"{fqcn} cannot run in the background: its action plugin does not support async. Use a plain task."
        )
    return Refused(text if text.endswith(".") else f"{text}.")
