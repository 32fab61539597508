"""A TCP proxy whose line can be cut, mended and slowed, to test what a bad connection does."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Self


class TcpProxy:
    """Forwards 127.0.0.1:`port` to `target_port` there; `cut` drops and refuses, `mend` forwards again.

    delay_s: how much later everything that the target says arrives, in order; may be changed at any time.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.port = 0
        self.delay_s = 0.0

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections and reset the running ones."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served_by = self._server
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        if self._server is None or self._server is not served_by:  # cut while it was being opened
            writer.transport.abort()
            far_writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        self._start(self._pump(reader, far_writer))
        self._start(self._pump_late(far_reader, writer))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        pump = asyncio.create_task(work)
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        self._close(sink)

    async def _pump_late(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """As `_pump`, with the delay. What follows closely is delayed as a whole, not piece by piece."""
        clock = asyncio.get_running_loop().time
        late: deque[tuple[float, bytes]] = deque()
        more = asyncio.Event()

        async def deliver() -> None:
            while True:
                await more.wait()
                more.clear()
                while late:
                    due, data = late[0]
                    if (left := due - clock()) > 0:
                        await asyncio.sleep(left)
                    if not data:
                        return
                    sink.write(data)
                    await sink.drain()
                    late.popleft()

        delivering = asyncio.create_task(deliver())
        try:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    if self.delay_s or late:
                        late.append((clock() + self.delay_s, data))
                        more.set()
                    else:
                        sink.write(data)
                        await sink.drain()
            late.append((0.0, b""))
            more.set()
            with contextlib.suppress(OSError):
                await delivering
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
        self._close(sink)

    def _close(self, sink: asyncio.StreamWriter) -> None:
        self._writers.discard(sink)
        sink.close()
