"""A caller who speaks over the agent hears it stop at once, and the model is told how far it got."""

from __future__ import annotations

import base64

from shared.session.log import AgentTurn, Interrupted
from tests.integration.media.in_process import Worker
from tests.support.echo_service import EchoService
from tests.support.eventually import eventually

SECOND = base64.b64encode(bytes(48_000)).decode()


def sent(service: EchoService, kind: str) -> list[dict[str, object]]:
    return [event for event in service.events if event["type"] == kind]


def said(item_id: str, text: str) -> dict[str, object]:
    content = [{"type": "output_audio", "transcript": text}]
    return {"id": item_id, "type": "message", "role": "assistant", "status": "completed", "content": content}


async def test_the_carrier_drops_its_queue_and_what_still_comes_of_the_answer_is_left_out(
    worker: Worker, service: EchoService
) -> None:
    service.echo = False
    session_id = await worker.session()
    async with await worker.dial(session_id) as caller:
        await worker.talking(session_id)
        await service.say({"type": "response.created", "response": {"id": "r1"}})
        for _ in range(5):
            await service.audio("r1", "i1", SECOND)
        await caller.hears(5)
        await service.say({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 1})
        await service.audio("r1", "i1", SECOND)
        response = {"id": "r1", "status": "cancelled", "output": [said("i1", "A long story.")]}
        await service.say({"type": "response.done", "response": response})
        await service.say({"type": "response.created", "response": {"id": "r2"}})
        await service.audio("r2", "i2", SECOND)
        await eventually(lambda: len(caller.messages) == 7, what="the next answer is heard")
        assert [message.kind for message in caller.messages] == [*["AudioData"] * 5, "StopAudio", "AudioData"]
        (cut,) = sent(service, "conversation.item.truncate")
        assert (cut["item_id"], cut["content_index"]) == ("i1", 0)
        assert 0 <= cut["audio_end_ms"] < 5_000  # type: ignore[operator]


async def test_an_answer_that_was_generated_and_not_heard_out_is_cut_in_the_log_too(
    worker: Worker, service: EchoService
) -> None:
    service.echo = False
    session_id = await worker.session()
    async with await worker.dial(session_id) as caller:
        await worker.talking(session_id)
        await service.say({"type": "response.created", "response": {"id": "r1"}})
        await service.audio("r1", "i1", SECOND)
        response = {"id": "r1", "status": "completed", "output": [said("i1", "A long story.")]}
        await service.say({"type": "response.done", "response": response})
        await caller.hears(1)
        await service.say({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 1})

        async def logged() -> bool:
            return any(isinstance(entry, Interrupted) for entry in await worker.parts.entries(session_id))

        await eventually(logged, what="the log has the interruption")
        turns = [e for e in await worker.parts.entries(session_id) if isinstance(e, AgentTurn)]
        assert [turn.text for turn in turns] == ["A long story."]
        assert [message.kind for message in caller.messages] == ["AudioData", "StopAudio"]


async def test_who_has_been_heard_out_is_not_cut(worker: Worker, service: EchoService) -> None:
    service.echo = False
    session_id = await worker.session()
    async with await worker.dial(session_id) as caller:
        await worker.talking(session_id)
        await service.say({"type": "response.created", "response": {"id": "r1"}})
        await service.audio("r1", "i1", base64.b64encode(bytes(960)).decode())
        response = {"id": "r1", "status": "completed", "output": [said("i1", "Yes.")]}
        await service.say({"type": "response.done", "response": response})
        await caller.hears(1)
        runner = worker.roster.runner(session_id)
        assert runner is not None
        await eventually(lambda: not runner._conversation._turns.playing, what="it is heard out")
        await service.say({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 1})
        await eventually(lambda: len(caller.messages) == 2, what="the carrier is told to stop all the same")
        assert sent(service, "conversation.item.truncate") == []
        assert not [e for e in await worker.parts.entries(session_id) if isinstance(e, Interrupted)]
