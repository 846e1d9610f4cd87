# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Makes a copy of what a module reads from its child processes, in files of bounded size, while it reads it.

Like the rest of _fork_server it is sent as text to a bare interpreter, and so imports nothing of this collection. It runs
in the process of a job. The module must not notice it: it has no threads and keeps no file open, and if a copy can't be
written, that stream's copy just ends there.

It sees what is read from a pipe of subprocess.Popen (and so of AnsibleModule.run_command, subprocess.run,
os.popen, asyncio, ...), through its file object or os.read().

The files of a stream are named by the offset at which they begin: the first, `.0`, holds the first half of what is kept,
the others an eighth each; of these the newest are left, as many as make up the other half.
"""

from __future__ import annotations

import fcntl
import functools
import io
import os
import subprocess
import sys

_MASK = b"********"  # what ansible-core puts in place of a secret
_BLOCK = 65536
_OUT_OF_THE_WAY = 200  # above the file descriptors that modules usually get
_read = os.read


def part_of(base, offset):
    """Return the path of the file of a stream that begins at `offset`."""
    return "%s.%d" % (base, offset)


class Stream:
    """Keeps the first and the last part of what is written. base: the beginning of its files' paths; keep: bytes, at least 8.

    folder: the file descriptor of their directory, if it is open: then base is a name in there.
    """

    def __init__(self, base, keep, folder=None):
        self._base = base
        self._folder = folder
        self._size = keep // 8
        self._half = 4 * self._size
        self._begin = 0  # the offset at which the current file begins
        self._ended = False

    def write(self, data):
        """Write `data` (bytes); what the disk does not take is lost, with all that follows."""
        view = memoryview(data)
        try:
            while view and not self._ended:
                view = self._write_part(view)
        except OSError:
            self._ended = True

    def _write_part(self, view):
        # The file is opened anew each time: so it does not matter what others do (threads, forks, a module that closes all
        # open files), and no write ever goes to another file that got the number of a closed one.
        begin = self._begin
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(part_of(self._base, begin), flags, 0o600, dir_fd=self._folder)
        try:
            limit = self._size if begin else self._half
            room = limit - os.fstat(fd).st_size
            if room > 0:
                return view[os.write(fd, view[:room]) :]
        finally:
            os.close(fd)
        if begin:
            self._begin = begin + limit
        else:  # filled by this process, or by an earlier call of this job
            self._begin = max(self._newest(), self._half)
        oldest = self._begin - self._half
        if oldest >= self._half:
            self._remove(part_of(self._base, oldest))
        return view

    def _newest(self):
        folder, name = os.path.split(self._base)
        ends = [
            entry[len(name) + 1 :]
            for entry in os.listdir(folder if self._folder is None else self._folder)
            if entry.startswith(name + ".")
        ]
        return max([int(end) for end in ends if end.isdigit()] or [0])

    def _remove(self, path):
        try:
            os.unlink(path, dir_fd=self._folder)
        except FileNotFoundError:
            pass


class OpenFile:
    """Like a Stream, in one open file: for a job whose user must not enter the folder. fd: is moved out of the way."""

    def __init__(self, fd, keep):
        try:
            self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
            os.close(fd)
        except OSError:  # the limit does not allow such a number
            self._fd = fd
            os.set_inheritable(fd, False)
        self._identity = _identity(self._fd)
        self._keep = keep
        self._begin = keep // 2  # where in the file the last part begins
        self._left_out = 0
        self._ended = False

    def write(self, data):
        """Like `write` of a Stream."""
        try:
            # a module may have closed all open files
            self._ended = self._ended or _identity(self._fd) != self._identity
            if not self._ended:
                size = os.fstat(self._fd).st_size
                self._put(data, size)
                self._shorten(size + len(data))
        except OSError:
            self._ended = True

    def _put(self, data, at):
        while data:
            written = os.pwrite(self._fd, data, at)
            data, at = data[written:], at + written

    def _shorten(self, size):
        """Leave out what lies between the first half and the last quarter of what may be kept."""
        if size <= self._keep:
            return
        last = os.pread(self._fd, self._keep // 4, size - self._keep // 4)
        self._left_out += size - len(last) - self._begin
        mark = b"\n... %d bytes left out ...\n" % self._left_out
        self._begin = self._keep // 2 + len(mark)
        self._put(mark + last, self._keep // 2)
        os.ftruncate(self._fd, self._begin + len(last))


class _Pipe:
    """A pipe that a module reads from, and the Stream that gets the copy."""

    def __init__(self, fd, stream, modules):
        self._stream = stream
        self._modules = modules
        self._identity = _identity(fd)
        self._held = b""  # what may be the beginning of a secret

    def is_at(self, fd):
        """Say whether `fd` still is this pipe, and not a file that was opened after it was closed."""
        return _identity(fd) == self._identity

    def take(self, data):
        secrets = self._secrets()
        if secrets:
            data = self._masked(self._held + data, secrets)
        if data:
            self._stream.write(data)

    def end(self):
        held, self._held = self._held, b""
        if held:
            self._stream.write(held)

    def _secrets(self):
        """Return the values that ansible-core takes out of what these modules return, the longest first."""
        values = {str(value) for module in self._modules for value in tuple(getattr(module, "no_log_values", ()))}
        return sorted((value.encode("utf-8", "surrogateescape") for value in values if value), key=len, reverse=True)

    def _masked(self, data, secrets):
        for secret in secrets:
            data = data.replace(secret, _MASK)
        held = 0
        for secret in secrets:
            for length in range(min(len(secret) - 1, len(data)), held, -1):
                if data.endswith(secret[:length]):
                    held = length
                    break
        self._held = data[len(data) - held :]
        return data[: len(data) - held]


def _identity(fd):
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


_pipes: dict[int, _Pipe] = {}  # file descriptor: the _Pipe that was opened there


class _Reader(io.FileIO):
    """The file object of a pipe, beneath those that buffer and decode."""

    def __init__(self, fd, pipe):
        super().__init__(fd, "rb")
        self._pipe = pipe
        _pipes[fd] = pipe

    def readinto(self, buffer):
        count = super().readinto(buffer)
        if count:
            self._pipe.take(bytes(memoryview(buffer).cast("B")[:count]))
        return count

    def read(self, size=-1):
        if size is None or size < 0:
            return self.readall()
        data = super().read(size)
        if data:
            self._pipe.take(data)
        return data

    def readall(self):
        # not FileIO's, which would pass on nothing until it has read all
        pieces = []
        while True:
            data = self.read(_BLOCK)
            if not data:
                return b"".join(pieces) if pieces else data
            pieces.append(data)

    def close(self):
        if not self.closed:
            fd = self.fileno()
            if _pipes.get(fd) is self._pipe:
                del _pipes[fd]
            self._pipe.end()
        super().close()


class _OsRead:
    """Replaces os.read(), with which Popen.communicate() reads two pipes. Not a function, because that would become a
    method in a class that has it as an attribute."""

    __name__ = "read"

    def __call__(self, fd, length):
        data = _read(fd, length)
        pipe = _pipes.get(fd) if data else None
        if pipe is not None and pipe.is_at(fd):
            pipe.take(data)
        return data


def _watched(file, stream, modules):
    """Return a pipe's file object like the one that Popen made, with a _Reader beneath."""
    raw = getattr(file, "buffer", file)
    raw = getattr(raw, "raw", raw)
    if not isinstance(raw, io.FileIO) or isinstance(raw, _Reader):
        return file
    try:
        fd = os.dup(raw.fileno())
    except OSError:
        return file
    reader = _Reader(fd, _Pipe(fd, stream, modules))
    if file is raw:
        file.close()
        return reader
    encoding, errors = getattr(file, "encoding", None), getattr(file, "errors", None)
    buffered = file.detach() if encoding else file
    # whoever checks for more input depends on the size of the buffer
    size = buffered.__sizeof__() - type(buffered).__basicsize__
    buffered.detach().close()
    file = io.BufferedReader(reader, size if size > 0 else io.DEFAULT_BUFFER_SIZE)
    return io.TextIOWrapper(file, encoding=encoding, errors=errors) if encoding else file


