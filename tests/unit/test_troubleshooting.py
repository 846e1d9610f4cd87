# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide to troubleshooting has each message of the code, and no other.

A message is a string of some words in the sources, a `…` for what is put into it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
GUIDE = PLUGINS.parent / "docs" / "docsite" / "rst" / "guide_troubleshooting.rst"
# * ``a message``, ``another`` and ``a third``: why, and what to do
ENTRY = re.compile(r"^\* ((?:``.+?``(?:, | and )?)+): (.*)$", re.MULTILINE)
# Who speaks to users. What modules/ and doc_fragments/ say is documentation.
SPEAKERS = ("action", "filter", "plugin_utils", "module_utils")
FEWEST_WORDS = 3
# On a host, templates, loops and tasks fail in the words of ansible-core, so that a job's result is that of its task.
# Our own words are about what the host cannot do, and name it, the controller, or what one of them lacks.
CORES_ROOM = PLUGINS / "module_utils" / "_late"
OUR_WORDS = re.compile(r"\b(?:hosts?|controller|Jinja2)\b")
# Words of ansible-core elsewhere: recognised, or said because the task would say so.
CORES_WORDS = {
    "Conditional result was False",
    "Failed to get information on remote file (…): …",
    "Found internal 'results' key in module return, renamed to 'ansible_module_results'.",
    "Module invocation had junk after the JSON data: …",
    "Task failed: Action failed: Unknown error.",
    "Task failed: Module failed: Unknown error.",
    "The command exited with a non-zero return code.",
    "Unexpected AnsibleActionFail error:",
    "does not support async",
    "non-zero return code",
    "the output has been hidden due to the fact that 'no_log: true' was specified for this result",
}
# What follows the colon of three messages that are documented: 'What the host answered cannot be right, ...: it ...', and the
# same of what it was asked, and of a plan; and what a host tells the controller alone, and a page its reader.
DETAILS = (
    "plugin_utils/_host/replies.py",
    "plugin_utils/_verbs/timeline_html.py",
    "module_utils/_protocol/packing.py",
    "module_utils/_protocol/plans.py",
    "module_utils/_protocol/requests.py",
    "module_utils/_protocol/shapes.py",
    "module_utils/_protocol/shared.py",
    "module_utils/_verbs/short_program.py",
)
# What tells of a mistake in this code, or is caught where it comes from: some texts, and some exceptions.
NEVER_SHOWN = {
    "it has what only the host knows, and this launch takes no scripts.",
    "nothing was added",
    "these are no notes",
}
FOR_PROGRAMMERS = {"TypeError", "KeyError", "AttributeError", "ImportError", "IllegalTransition", "BatchExists"}
# Calls whose strings are names or programs, and variables that hold documentation.
NAMES_AND_PROGRAMS = {"namedtuple", "compile"}
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
# Marks of a picture, a pattern, a template, a program, or of what Docker says.
NO_MESSAGE = re.compile(r"<\w|ARGUMENTS =|^\^|\{%|^import |import main|from daemon")


def messages() -> dict[str, str]:
    """Return each message, with the first place in the code that has it."""
    found: dict[str, str] = {}
    for speaker in SPEAKERS:
        for path in sorted((PLUGINS / speaker).rglob("*.py")):
            place = path.relative_to(PLUGINS).as_posix()
            if place not in DETAILS:
                for text, line in sentences(ast.parse(path.read_text())):
                    if text not in CORES_WORDS | NEVER_SHOWN and (
                        CORES_ROOM not in path.parents or OUR_WORDS.search(text)
                    ):
                        found.setdefault(text, f"{place}:{line}")
    return found


def sentences(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Return the text and the line of each string that has some words, with blanks between them."""
    silent = {id(node) for part in ast.walk(tree) for node in not_said(part)}
    for node in ast.walk(tree):
        if id(node) not in silent and is_message(text := written(node)):
            yield text, node.lineno


def is_message(text: str) -> bool:
    words = min(len(re.findall(r"[^\W\d_]{2,}", text)), text.count(" ") + 1)
    return words >= FEWEST_WORDS and not NO_MESSAGE.search(text)


def not_said(node: ast.AST) -> Iterator[ast.AST]:
    """Return those nodes below `node` that hold strings which are said to nobody, or as part of a longer one."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield from node.values
    elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in DOCUMENTATION:
        yield node.value
    elif isinstance(node, ast.Call) and called(node) in NAMES_AND_PROGRAMS | FOR_PROGRAMMERS:
        yield from ast.walk(node)


def called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def written(node: ast.AST) -> str:
    """Return the text of a string, a `…` for each thing that is put into it; nothing for what is no string."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = re.sub(r"%(?:[sdr]|[.\d]*[gfd])|\{\w+!r\}", "…", node.value).replace("%%", "%")
    else:
        return ""
    return re.sub(r"\.…+", ". …", re.sub("…+", "…", " ".join(text.split())))


def entries() -> dict[str, str]:
    """Return each message of the guide, with what is said about it."""
    found = ENTRY.findall(GUIDE.read_text())
    return {text: said.strip() for texts, said in found for text in re.findall(r"``(.+?)``", texts)}


def test_the_guide_has_each_message_of_the_code() -> None:
    missing = [f"{place}: {text}" for text, place in messages().items() if text not in entries()]
    assert not missing, "add to guide_troubleshooting.rst, with its cause and cure:\n" + "\n".join(missing)


def test_the_code_has_each_message_of_the_guide() -> None:
    gone = entries().keys() - messages().keys()
    assert not gone, "no longer in the code:\n" + "\n".join(sorted(gone))


def test_the_guide_says_something_about_each() -> None:
    assert not [text for text, said in entries().items() if len(said.split()) < 2]
    assert GUIDE.read_text().count("\n* ``") == len(ENTRY.findall(GUIDE.read_text()))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise Refused(f"there is no file {name!r}.")', ["there is no file …."]),
        ('fail(msg="cannot read %s: %s" % (path, exc))', []),
        ('fail(msg="it cannot read %s: %s" % (path, exc))', ["it cannot read …: …"]),
        ('WHY = ("it is here, "\n "and not there")', ["it is here, and not there"]),
        ('f"no such thing.{hint}"', ["no such thing. …"]),
        ('def f():\n    """Return what is of no interest."""', []),
        ('raise TypeError("this cannot happen at all")', []),
    ],
)
def test_messages_are_found(source: str, found: list[str]) -> None:
    assert [text for text, dummy in sentences(ast.parse(source))] == found
