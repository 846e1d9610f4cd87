# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""What modules import is looked through once a launch, and not once for each of its modules, which is most of building them.

The private names of ansible-core that this takes are listed in core.py.
"""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterator

from ansible.executor import module_common

_UTILITIES = "module_utils"


@contextlib.contextmanager
def looked_through_once() -> Iterator[None]:
    """While this lasts, ansible-core remembers which files there are that modules import, and what these import."""
    imports = _Imports()
    with contextlib.ExitStack() as stack:
        for owner, name, remembering in (
            (module_common, "_compile_module_ast", imports.compiling),
            (module_common.ModuleDepFinder, "__init__", imports.finding),
            (module_common.LegacyModuleUtilLocator, "__init__", _locating),
        ):
            really = getattr(owner, name)
            stack.callback(setattr, owner, name, really)
            setattr(owner, name, remembering(really))
        yield


class _Imports:
    """What each utility imports. Not what modules do: each of them is built once, and core looks at its syntax tree."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, object]] = {}  # by the name of the utility

    def compiling(self, really: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        # By 2.19 and 2.20 before they look; 2.21 does while it looks.
        return lambda name, source: None if name in self._found else really(name, source)

    def finding(self, really: t.Callable[..., None]) -> t.Callable[..., None]:
        def find(finder: t.Any, name: str, source: object, *args: t.Any, **options: t.Any) -> None:
            if name in self._found:
                vars(finder).update(self._found[name])
                return
            really(finder, name, source, *args, **options)
            if _UTILITIES in name.split("."):
                # The syntax trees of them all take much memory.
                self._found[name] = {key: value for key, value in vars(finder).items() if key not in ("tree", "_tree")}

        return find


def _locating(really: t.Callable[..., None]) -> t.Callable[..., None]:
    located: dict[t.Any, dict[str, object]] = {}

    def locate(locator: t.Any, parts: tuple[str, ...], mu_paths: list[str], **options: bool) -> None:
        key = (parts, tuple(mu_paths), *sorted(options.items()))
        if key in located:
            vars(locator).update(located[key])
            return
        really(locator, parts, mu_paths=mu_paths, **options)
        located[key] = vars(locator)

    return locate
