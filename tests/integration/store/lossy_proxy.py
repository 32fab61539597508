"""A TCP proxy before Redis that can lose an answer: the command was done, and nobody hears of it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class LossyProxy:
    """Passes everything on, until `lose_after` is set: so many answers later, one is cut off.

    answering: while it is not set, answers wait.
    """

    def __init__(self, redis_port: int) -> None:
        self._redis_port = redis_port
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.lose_after: int | None = None
        self.lost = 0
        self.answering = asyncio.Event()
        self.answering.set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._redis_port)
        upward = asyncio.create_task(_pump(reader, up_writer))
        try:
            while data := await up_reader.read(65536):
                if self.lose_after == 0:
                    self.lose_after = None
                    self.lost += 1
                    break
                if self.lose_after is not None:
                    self.lose_after -= 1
                await self.answering.wait()
                writer.write(data)
                await writer.drain()
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)
            up_writer.close()
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
