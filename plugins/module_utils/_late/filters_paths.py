# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Filters that work on names of files, without looking at any file, and those that work on time."""

from __future__ import annotations

import datetime
import ntpath
import os.path
import time

from ansible_collections.background.jobs.plugins.module_utils._late.failures import Failure
from ansible_collections.background.jobs.plugins.module_utils._late.finalize import is_sequence
from ansible_collections.background.jobs.plugins.module_utils._late.texts import text_of


def _of(function):
    """Wrap a function of file names, so that it returns text instead of bytes."""

    def call(*args, **kwargs):
        result = function(*args, **kwargs)
        return text_of(result) if isinstance(result, bytes) else result

    return call


def path_join(paths):
    if isinstance(paths, str):
        return paths
    if is_sequence(paths):
        return os.path.join(*paths)
    raise TypeError("|path_join expects string or sequence, got %s instead." % type(paths))


def commonpath(paths):
    if not is_sequence(paths):
        raise TypeError("|commonpath expects sequence, got %s instead." % type(paths))
    return os.path.commonpath(paths)


def relpath(path, start=os.curdir):
    """Works only if the controller's working folder does not matter."""
    if isinstance(path, str) and isinstance(start, str) and os.path.isabs(path) != os.path.isabs(start):
        raise Failure("relpath() from the folder that the playbook runs in works on the controller only.")
    return os.path.relpath(path, start)


def to_datetime(string, format="%Y-%m-%d %H:%M:%S"):  # noqa: A002 - core's name
    return datetime.datetime.strptime(string, format)


def _seconds(second):
    if second is None:
        return time.time()
    try:
        return float(second)
    except (TypeError, ValueError, OverflowError):
        raise Failure("Invalid value for epoch value (%s)" % (second,)) from None


def strftime(string_format, second=None, utc=False):
    zone = datetime.timezone.utc if utc else None
    return datetime.datetime.fromtimestamp(_seconds(second), tz=zone).strftime(string_format)


def strftime_of_2_19(string_format, second=None, utc=False):
    moment = time.gmtime if utc else time.localtime
    return time.strftime(string_format, moment(_seconds(second)))


FILTERS = {
    "basename": _of(os.path.basename),
    "commonpath": commonpath,
    "dirname": _of(os.path.dirname),
    "normpath": _of(os.path.normpath),
    "path_join": path_join,
    "relpath": _of(relpath),
    "splitext": _of(os.path.splitext),
    "strftime": strftime,
    "to_datetime": to_datetime,
    "win_basename": _of(ntpath.basename),
    "win_dirname": _of(ntpath.dirname),
    "win_splitdrive": _of(ntpath.splitdrive),
}
