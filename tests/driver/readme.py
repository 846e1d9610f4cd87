# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that each block marked as YAML in the given Markdown files is valid YAML."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

BLOCK = re.compile(r"^(?P<indent> *)```ya?ml *\n(?P<text>.*?)^(?P=indent)``` *$", re.DOTALL | re.MULTILINE)


def main(names: list[str]) -> int:
    blocks = bad = 0
    for name in names:
        text = Path(name).read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            blocks += 1
            try:
                list(yaml.safe_load_all(block["text"]))
            except yaml.YAMLError as exc:
                bad += 1
                print(f"{name}:{text.count(chr(10), 0, block.start()) + 1}: {exc}")
    print(f"{blocks} blocks, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
