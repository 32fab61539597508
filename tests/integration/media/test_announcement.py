"""What a phone caller must hear first is heard to its end, whatever they say; then they may interrupt."""

from __future__ import annotations

from shared.session.jobs import AdjustRecording
from shared.session.log import ConsentNoted, ConsentStep
from tests.integration.media.in_process import Worker
from tests.integration.media.test_barge_in import SECOND, said, sent
from tests.support.echo_service import EchoService
from tests.support.eventually import eventually


async def test_speech_and_keys_do_not_stop_it(worker: Worker, service: EchoService) -> None:
    service.echo = False
    session_id = await worker.session(agent="careful")
    async with await worker.dial(session_id) as caller:
        await worker.talking(session_id)
        await eventually(lambda: sent(service, "response.create"), what="the announcement is asked for")
        (request,) = sent(service, "response.create")
        response = request["response"]
        assert isinstance(response, dict)
        assert response["instructions"] == "Say exactly: This call is recorded. Is that all right?"
        metadata = response["metadata"]
        await service.say({"type": "response.created", "response": {"id": "r1", "metadata": metadata}})
        await service.audio("r1", "i1", SECOND)
        await service.say({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 1})
        await caller.press("5")
        await service.audio("r1", "i1", SECOND)
        await caller.hears(2)
        await service.say({"type": "input_audio_buffer.speech_stopped", "item_id": "u1"})
        output = [said("i1", "This call is recorded. Is that all right?")]
        done = {"id": "r1", "status": "completed", "output": output}
        await service.say({"type": "response.done", "response": done})

        async def heard() -> bool:
            steps = [e.step for e in await worker.parts.entries(session_id) if isinstance(e, ConsentNoted)]
            return steps == [ConsentStep.ANNOUNCED]

        await eventually(heard, what="it is heard to its end")
        assert [message.kind for message in caller.messages] == ["AudioData"] * 2
        await eventually(
            lambda: len(sent(service, "response.create")) == 2, what="an answer to what they said"
        )
        await service.say({"type": "response.created", "response": {"id": "r2"}})
        await service.audio("r2", "i2", SECOND)
        await caller.hears(3)
        await service.say({"type": "input_audio_buffer.speech_started", "item_id": "u2", "audio_start_ms": 2})
        await eventually(lambda: caller.messages[-1].kind == "StopAudio", what="now they may interrupt")


async def test_recording_is_asked_for_once_they_agree(worker: Worker, service: EchoService) -> None:
    service.echo = False
    session_id = await worker.session(agent="careful")
    async with await worker.dial(session_id) as caller:
        await worker.talking(session_id)
        await eventually(lambda: sent(service, "response.create"), what="the announcement is asked for")
        metadata = sent(service, "response.create")[0]["response"]["metadata"]  # type: ignore[index]
        await service.say({"type": "response.created", "response": {"id": "r1", "metadata": metadata}})
        await service.audio("r1", "i1", SECOND)
        await caller.hears(1)
        done = {"id": "r1", "status": "completed", "output": [said("i1", "Recorded.")]}
        await service.say({"type": "response.done", "response": done})

        async def steps() -> list[ConsentStep]:
            return [e.step for e in await worker.parts.entries(session_id) if isinstance(e, ConsentNoted)]

        await eventually(steps, what="it is heard to its end")
        outbox = worker.parts.services.outbox
        await service.say({"type": "response.created", "response": {"id": "r2"}})
        item = {"type": "function_call", "call_id": "c1", "name": "record_consent", "status": "completed"}
        call = {**item, "arguments": '{"given": true}'}
        await service.say({"type": "response.output_item.done", "response_id": "r2", "item": call})

        async def asked() -> list[AdjustRecording]:
            found = [entry.message for entry in await outbox.claim("other", 10, 0)]
            return [one for one in found if isinstance(one, AdjustRecording)]

        (message,) = await eventually(asked, what="recording is asked for")
        assert message.session_id == session_id
        assert await steps() == [ConsentStep.ANNOUNCED, ConsentStep.GIVEN]