def prepare():
    """Have processes that are started from now on be watched; return a function that has copies made from when it is called.

    Its arguments: base: of the paths, `.stdout` and `.stderr` are added; keep: bytes per stream; fds: of files to be used
    instead.
    """
    names = ("stdout", "stderr")
    streams, modules = [], []

    def begin(base, keep, fds=()):
        streams.extend((name, OpenFile(fd, keep)) for name, fd in zip(names, fds))
        if not streams:
            streams.extend((name, Stream("%s.%s" % (base, name), keep)) for name in names)

    open_process = subprocess.Popen.__init__

    @functools.wraps(open_process)
    def open_watched(self, *args, **kwargs):
        open_process(self, *args, **kwargs)
        for name, stream in streams:
            file = getattr(self, name, None)
            if file is not None:
                os.read = _OS_READ
                setattr(self, name, _watched(file, stream, modules))

    subprocess.Popen.__init__ = open_watched
    module_class = getattr(sys.modules.get("ansible.module_utils.basic"), "AnsibleModule", None)
    if module_class is not None:
        make = module_class.__init__

        @functools.wraps(make)
        def make_known(self, *args, **kwargs):
            modules.append(self)
            make(self, *args, **kwargs)

        module_class.__init__ = make_known
    return begin


_OS_READ = _OsRead()


def run_program(program, name, base, keep, fds=()):
    """Run the text of a module's program (bytes), and have copies made from the start of the module itself."""
    import runpy

    run_module = runpy.run_module

    def run_watched(*args, **kwargs):
        runpy.run_module = run_module
        prepare()(base, keep, fds)
        return run_module(*args, **kwargs)

    runpy.run_module = run_watched
    exec(compile(program, name, "exec"), {"__name__": "__main__", "__builtins__": __builtins__})  # pylint: disable=exec-used
