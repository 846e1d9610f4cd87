# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Reads back and removes the kept output of jobs (written by _fork_server/capture.py).

Below the batch's folder:
  output/<index>.<stream>.<offset>   what was read from child processes of the job; its first and its last part
  run/<index>.<stream>               what the process of the job prints itself, while a call runs
  run/<index>.children.<stream>      what a call as another user has read from its child processes, while it runs
"""

from __future__ import annotations

import itertools
import json
import os
import re
import stat

from ansible_collections.background.jobs.plugins.module_utils._fork_server import capture
from ansible_collections.background.jobs.plugins.module_utils._protocol import results
from ansible_collections.background.jobs.plugins.module_utils._system import files, json_text

FOLDER = "output"
STREAMS = ("stdout", "stderr")
PIDS = "pids."  # files in run/: a line "index pid" for each process that a template has started
LEAST = 4096  # bytes of a stream that can be kept, except 0
_MOST = 64 * 1024 * 1024  # bytes of a stream that are read back at once
_MOST_OF_TAIL = 1024 * 1024
_OWN = re.compile(r"[0-9]+\.(children\.)?(stdout|stderr)\Z")
_MARK = re.compile(rb"\n\.\.\. ([0-9]+) bytes left out \.\.\.\n")
_PIECE = 65536
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # of str.splitlines()
# Bytes that a stream may take in a result, which holds it twice, as a text and as lines.
_ROOM = results.LIMIT // 2
_PART = re.compile(r"([0-9]+)\.(stdout|stderr)\.([0-9]+)\Z")


def base_of(batch_path, index):
    """Return the base of the paths of a job's output."""
    return os.path.join(batch_path, FOLDER, str(index))


def run_base(run_path, index, hidden=False):
    """Return the base of the paths that the process of a job prints into; hidden: for output that nobody may read from there."""
    return os.path.join(run_path, "%d.hidden" % index if hidden else str(index))


def copies_of(run_path, index):
    """Return the paths of what a call as another user reads from its child processes, (stdout, stderr)."""
    return [os.path.join(run_path, "%d.children.%s" % (index, stream)) for stream in STREAMS]


