"""A caller's audio reaches the service as it came, and the agent's the caller."""

from __future__ import annotations

import base64
import random

from tests.integration.media.in_process import Worker
from tests.support.echo_service import EchoService
from tests.support.eventually import eventually

FRAME_BYTES = 960


def noise(frames: int, size: int = FRAME_BYTES) -> list[str]:
    """Return frames that no two bytes of can be mixed up unnoticed."""
    chance = random.Random(7)
    return [base64.b64encode(chance.randbytes(size)).decode() for _ in range(frames)]


def sound(pieces: list[str]) -> bytes:
    return b"".join(base64.b64decode(piece) for piece in pieces)


async def test_audio_passes_both_ways_byte_for_byte(worker: Worker, service: EchoService) -> None:
    session_id = await worker.session()
    frames = noise(200)
    async with await worker.dial(session_id) as caller:
        for frame in frames:
            await caller.speak(frame)
        await worker.talking(session_id)
        await eventually(
            lambda: len(sound(service.heard[0])) == 200 * FRAME_BYTES, what="the service heard everything"
        )
        assert sound(service.heard[0]) == sound(frames)
        await eventually(lambda: len(sound(caller.heard)) == 200 * FRAME_BYTES, what="the echo came back")
        assert sound(caller.heard) == sound(frames)
