# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import random
import subprocess
import sys

import pytest

from ansible_collections.background.jobs.plugins.module_utils._fork_server import utilities

from ..conftest import payload

BASIC = "ansible/module_utils/basic.py"
UTILITIES = {
    BASIC: "import pathlib\nfrom ansible.module_utils.common import text\nHERE = pathlib.Path(__file__).parent\nNAME = __file__\nOTHER = '/x'\n",
    "ansible/module_utils/common/__init__.py": "",
    "ansible/module_utils/common/text.py": "def where(): return where.__code__.co_filename\n",
    "ansible/module_utils/unused.py": "raise SystemExit('it was imported')\n",
}
# Imports what is shared in an interpreter of its own, then has it adopted by another payload with the same utilities.
ADOPT = """
import base64, json, sys
sys.path[:0] = %r
from ansible_collections.background.jobs.plugins.module_utils._fork_server import utilities
for name in [name for name in sys.modules if name.partition(".")[0] == "ansible"]:
    del sys.modules[name]
order = json.load(sys.stdin)
one = utilities.Utilities()
one.take(order["payload"])
before = sys.modules["ansible.module_utils.basic"]
with open(order["path"], "wb") as stream:
    begin, end = utilities.zip_in(order["payload"]["tail"])
    stream.write(base64.b64decode(order["payload"]["tail"][begin:end]))
sys.path.insert(0, order["path"])
finder = utilities.Adopting(one)
sys.meta_path.insert(0, finder)
import ansible.modules
from ansible.module_utils import basic, common
from ansible.module_utils.common import text
assert basic is before and finder not in sys.meta_path
print(json.dumps([str(basic.HERE), basic.NAME, basic.OTHER, text.where(), common.__path__, basic.__spec__.origin,
                  basic.__loader__.get_source("ansible.module_utils.basic"), repr(ansible.modules.__loader__)]))
"""


def random_text(size):
    """Return a text that no compression makes much smaller."""
    return "# %s\n" % "".join(random.Random(1).choices("0123456789abcdef", k=size))


def changed(**changes):
    """Return the utilities with other texts, None: without that."""
    found = dict(UTILITIES, **{"ansible/module_utils/%s.py" % name: text for name, text in changes.items()})
    return {name: text for name, text in found.items() if text is not None}


@pytest.fixture
def taken(monkeypatch):
    """What a payload with the UTILITIES has given; what this process has imported itself is put back."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "ansible"]:
        monkeypatch.delitem(sys.modules, name)
    one = utilities.Utilities()
    one.take(payload(utilities=UTILITIES))
    for name in [name for name in sys.modules if name.partition(".")[0] == "ansible"]:
        monkeypatch.delitem(sys.modules, name)
    return one


def test_what_is_adopted_is_as_if_it_had_been_imported_there(tmp_path):
    path = str(tmp_path / "payload.zip")
    paths = [path for path in sys.path if os.path.isdir(os.path.join(path, "ansible_collections"))]
    order = json.dumps({"payload": payload(utilities=UTILITIES), "path": path}).encode()
    done = subprocess.run([sys.executable, "-c", ADOPT % paths], input=order, stdout=subprocess.PIPE, check=True)
    here, name, other, code, folder, origin, source, loader = json.loads(done.stdout)
    assert pathlib.Path(here) == pathlib.Path(path) / "ansible" / "module_utils"
    assert (name, origin, other) == ("%s/%s" % (path, BASIC), "%s/%s" % (path, BASIC), "/x")
    assert code == path + "/ansible/module_utils/common/text.py"
    assert folder == [path + "/ansible/module_utils/common"]
    assert source == UTILITIES[BASIC]
    assert path in loader


@pytest.mark.parametrize(
    ("utilities", "fits"),
    [
        (UTILITIES, True),
        (changed(unused="raise SystemExit('another one')\n"), True),
        (changed(more="x = 1\n"), True),
        (changed(large=random_text(200000)), True),  # only the end of the zip is decoded
        (changed(large=random_text(200000), basic=UTILITIES[BASIC] + "x = 1\n"), False),
        (changed(**{"more%d" % number: "" for number in range(600)}), True),  # its directory is a large one
        (changed(basic="", **{"more%d" % number: "" for number in range(600)}), False),
        (changed(basic=UTILITIES[BASIC] + "x = 1\n"), False),
        (changed(basic=UTILITIES[BASIC].replace("/x", "/y")), False),
        (changed(**{"common/text": None}), False),
        (changed(**{"common/__init__": "x = 1\n"}), False),
    ],
)
def test_a_payload_fits_whose_files_are_those_that_were_imported(taken, utilities, fits):
    assert taken.fits(payload(utilities=utilities)) is fits


@pytest.mark.parametrize("tail", ["", ", zip_data='====')", ", zip_data='AAAA')", ", zipped='x')"])
def test_a_payload_of_an_unknown_form_fits_nobody_and_gives_nothing(taken, tail):
    assert not taken.fits(payload(tail=tail))
    with pytest.raises(ImportError):
        utilities.Utilities().take(payload(tail=tail))
    assert not [finder for finder in sys.meta_path if isinstance(finder, utilities.Utilities)]


@pytest.mark.parametrize(
    ("tail", "text"),
    [
        ("x; zip_data='AAAA', y='B'", "AAAA"),
        ('zip_data="AAAA", y="B"', "AAAA"),
        ("zip_data='', y='B'", None),
        ("zip_data='''AAAA'''", None),
        ("zip_data='AA\\x41A'", None),
        ("zip_data='AAAA\n'", None),
        ("zip_data='AAAA", None),
        ("zip_data=AAAA, y='B'", None),
        ("zip_data=", None),
        ("", None),
    ],
)
def test_a_zip_is_found_only_where_its_text_is_what_it_stands_for(tail, text):
    found = utilities.zip_in(tail)
    assert (found and tail[slice(*found)]) == text


def test_a_payload_that_is_not_unpacked_as_it_is_known_is_not_adopted(taken, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match="not unpacked"):
        taken.adopt()
