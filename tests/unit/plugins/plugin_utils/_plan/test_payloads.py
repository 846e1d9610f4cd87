# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import io
import zipfile

import pytest

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused
from ansible_collections.background.jobs.plugins.plugin_utils._plan import payloads


def test_arguments_that_are_no_json_are_refused() -> None:
    with pytest.raises(Refused, match="cannot be sent"):
        payloads.encode("new", "legacy", {"x": object()})


FILES = {"ansible/modules/ping.py": "print(1)\n" * 99, "ansible/module_utils/basic.py": "x = 1\n"}


def built(year: int, wrapper: str = "main(\nparams={params!r},\nzip_data={zipped!r},\n)\n") -> payloads.Built:
    """Return a module as ansible-core builds it at some time."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as target:
        for name, text in FILES.items():
            target.writestr(zipfile.ZipInfo(name, (year, 5, 6, 7, 8, 10)), text)
    text = wrapper.format(params="{}", zipped=base64.b64encode(data.getvalue()).decode())
    return payloads.Built("new", "#!/usr/bin/python", text.encode(), "ping", "legacy")


def test_what_was_built_at_another_time_is_the_same_payload() -> None:
    (first, own), (second, dummy) = (payloads.split(built(year), "{}", {}) for year in (2021, 2033))
    assert own == "{}"
    assert first == second
    dummy, dummy, rest = first["tail"].partition("zip_data='")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(rest.partition("'")[0]))) as contents:
        assert contents.testzip() is None
        assert {name: contents.read(name).decode() for name in contents.namelist()} == FILES


def test_a_zip_that_stands_elsewhere_is_left_as_it_is() -> None:
    wrapper = "ZIP = {zipped!r}\nmain(\nparams={params!r},\nprofile=1)\n"
    assert payloads.split(built(2021, wrapper), "{}", {})[0]["style"] == "ansiballz"
