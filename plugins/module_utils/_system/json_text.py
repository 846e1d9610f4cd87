# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""JSON that may be anybody's: however deep it is nested, reading it raises ValueError at most."""

from __future__ import annotations

import gc
import json


def loads(text):
    """Return the value that `text`, str or bytes, holds; ValueError if it is not JSON, or nested deeper than Python reads.

    While the decoder is near the limit of recursion, a finalizer that the garbage collector runs exceeds it without an
    effect for the decoder; Python 3.8 and older take the next time for a lost cause and abort the process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text)
    except RecursionError as exc:
        raise ValueError(str(exc)) from exc
    finally:
        if was_enabled:
            gc.enable()
