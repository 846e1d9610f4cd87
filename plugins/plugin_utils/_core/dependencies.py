# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Has the imports of modules searched once per launch, and not once for each module, as that is most of building them.

The private names of ansible-core that this needs are listed in core.py.
"""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterator

from ansible.executor import module_common

_UTILITIES = "module_utils"


@contextlib.contextmanager
def looked_through_once() -> Iterator[None]:
    """While this lasts, ansible-core remembers which files modules import, and what these import."""
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
    """The imports of each utility. Not of modules: each is built only once, and core needs its syntax tree."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, object]] = {}  # by the name of the utility

    def compiling(self, really: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        # 2.19 and 2.20 compile before the search, 2.21 during it.
        return lambda name, source: None if name in self._found else really(name, source)

    def finding(self, really: t.Callable[..., None]) -> t.Callable[..., None]:
        def find(finder: t.Any, name: str, source: object, *args: t.Any, **options: t.Any) -> None:
            if name in self._found:
                vars(finder).update(self._found[name])
                return
            really(finder, name, source, *args, **options)
            if _UTILITIES in name.split("."):
                # Not the syntax trees, which would take much memory.
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
