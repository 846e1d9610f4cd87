# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Separates what jobs with the same module share from each job's own: a built module is cut at its arguments."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
import struct
import typing as t
import zipfile
from dataclasses import dataclass

from ansible.module_utils.common.json import Direction, get_module_encoder

from ansible_collections.background.jobs.plugins.plugin_utils._errors import Refused

Payload = dict[str, t.Any]

_MARK = "\nparams="
_ZIP = re.compile(r"^(zip_data=')([A-Za-z0-9+/=]+)(')", re.MULTILINE)
_OF_NO_TIME = struct.pack("<HH", 0, 33)  # 1980-01-01 in a zip's format
# Offsets of the time in the header of a file in a zip, and in its directory entry; of the lengths there; an entry's size.
_LOCAL, _CENTRAL, _LENGTHS, _ENTRY = 10, 12, 28, 46

COMMAND: t.Final = "command line"
"""Replaces the name of a module if a call is a command line."""


@dataclass(frozen=True, slots=True)
class Built:
    """A module as built by ansible-core; `style` is new, old, non_native_want_json or binary."""

    style: str
    shebang: str
    data: bytes
    name: str
    profile: str


def encode(style: str, profile: str, arguments: dict[str, t.Any]) -> str:
    """Return the arguments in the form that a module of this style (see Built) reads."""
    encoder = get_module_encoder(profile, Direction.CONTROLLER_TO_MODULE)
    value = {"ANSIBLE_MODULE_ARGS": arguments} if style == "new" else arguments
    try:
        return json.dumps(value, cls=encoder)
    except TypeError as exc:
        raise Refused(f"its arguments cannot be sent to the host: {exc}") from exc


def split(built: Built, encoded: str, arguments: dict[str, t.Any]) -> tuple[Payload, str]:
    """Return the payload, and the job's own text; encoded: the arguments as core wrote them."""
    interpreter = shlex.split(built.shebang[2:]) if built.shebang else []
    if built.style != "new":
        data = base64.b64encode(built.data).decode("ascii")
        return _payload("args_file", interpreter, built.name, data=data), args_file(built.style, encoded, arguments)
    text = built.data.decode("utf-8", "surrogateescape")
    own = f"{_MARK}{encoded!r},\n"
    if text.count(own) != 1 or text.count(_MARK) != 1:
        return _payload("text", interpreter, built.name), text
    head, tail = text.split(own)
    tail = _ZIP.sub(lambda found: f"{found[1]}{_steady(found[2])}{found[3]}", tail, count=1)
    return _payload("ansiballz", interpreter, built.name, head=head + _MARK, tail=f",\n{tail}"), encoded


def _steady(encoded: str) -> str:
    """Return a zip, in base64, without its times of creation: always the same for the same module, so that hosts recognise it."""
    try:
        data = bytearray(base64.b64decode(encoded))
        with zipfile.ZipFile(io.BytesIO(data)) as contents:
            at, headers = contents.start_dir, [entry.header_offset for entry in contents.infolist()]
    except (ValueError, zipfile.BadZipFile):
        return encoded
    for header in headers:
        data[header + _LOCAL : header + _LOCAL + 4] = data[at + _CENTRAL : at + _CENTRAL + 4] = _OF_NO_TIME
        at += _ENTRY + sum(struct.unpack_from("<HHH", data, at + _LENGTHS))
    return base64.b64encode(data).decode("ascii")


def args_file(style: str, encoded: str, arguments: dict[str, t.Any]) -> str:
    """Return the text of the file that a module of `style` reads its arguments from."""
    if style == "old":
        return "".join(f"{key}={shlex.quote(str(value))} " for key, value in arguments.items())
    return encoded


def _payload(style: str, interpreter: list[str], name: str, **content: str) -> Payload:
    return {"style": style, "interpreter": interpreter, "name": name, **content}


def command() -> Payload:
    """Return the payload of calls that are command lines; each call has its own in its params."""
    return _payload("command", [], "command")


def key_of(payload: Payload) -> str:
    """Return a short key that two payloads share only if they are the same."""
    digest = hashlib.sha256()
    for name, value in sorted(payload.items()):
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else repr(value).encode()
        digest.update(f"{name} {len(data)} ".encode() + data)
    return digest.hexdigest()[:16]
