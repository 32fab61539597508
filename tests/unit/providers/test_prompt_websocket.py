"""What is written leaves in the step in which it is written, on the loop that the worker runs on."""

from __future__ import annotations

import asyncio
import socket

import uvloop

from shared.prompt_websocket import leave_at_once


def test_a_frame_is_on_its_way_before_the_loop_turns() -> None:
    async def written() -> bytes:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        with far:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
            leave_at_once(transport)
            transport.write(b"frame")
            try:
                return far.recv(16)  # nothing was awaited since
            except BlockingIOError:
                return b""
            finally:
                transport.abort()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(written()) == b"frame"
