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


async def test_what_a_caller_says_before_the_service_listens_is_not_lost(
    worker: Worker, service: EchoService
) -> None:
    service.confirms = False
    session_id = await worker.session()
    frames = noise(20)
    async with await worker.dial(session_id) as caller:
        for frame in frames:
            await caller.speak(frame)
        await eventually(lambda: service.sockets, what="the worker has opened a session")
        assert service.heard[0] == []
        await service.confirm()
        await eventually(lambda: sound(service.heard[0]) == sound(frames), what="it is heard afterwards")
        assert len(service.heard[0]) == 1, "base64 of whole frames is joined"


async def test_sixteen_kilohertz_is_resampled_both_ways(worker: Worker, service: EchoService) -> None:
    session_id = await worker.session()
    frames = noise(100, 640)
    async with await worker.dial(session_id, rate=16_000) as caller:
        for frame in frames:
            await caller.speak(frame)
        await worker.talking(session_id)
        # A filter holds back some of the last samples.
        await eventually(lambda: len(sound(service.heard[0])) > 97 * 960, what="the service heard 24 kHz")
        assert len(sound(service.heard[0])) <= 100 * 960
        await eventually(lambda: len(sound(caller.heard)) > 95 * 640, what="the caller heard 16 kHz")
        assert len(sound(caller.heard)) <= 100 * 640


async def test_keys_come_as_something_typed_and_interrupt_what_is_said(
    worker: Worker, service: EchoService
) -> None:
    service.echo = False
    session_id = await worker.session()
    async with await worker.dial(session_id) as caller:
        await worker.talking(session_id)
        await service.say({"type": "response.created", "response": {"id": "r1"}})
        await service.audio("r1", "i1", noise(1, 48_000)[0])
        await caller.hears(1)
        await caller.press("42#")

        def sent(kind: str) -> list[dict[str, object]]:
            return [event for event in service.events if event["type"] == kind]

        await eventually(lambda: sent("conversation.item.create"), what="the keys are given to the model")
        assert sent("conversation.item.create")[0]["item"]["content"][0]["text"] == "Keys pressed: 42#"  # type: ignore[index]
        assert [message.kind for message in caller.messages] == ["AudioData", "StopAudio"]
        assert [event["response_id"] for event in sent("response.cancel")] == ["r1"]
        (cut,) = sent("conversation.item.truncate")
        assert cut["item_id"] == "i1"
        assert 0 <= cut["audio_end_ms"] < 1_000  # type: ignore[operator]
