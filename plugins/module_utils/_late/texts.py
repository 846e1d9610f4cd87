# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Converts values to text and bytes, as ansible-core does."""

from __future__ import annotations


def text_of(value):
    if isinstance(value, str):
        return value
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def bytes_of(value, encoding="utf-8"):
    if isinstance(value, bytes):
        return value
    return text_of(value).encode(encoding, "surrogateescape")