class Output:
    """The kept output of a batch's jobs, at the moment."""

    def __init__(self, batch):
        """batch: the Folder of the batch, or its path, or its reader, which opens it anew each time."""
        if not hasattr(batch, "open"):
            batch = files.folder_of(batch)
        self._source = batch
        self._parts = {}  # (index, stream): [offsets]
        names, self._has_run = [], False
        try:
            folder = self._batch
            self._has_run = _is_folder("run", folder)
            names = folder.enter(FOLDER).names()
        except (files.UnsafePath, OSError):  # something else is in its place, or the batch has just ended
            pass
        for found in filter(None, map(_PART.match, names)):
            self._parts.setdefault((int(found.group(1)), found.group(2)), []).append(int(found.group(3)))

    @property
    def _batch(self):
        return self._source if isinstance(self._source, files.Folder) else self._source.open()

    @staticmethod
    def _part(index, stream, offset):
        return capture.part_of("%s.%s" % (base_of("", index), stream), offset)

    @staticmethod
    def _run(index, stream):
        return os.path.join("run", "%d.%s" % (index, stream))

    @staticmethod
    def _copy(index, stream):
        return copies_of("run", index)[STREAMS.index(stream)]

    def is_kept(self, index):
        """Say whether output from child processes of a job is kept."""
        return any((index, stream) in self._parts for stream in STREAMS)

    def end(self, index, stream):
        """Return how many bytes of a stream came from child processes."""
        offset = max(self._parts.get((index, stream), (0,)))
        return offset + (_size(self._part(index, stream, offset), self._batch) or 0)

    def size(self, index):
        """Return how many bytes a job has printed, None if that is not known."""
        paths = [path(index, stream) for path in (self._run, self._copy) for stream in STREAMS]
        own = [_size(path, self._batch) if self._has_run else None for path in paths]
        if not any(size is not None for size in own) and not self.is_kept(index):
            return None
        return sum(size or 0 for size in own) + sum(self.end(index, stream) for stream in STREAMS)

    def read(self, index, stream, begin=0, lines=None):
        """Return what is kept of a stream: what came from child processes since the offset `begin`, then the job's own.

        lines: only so many of the last lines are wanted.
        """
        own = b""
        if self._has_run:
            most = _MOST if lines is None else _MOST_OF_TAIL
            own = _last(self._run(index, stream), most, self._batch)[0]
        if stream == "stdout":
            own = _without_result(own)
        if self._has_run:
            own = _last(self._copy(index, stream), most, self._batch)[0] + own
        return self._of_children(index, stream, begin, lines) + own

    def _of_children(self, index, stream, begin, lines):
        pieces, left, following = [], _MOST if lines is None else _MOST_OF_TAIL, None
        for offset in sorted(self._parts.get((index, stream), ()), reverse=True):
            data, size = _last(self._part(index, stream, offset), left, self._batch)
            end = offset + size
            if not size or end <= begin:
                continue
            start = max(end - len(data), begin)
            if following is not None and end < following:
                pieces.append(_mark(following - end))
            pieces.append(data[len(data) - (end - start) :])
            following, left = start, left - (end - start)
            if left <= 0 or (lines is not None and sum(piece.count(b"\n") for piece in pieces) > lines):
                following = None
                break
        if following is not None and following > begin:
            pieces.append(_mark(following - begin))
        return b"".join(reversed(pieces))

    def remove(self, index):
        """Remove what is kept of a job."""
        for stream in STREAMS:
            for offset in self._parts.get((index, stream), ()):
                files.try_to_remove_tree(self._part(index, stream, offset), self._batch)
            if self._has_run:
                files.remove(self._run(index, stream), self._batch)
                files.remove(self._copy(index, stream), self._batch)


def remove(batch, index, keep):
    """Remove the output kept of a job, at most about `keep` bytes per stream: quickly, if it is little.

    batch: the Folder of the batch, or its path.
    """
    batch, more = files.folder_of(batch), False
    for stream in STREAMS:
        first = _first(index, stream)
        size = _size(first, batch)
        if size is not None:
            more = more or size >= keep // 8 * 4
            files.try_to_remove_tree(first, batch)
    if more:
        Output(batch).remove(index)


def begins(batch, index):
    """Return {stream: offset}: where in the kept output the part begins that a job prints from now on. batch: as above."""
    batch, offsets, kept = files.folder_of(batch), {}, None
    for stream in STREAMS:
        size = _size(_first(index, stream), batch)
        if size:
            kept = kept or Output(batch)
        offsets[stream] = kept.end(index, stream) if size else 0
    return offsets


def _first(index, stream):
    return capture.part_of("%s.%s" % (base_of("", index), stream), 0)


def add(batch, index, printed, keep):
    """Keep what the process of a job has printed itself, as (stdout, stderr) in bytes. batch: as above."""
    try:
        folder = files.folder_of(batch).enter(FOLDER)
    except (files.UnsafePath, OSError):  # somebody has removed it: like a disk that takes nothing
        return
    for stream, data in zip(STREAMS, printed):
        if data:
            capture.Stream("%d.%s" % (index, stream), keep, folder.fd).write(data)


def add_printed(batch, index, paths, keep, run):
    """Keep what the process of a job has printed itself, into files of these paths in the Folder `run`, (stdout, stderr)."""
    for stream, path in enumerate(paths):
        try:
            with open(os.path.basename(path), "rb", opener=run.opener) as file:
                for data in iter(lambda: file.read(_PIECE), b""):
                    add(batch, index, [data if other == stream else b"" for other in range(len(paths))], keep)
        except FileNotFoundError:
            continue


