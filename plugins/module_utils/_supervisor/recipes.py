# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Tasks of several module calls, because their action plugin in ansible-core looks at the host to decide.

A recipe is a generator: it yields the index of a call of its step, is sent the result of that call, and returns the
result of the task. It decides and merges as the action plugin of the same name does in ansible-core 2.19 to 2.21;
plugin_utils/_plan/recipes.py makes the specifications. All have `kind`, `check_mode`, `no_log` and `most_shown` (bytes of a
file that a difference shows, 0: all). A place that a file is written to is {"path", "stat": call, "copy": call,
and for a difference "peek": call, "slurp": call, "after": its new half}.

  copy       files: [a place, with "sha1": of the new content, "file": the call if it is there already (missing if
             such a file is left alone), and "into": another place, or {"result"}, if path is a directory],
             then: [call, or {"call", "unless": [indexes of files: needless if one of them was not left alone]}],
             otherwise: the result unless there is exactly one file,
             invocation: that of the result if no module has returned one (missing if it has none)
  assemble   a place, with sha1 and file
  unarchive  unless: [test], path, stat: call, missing: the result if path is no directory, run: call
  script     unless: [test], run: call, or in check mode checked: the result
  test       {"call": a command that succeeds if something is there, "there": the answer that skips the task,
             "result": its result then}
"""

from __future__ import annotations

import base64
import os

from ansible_collections.background.jobs.plugins.module_utils._protocol import output


class _Failed(Exception):
    """The task has failed; the message is core's."""


def begin(spec):
    """Return the recipe of a step: a generator."""
    return _guarded(_KINDS[spec["kind"]](spec))


def command_result(stdout, stderr, status):
    """Return the result of a call of the style "command", which printed `stdout` and `stderr` (bytes)."""
    return {"rc": status, "stdout": output.shown(stdout), "stderr": output.shown(stderr)}


def _text(data):
    """Decode what a command printed or a file holds. Bytes that are no text are replaced: no result may hold them."""
    return data.decode("utf-8", "replace")


def _guarded(recipe):
    try:
        result = yield from recipe
    except _Failed as exc:
        return {"failed": True, "changed": False, "msg": "Task failed: %s" % exc}
    return result


def _look(place):
    """Return what is at the path of a place."""
    result = yield place["stat"]
    if result.get("failed") or "stat" not in result:
        said = result.get("module_stderr") or result.get("module_stdout") or result.get("msg")
        raise _Failed("Failed to get information on remote file (%s): %s" % (_at_home(place["path"]), said))
    return result["stat"]


def _at_home(path):
    return os.path.expanduser(path)


def _differs(found, sha1):
    # as in core: a missing file has the checksum "1", and something without one (a directory) an empty one
    return sha1 != (found.get("checksum", "") if found["exists"] else "1")


def _difference(spec, place):
    """Return the diff that core shows of a file to be written; empty if the file cannot be looked at."""
    peek = yield place["peek"]
    if peek.get("failed"):
        return {}
    if peek.get("rc", 0) != 0:
        return {}
    shown = {}
    if peek.get("state") in (None, "absent"):
        shown["before"] = ""
    elif peek.get("appears_binary"):
        shown["dst_binary"] = 1
    elif peek.get("size") and 0 < spec["most_shown"] < peek["size"]:
        shown["dst_larger"] = spec["most_shown"]
    else:
        found = yield place["slurp"]
        if "content" in found:
            shown["before_header"] = _at_home(place["path"])
            shown["before"] = _text(base64.b64decode(found["content"]))
    if spec["no_log"] and "before" in shown:
        shown["before"] = ""
    shown.update(place["after"])
    if shown.get("after_header") == place["path"]:
        shown["after_header"] = _at_home(place["path"])
    return shown


def _copy(spec):
    result = yield from _copy_files(spec)
    if "invocation" in spec and "invocation" not in result:
        result = dict(result, invocation=spec["invocation"])
    return result


def _copy_files(spec):
    changed, executed, last, touched = False, False, {}, set()
    for index, new in enumerate(spec["files"]):
        done = yield from _copy_file(spec, new)
        if done is None:
            continue
        if done.get("failed"):
            return done
        executed, last = True, done
        touched.add(index)
        changed = changed or done.get("changed", False)
    for call in spec["then"]:
        if isinstance(call, dict):
            if not touched.isdisjoint(call["unless"]):
                continue
            call = call["call"]
        done = yield call
        if done.get("failed"):
            return done
        executed, last = True, done
        changed = changed or done.get("changed", False)
    if not executed or len(spec["files"]) != 1:
        otherwise = spec["otherwise"]
        return dict(otherwise, dest=_at_home(otherwise["dest"]), changed=changed)
    if "path" in last and "dest" not in last:
        last = dict(last, dest=last["path"])
    return last


def _copy_file(spec, new):
    """Return the result of one file, None if it is left alone."""
    result = {"diff": []}
    place = new
    found = yield from _look(place)
    if found["exists"] and found["isdir"] and "into" in new:
        place = new["into"]
        if "result" in place:
            return place["result"]
        found = yield from _look(place)
    if found["exists"] and "file" not in new:
        return None
    if _differs(found, new["sha1"]):
        if "peek" in place:
            shown = yield from _difference(spec, place)
            result["diff"].append(shown)
        if spec["check_mode"]:
            return dict(result, changed=True)
        done = yield place["copy"]
    else:
        done = yield new["file"]
    result.update(done)
    if not result.get("checksum"):
        result["checksum"] = new["sha1"]
    return result


def _assemble(spec):
    found = yield from _look(spec)
    if not _differs(found, spec["sha1"]):
        result = yield spec["file"]
        return result
    shown = {}
    if "peek" in spec:
        shown = yield from _difference(spec, spec)
    result = yield spec["copy"]
    return dict(result, diff=shown) if shown else result


def _skipped(spec):
    """Return the result of a task that need not run, None if it must."""
    for test in spec["unless"]:
        result = yield test["call"]
        if (result.get("rc") == 0) == test["there"]:
            return test["result"]
    return None


def _unarchive(spec):
    skipped = yield from _skipped(spec)
    if skipped is not None:
        return skipped
    found = yield from _look(spec)
    if not found["exists"] or not found["isdir"]:
        missing = spec["missing"]
        return dict(missing, msg=missing["msg"].replace(spec["path"], _at_home(spec["path"])))
    result = yield spec["run"]
    return result


def _script(spec):
    skipped = yield from _skipped(spec)
    if skipped is not None:
        return skipped
    if "checked" in spec:
        return spec["checked"]
    result = yield spec["run"]
    if "rc" not in result:  # it could not be run
        return result
    result = dict(result, changed=True)
    for key in ("stdout", "stderr"):
        result[key + "_lines"] = result[key].splitlines()
    if result["rc"] != 0:
        result.update(msg="non-zero return code", failed=True)
    return result


_KINDS = {"copy": _copy, "assemble": _assemble, "unarchive": _unarchive, "script": _script}
