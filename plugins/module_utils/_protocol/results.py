# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Interprets what a module printed, in the same way as ansible-core."""

from __future__ import annotations

import json
import re
import signal
from collections import namedtuple

from ansible_collections.background.jobs.plugins.module_utils._protocol import states
from ansible_collections.background.jobs.plugins.module_utils._system import json_text

# text: the JSON text of the result; result: the same as a dict
Outcome = namedtuple("Outcome", "text result failed changed")

_STATE = "background_jobs_state"  # a key that we add to results: how the job ended, if the rest does not imply it
_STATED = re.compile(r', "%s": "([a-z_]+)"\}\Z' % _STATE)

# Results that we make begin with a key that identifies their kind, so that nobody has to parse all of the text.
_BEGINS_WITHOUT_RESULT = '{"parsed": false, '
_BEGINS_CENSORED = '{"censored": '

LIMIT = 128 * 1024 * 1024  # bytes of a result
READ_LIMIT = 2 * LIMIT  # a result may take more room when it is written again
PRINTED_LIMIT = 16 * 1024 * 1024  # bytes of each stream of a command that fit into its result
_SHOWN = 1024 * 1024  # bytes of output in which no result was found
_BRIEF = 200  # characters
_LIKELY = "likely because memory ran out"
# Messages of modules that say no more than the return code.
_SAYS_NOTHING = (None, "", "non-zero return code", "The command exited with a non-zero return code.", "MODULE FAILURE")

PRINTED = ("stdout", "stdout_lines", "stderr", "stderr_lines")  # how the command module returns output

CENSORED = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"


def _is_true(value):
    # old-style modules return 'true' or 1 as well as booleans
    return value is True or (isinstance(value, (str, int)) and str(value).lower() in ("true", "yes", "on", "1"))


def has_failed(result):
    """Say whether a module's result is a failure: `failed`, or if that is missing, an `rc` other than 0."""
    if "failed" in result:
        return _is_true(result["failed"])
    return result.get("rc", 0) not in (0, "0", None)


def state_of(result):
    """Return the state that a job with this result has ended in, if no journal says so."""
    if result.get(_STATE) in states.TERMINAL:
        return result[_STATE]
    return states.FAILED if has_failed(result) else states.SUCCEEDED


def with_state(outcome, state):
    """Return the text of a job's result; the `state` it ended in (None: unknown) is added if the result does not imply it."""
    if state is None or state == state_of(outcome.result):
        return outcome.text
    return json.dumps(dict(outcome.result, **{_STATE: state}))


def without_state(text, state):
    """Return the text of the result of a job in `state` without what `with_state` added, as readers get the state anyway."""
    found = _STATED.search(text, max(0, len(text) - 100))
    return text[: found.start()] + "}" if found and found.group(1) == state else text


def has_changed(result):
    """Say whether a module's result reports a change."""
    return _is_true(result.get("changed", False))


def _parse(text):
    try:
        return json_text.loads(text)
    except ValueError:
        return None


