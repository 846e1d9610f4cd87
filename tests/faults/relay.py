# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bad network on loopback: a TCP relay in front of a port that delays, stalls, and resets connections."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

Direction = Literal["up", "down"]
"""up: from the client to the server; down: back."""

_CHUNK = 16384
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER without a time: closing sends RST, and data on the way is lost
_T = TypeVar("_T")


class Relay:
    """Relays connections to 127.0.0.1:`target` from `port`, in a thread of its own. A context manager.

    connections: how many there were; resets: how many of them were reset; bytes: how many were relayed so far,
    by direction, over all connections.
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.port = 0
        self.connections = 0
        self.resets = 0
        self.bytes = {"up": 0, "down": 0}
        self.delay = delay  # seconds, each way
        self._target = target
        self._limits: dict[str, int] = {}  # direction: bytes until everything is reset
        self._refuses = False
        self._refuses_after = False
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._flows = self._run(self._made_event())
        self._server = self._run(self._listen())

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # from the thread of the test

    def stall(self, seconds: float) -> None:
        """Let nothing through for `seconds`, but lose nothing."""
        self._soon(self._stall, seconds)

    def reset(self) -> None:
        """Reset all connections now."""
        self._soon(self._reset_all)

    def reset_after(self, count: int, direction: Direction, *, for_good: bool = False) -> None:
        """Reset all connections once, as soon as `count` more bytes went in a direction; for_good: and later ones too."""
        self._soon(self._arm, count, direction, for_good)

    def mend(self) -> None:
        """Cancel a reset that has not happened yet, and accept connections again."""
        self._soon(self._arm, None, None, False)

    # in the loop's own thread

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _soon(self, function: Callable[..., object], *arguments: object) -> None:
        async def work() -> None:
            function(*arguments)

        self._run(work())

    async def _made_event(self) -> asyncio.Event:
        flows = asyncio.Event()
        flows.set()
        return flows

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _shut(self) -> None:
        self._server.close()
        self._reset_all()
        self._flows.set()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=10)

    def _stall(self, seconds: float) -> None:
        self._flows.clear()
        self._loop.call_later(seconds, self._flows.set)

    def _arm(self, count: int | None, direction: Direction | None, for_good: bool) -> None:
        self._limits = {} if count is None or direction is None else {direction: count}
        self._refuses_after, self._refuses = for_good, False

    def _reset_all(self) -> None:
        for connection in list(self._open):
            connection.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refuses:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        connection = _Connection(self, (writer, far_writer))
        self._open.add(connection)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(connection.pump("up", reader, far_writer))
                ways.create_task(connection.pump("down", far_reader, writer))
        except* OSError:
            pass  # a peer is gone, and so is the connection
        finally:
            self._open.discard(connection)
            for one in (writer, far_writer):
                one.transport.abort()

    def passed(self, count: int, direction: Direction) -> int:
        """Count `count` bytes to be relayed; return how many of them may be."""
        limit = self._limits.get(direction)
        allowed = count if limit is None else min(count, limit)
        self.bytes[direction] += allowed
        if limit is not None:
            self._limits[direction] = limit - allowed
            if limit - allowed <= 0:
                self._limits.clear()
                self._refuses = self._refuses_after
                self._loop.call_soon(self._reset_all)
        return allowed

    async def flowing(self) -> None:
        """Wait until nothing is stalled."""
        await self._flows.wait()

    def was_reset(self, connection: _Connection) -> None:
        """Count a reset."""
        self._open.discard(connection)
        self.resets += 1


class _Connection:
    """The two directions of one connection."""

    def __init__(self, relay: Relay, writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self._relay = relay
        self._writers = writers

    def reset(self) -> None:
        self._relay.was_reset(self)
        for writer in self._writers:
            _reset(writer)

    async def pump(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read at once, and write when the delay is over, so that the amount of data on the way does not matter."""
        on_the_way: collections.deque[tuple[float, bytes]] = collections.deque()
        arrived = asyncio.Event()

        async def read() -> None:
            data = b"begin"
            while data:
                data = await reader.read(_CHUNK)
                on_the_way.append((asyncio.get_running_loop().time() + self._relay.delay, data))
                arrived.set()

        async def write() -> None:
            while True:
                while not on_the_way:
                    arrived.clear()
                    await arrived.wait()
                due, data = on_the_way.popleft()
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                await self._relay.flowing()
                if not data:
                    writer.write_eof()
                    return
                writer.write(data[: self._relay.passed(len(data), direction)])
                await writer.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(read())
            both.create_task(write())


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the peer gets RST."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
