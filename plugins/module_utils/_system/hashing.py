# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""SHA-256 without OpenSSL, unless that is there already, as on the controller: it is four times as fast, but loading it
takes longer than hashing all that a call hashes."""

from __future__ import annotations

import sys

try:
    if "_hashlib" in sys.modules:
        import hashlib as _provider
    else:
        import _sha2 as _provider  # CPython 3.12 and later
except ImportError:
    try:
        import _sha256 as _provider  # until 3.11
    except ImportError:  # an interpreter that was built without it
        import hashlib as _provider

sha256 = _provider.sha256