def is_kept_in_run(name):
    """Say whether a file in run/ outlasts its supervisor: the output of a lost job, or the pids of jobs."""
    return bool(_OWN.match(name)) or name.startswith(PIDS)


def _is_folder(name, batch):
    """Say whether there is a directory; a link to one does not count."""
    found = batch.look(name)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _mark(count):
    return b"\n... %d bytes left out ...\n" % count


def _size(path, batch):
    found = batch.look(path)
    return None if found is None else found.st_size


def _last(path, most, batch):
    """Return (the last bytes, `most` at the most, the size) of a regular file of our own; nothing of anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=batch.fd)
    except OSError:  # it is gone, a link, or closed to us
        return b"", 0
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
            return b"", 0
        begin = max(0, found.st_size - most)
        pieces, at = [], begin
        while at < found.st_size:
            piece = os.pread(fd, found.st_size - at, at)
            if not piece:
                break
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces), at
    finally:
        os.close(fd)


def _without_result(printed):
    """Return what the process of a job has printed, without the result of its module, which comes last."""
    before, dummy, last = printed.rstrip().rpartition(b"\n")
    if not (last.startswith(b"{") and last.endswith(b"}")):
        return printed
    try:
        json_text.loads(last)
    except ValueError:
        return printed
    return before + b"\n" if before else b""


def of_command(name, most, run):
    """Return a command's output, kept in a file of at most `most` bytes, shortened to what results take.

    run: the Folder that the file of this name is in.
    """
    half = results.PRINTED_LIMIT // 2
    try:
        with open(name, "rb", opener=run.opener) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size <= 2 * half:
                return stream.read(2 * half)
            first = stream.read(half)
            stream.seek(most // 2)
            left_out = size - 2 * half + _told_by_marks(stream.read(_PIECE))
            stream.seek(size - half)
            return first + _mark(left_out) + stream.read(half)
    except FileNotFoundError:
        return b""


def _told_by_marks(data):
    """Return how many bytes these marks stand for, beyond their own size: they were left out before."""
    return sum(int(found.group(1)) - len(found.group()) for found in _MARK.finditer(data))


def shown(data):
    """Return output as a text that fits into a result; if it is too long, its first and its last part."""
    if 20 * len(data) <= _ROOM:
        return text_of(data)
    pieces = [data[begin : begin + _PIECE] for begin in range(0, len(data), _PIECE)]
    rooms = [_room(text_of(piece)) for piece in pieces]
    if sum(rooms) <= _ROOM:
        return text_of(data)
    first, last = _that_fit(rooms), len(rooms) - _that_fit(rooms[::-1])
    middle = b"".join(pieces[first:last])
    left_out = len(middle) + _told_by_marks(middle)
    return text_of(b"".join(pieces[:first]) + _mark(left_out) + b"".join(pieces[last:]))


def _that_fit(rooms):
    """Return how many of the first of these fit into half of the room."""
    return sum(total <= _ROOM // 2 for total in itertools.accumulate(rooms))


def _room(text):
    """Return how many bytes text may take in a result; a line counts for more, as it takes more time to read."""
    return 2 * len(json.dumps(text)) + 16 * sum(map(text.count, _LINE_ENDS))


def text_of(data):
    """Return output as text; bytes that are no text are replaced."""
    return data.decode("utf-8", "replace")


def told(stdout, stderr, lines=None):
    """Return {stdout, stdout_lines, stderr, stderr_lines} of two texts, as the command module returns it.

    lines: how many of the last lines; None: all.
    """
    result = {}
    for name, text in zip(STREAMS, (stdout, stderr)):
        split = text.splitlines()
        if lines is not None:
            split = split[max(0, len(split) - lines) :]
        result[name] = text.rstrip("\r\n") if lines is None else "\n".join(split)
        result[name + "_lines"] = split if lines is not None else result[name].splitlines()
    return result
