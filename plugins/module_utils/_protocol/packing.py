# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""How the two halves of the collection hand each other large values: as one string.

One string keeps AnsibleModule from walking, copying and logging thousands of nested values.
"""

from __future__ import annotations

import base64
import json
import zlib

from ansible_collections.background.jobs.plugins.module_utils._system import json_text

_FASTEST = 1


def pack(value):
    """Return `value`, anything that JSON can hold, as one line of ASCII."""
    return base64.b64encode(zlib.compress(json.dumps(value).encode("ascii"), _FASTEST)).decode("ascii")


def unpack(text, limit=None):
    """Return the value that `pack` was given; ValueError if `text` is not one of its lines.

    limit: ValueError also if it holds more bytes than this, which are then not unpacked.
    """
    try:
        return json_text.loads(_inflate(base64.b64decode(text, validate=True), limit))
    except (ValueError, zlib.error) as exc:
        raise ValueError("not a packed value: %s" % exc) from exc


def _inflate(data, limit):
    if limit is None:
        return zlib.decompress(data)
    stream = zlib.decompressobj()
    plain = stream.decompress(data, limit + 1)
    if len(plain) > limit:
        raise ValueError("it holds more than %d bytes" % limit)
    if not stream.eof:
        raise ValueError("it is cut off")
    return plain
