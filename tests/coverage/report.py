# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells which statements of plugins/ were not run: report.py FOLDER PLUGINS (see collect.py)."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from coverage.parser import PythonParser


def main(folder: Path, plugins: Path) -> int:
    seen = (folder / "lines").read_bytes()
    total = missed = 0
    for entry in (folder / "index").read_text().splitlines()[1:]:
        offset, name = entry.split()
        statements, missing = missing_in(plugins / name, seen, int(offset))
        total, missed = total + statements, missed + len(missing)
        if missing:
            share = 100 * (statements - len(missing)) / statements
            print(f"{share:6.1f} %  {name}: {ranges(missing)}")
    print(f"{100 * (total - missed) / total:.1f} % of {total} statements were run, {missed} were not")
    return 0


def missing_in(path: Path, seen: bytes, offset: int) -> tuple[int, list[int]]:
    """The number of statements, and the first lines of those that no process has run."""
    text = path.read_text(encoding="utf-8")
    parser = PythonParser(text=text)
    parser.parse_source()
    numbers = range(1, text.count("\n") + 1)
    run = {parser.first_line(number) for number in numbers if seen[offset + number]}
    return len(parser.statements), sorted(parser.statements - run)


def ranges(numbers: list[int]) -> str:
    """1, 2, 3, 7 as 1-3 7."""
    texts = []
    for dummy, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for dummy, number in group]
        texts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return " ".join(texts)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
