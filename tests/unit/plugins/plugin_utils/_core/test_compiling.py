# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.background.jobs.plugins.plugin_utils._core import compiling


def test_templates_are_compiled_once_and_never_confused() -> None:
    compiled: list[str] = []

    class Engine:
        def _compile_template(self, text: str, options: object) -> str:
            compiled.append(text)
            return f"{text}!"

    engine: t.Any = Engine()
    compiling.remember(engine)
    texts = [f"{{{{ item }}}} {number}" for number in range(1500)]
    assert [engine._compile_template(text, None) for text in texts for dummy in range(3)] == [
        f"{text}!" for text in texts for dummy in range(3)
    ]
    assert compiled == texts
