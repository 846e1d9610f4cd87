# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the pictures of the guides from a real run: `make pictures`."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import machine
from machine import ROOT

IMAGES = ROOT / "docs" / "docsite" / "rst" / "images"
PLAYBOOK = ROOT / "tests" / "pictures" / "release.yml"
BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
SIZE = "960,900"
# A distribution's browser may not be able to make its sandbox as root.
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}")

# A palette reduces the size to a quarter.
SHRINK = """
import sys
from PIL import Image
picture = Image.open(sys.argv[1]).convert("RGB")
picture.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(sys.argv[1], optimize=True)
"""


def draw() -> int:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise machine.Skip(f"no browser to take a picture with: one of {', '.join(BROWSERS)} has to be installed")
    environment = machine.tool_environment("pictures")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machine.run_quietly(
            [environment.bin / "ansible-playbook", PLAYBOOK, "--extra-vars", f"folder={folder}"], env=environment.env
        )
        IMAGES.mkdir(exist_ok=True)
        shutil.copy(folder / "timeline.svg", IMAGES)
        page = unfolded((folder / "timeline.html").read_text())
        for theme in ("light", "dark"):
            (folder / "page.html").write_text(page.replace("<html", f'<html data-theme="{theme}"', 1))
            picture = IMAGES / f"timeline_{theme}.png"
            profile = f"--user-data-dir={folder / 'profile'}"
            machine.run_quietly(
                [browser, *OPTIONS, profile, f"--screenshot={picture}", f"file://{folder / 'page.html'}"]
            )
            machine.run_quietly([environment.bin / "python", "-c", SHRINK, picture])
    for path in sorted(IMAGES.iterdir()):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024 + 1} kB")
    return 0


def unfolded(page: str) -> str:
    """The page after a click on the job that took too long."""
    found = re.search(r'id="job(\d+)" data-state="timed_out"', page)
    assert found, "the run had no job that took too long"
    return page.replace(
        f'aria-expanded="false" aria-controls="more{found[1]}"', f'aria-expanded="true" aria-controls="more{found[1]}"'
    ).replace(f'id="more{found[1]}" class="more" hidden', f'id="more{found[1]}" class="more"')