def _inner_object(text):
    """Return the JSON object among other lines of output, from a line that opens one to the last that closes one, and
    the lines after it."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.lstrip().startswith("{")), None)
    if first is None:
        return None, []
    for last in range(len(lines), first, -1):
        if lines[last - 1].rstrip().endswith("}"):
            return "\n".join(lines[first:last]), lines[last:]
    return None, []


def describe_status(status):
    """Say in words how a process ended, from its wait status as a return code (negative: a signal)."""
    if status >= 0:
        return "exited with status %d" % status
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "signal"
    return "was killed by signal %d (%s)" % (-status, name)


def shown_size(size):
    """Return a number of bytes as a person writes it."""
    for unit in ("", "K", "M", "G"):
        if size < 1024 or size % 1024:
            return "%d%s" % (size, unit)
        size //= 1024
    return "%dT" % size


def understand(stdout, stderr, status, why=None):
    """Return the Outcome of a module that printed `stdout` and `stderr` (bytes) and ended with `status`.

    why: why the kernel killed it, if that is known.
    """
    if len(stdout) > LIMIT:
        return _not_understood(
            stdout, stderr, status, "The module printed more than the %d bytes that are kept of a result." % LIMIT
        )
    printed = stdout.decode("utf-8", "surrogateescape")
    text = printed.strip()
    result = _parse(text)
    if not isinstance(result, dict):
        text, after = _inner_object(printed)
        result = _parse(text) if text is not None else None
        if isinstance(result, dict) and any(line.strip() for line in after):
            text = _with_warning(result, "Module invocation had junk after the JSON data: %s" % "\n".join(after))
    if not isinstance(result, dict):
        return _not_understood(stdout, stderr, status, _why_no_result(status, why), parsed=False)
    return Outcome(text, result, has_failed(result), has_changed(result))


def _with_warning(result, message):
    """Put a warning first into a result, and return its text."""
    warnings = result.get("warnings")
    if not warnings or isinstance(warnings, list):
        result["warnings"] = [message] + (warnings or [])
    return text_of(result)


def text_of(result):
    """Return the JSON text of a result, no longer than the module printed it, except for spaces."""
    text = json.dumps(result, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates
        return json.dumps(result)
    return text


def fitting(outcome):
    """Return the Outcome, or if it is too large to be read again, one that only says how it ended."""
    return outcome if _size(outcome.text, READ_LIMIT) <= READ_LIMIT else left_out(outcome)


def _size(text, limit):
    return len(text) if 4 * len(text) <= limit else len(text.encode("utf-8", "surrogateescape"))


def size_in_text(outcome):
    """Return how many bytes the text of an Outcome takes as a string of JSON."""
    text = outcome.text
    return len(text.encode("utf-8", "surrogateescape")) + text.count('"') + text.count("\\")


def left_out(outcome):
    """Return an Outcome that says how it ended, and that there is no room for the rest."""
    kept = {key: outcome.result[key] for key in ("rc", "skipped") if isinstance(outcome.result.get(key), int)}
    message = "The result was left out: there is no room for its %d characters." % len(outcome.text)
    return of(dict(kept, failed=outcome.failed, changed=outcome.changed, msg=message))


def _why_no_result(status, why):
    if status >= 0:
        return (
            "The module returned no result that could be read; it %s. See module_stdout and module_stderr."
            % describe_status(status)
        )
    message = "The module %s before it returned a result" % describe_status(status)
    if status == -signal.SIGKILL:
        message += ", %s" % (why or _LIKELY)
    return message + "."


def _not_understood(stdout, stderr, status, message, **more):
    return of(
        dict(
            more,  # first, see output_without_result
            failed=True,
            changed=False,
            msg=message,
            module_stdout=_shown(stdout),
            module_stderr=_shown(stderr),
            rc=status if status >= 0 else 128 - status,  # as a shell reports it
        )
    )


def output_without_result(text):
    """Return what is kept of a module that returned no result, if `text` is that; else None.

    The reader may then say of `module_stdout` what ansible-core says of it.
    """
    if not text.startswith(_BEGINS_WITHOUT_RESULT):
        return None
    output = json.loads(text)
    del output["parsed"]
    expected = {"failed", "changed", "msg", "module_stdout", "module_stderr", "rc"}
    return output if set(output).difference(PRINTED) == expected else None


def has_no_result(outcome):
    """Say whether the module returned no result."""
    return outcome.text.startswith(_BEGINS_WITHOUT_RESULT)


def _shown(output):
    """Return output as text; if it is long, its first and its last part."""
    if len(output) <= _SHOWN:
        return output.decode("utf-8", "replace")
    half = _SHOWN // 2
    middle = "\n... %d bytes left out ...\n" % (len(output) - 2 * half)
    return output[:half].decode("utf-8", "replace") + middle + output[-half:].decode("utf-8", "replace")


def of(result):
    """Return the Outcome of a result that we made ourselves."""
    return Outcome(text_of(result), result, has_failed(result), has_changed(result))


def failure(message):
    """Return the Outcome of what could not be started, or did not come to its end."""
    return of({"failed": True, "changed": False, "msg": message})


def skipped(reason):
    """Return the Outcome of what was skipped."""
    return of({"changed": False, "skipped": True, "skip_reason": reason, "msg": reason})


def brief(result):
    """Return in one short line why a result is a failure."""
    rc = result.get("rc")
    said = "" if result.get("msg") in _SAYS_NOTHING else str(result["msg"])
    if rc not in (None, 0):
        said = _last_line(result.get("stderr")) or said or _last_line(result.get("stdout"))
        said = "%s: %s" % (describe_rc(rc), said) if said else describe_rc(rc)
    return _last_line(said)[:_BRIEF] or "failed"


def brief_names(names):
    """Return the first names of jobs in one short line: a, b, c, ..."""
    shown = ", ".join(name if len(name) <= 40 else name[:39] + "..." for name in names[:3])
    return shown + ", ..." if len(names) > 3 else shown


def describe_rc(rc):
    """Return a return code in words; for signal 9, as Python or a shell reports it, with its likely cause."""
    if rc in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "rc %d (killed by signal 9, %s)" % (rc, _LIKELY)
    return "rc %s" % rc


def _last_line(text):
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def is_censored(text):
    """Say whether this is the text of a result that `censor` made."""
    return text.startswith(_BEGINS_CENSORED)


def censor(outcome):
    """Return `outcome` without any value that a module with `no_log` may have returned."""
    kept = {"censored": CENSORED, "failed": outcome.failed, "changed": outcome.changed}
    if isinstance(outcome.result.get("rc"), int):
        kept["rc"] = outcome.result["rc"]
    return of(kept)
