# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""The parts of Jinja2 that the evaluation uses. Jinja2 comes in the archive of a launch: see archive.py."""

from __future__ import annotations

try:
    from jinja2 import (
        FunctionLoader,
        StrictUndefined,
        TemplateSyntaxError,
        UndefinedError,
        defaults,
        pass_context,
        pass_environment,
    )
    from jinja2 import filters as jinja_filters
    from jinja2.lexer import Lexer
    from jinja2.nativetypes import NativeCodeGenerator
    from jinja2.runtime import Context, Macro
    from jinja2.sandbox import SandboxedEnvironment
    from jinja2.utils import missing

    PRESENT = True
except ImportError:  # ansible-test imports every file, even without Jinja2
    FunctionLoader = StrictUndefined = Lexer = NativeCodeGenerator = Context = Macro = SandboxedEnvironment = object  # type: ignore[assignment,misc]
    TemplateSyntaxError = UndefinedError = Exception  # type: ignore[assignment,misc]
    defaults = jinja_filters = missing = None  # type: ignore[assignment]
    PRESENT = False

    def pass_context(function):  # type: ignore[misc]
        return function

    pass_environment = pass_context


__all__ = (
    "PRESENT",
    "Context",
    "FunctionLoader",
    "Lexer",
    "Macro",
    "NativeCodeGenerator",
    "SandboxedEnvironment",
    "StrictUndefined",
    "TemplateSyntaxError",
    "UndefinedError",
    "defaults",
    "jinja_filters",
    "missing",
    "pass_context",
    "pass_environment",
)
