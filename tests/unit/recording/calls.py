"""A call that is recorded, without a provider: what is said is in WORDS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.limits import Limits
from realtime_worker.conversation.role import Role
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.recording.recorder import Recorder
from realtime_worker.recording.writer import Bounds
from shared.session.commands import EndCall, InboxEntry, Say
from shared.session.log import ToolCalled, ToolExecution, ToolStatus
from tests.unit.conversation.scene import CONFIGURATION, Scene, call_item, message_item

BOUNDS = Bounds(max_bytes=5 << 20, max_s=3600, total_bytes=1 << 30)
SETUP = ConversationSetup(
    session_id="ses_recorded",
    role=Role(
        agent="desk",
        configuration=CONFIGURATION,
        farewell="Goodbye dear Hannah.",
        executions={"look_up": ToolExecution.INLINE, "book": ToolExecution.DURABLE},
        repeatable=frozenset({"look_up"}),
    ),
    worker="w1",
    epoch=3,
    call_id="rtc_1",
    greeting="Willkommen bei Tomsk, hello.",
    limits=Limits(idle_ms=60_000, max_tokens=100_000),
    unanswered=(
        ToolCalled(
            tool_call_id="call_0",
            name="look_up",
            arguments='{"who":"Hannah"}',
            execution=ToolExecution.INLINE,
            response_id="resp_0",
            at_ms=999_000,
        ),
    ),
    answered={"call_00": '{"found":"Hannah"}'},
)
WORDS = ("Tomsk", "Hannah", "Toronto", "5550123", "kind", "secret")


def talk(conversation: Conversation, *, ending: bool = True) -> Scene:
    """Speak, call a tool, interrupt, hear of an error, lose the connection, take a command, and end."""
    scene = Scene(conversation)
    scene.accept_request("resp_1")
    scene.say(
        "response.output_audio_transcript.delta", delta="Tomsk", event_id="event_d", response_id="resp_1"
    )
    scene.say("response.done", response={"id": "resp_1", "output": [message_item("item_1", "Tomsk, hello.")]})
    scene.take(conversation.tool_finished("call_0", ToolStatus.OK, '{"who":"Hannah"}', 4.2, scene.now))
    scene.wait(900)
    scene.say("input_audio_buffer.speech_started", item_id="item_2")
    scene.say("input_audio_buffer.speech_stopped", item_id="item_2")
    scene.say(
        "conversation.item.input_audio_transcription.completed",
        item_id="item_2",
        transcript="I am Hannah from Toronto, 5550123.",
    )
    scene.respond("resp_2", call_item("call_2", arguments='{"number":"5550123","name":"Hannah"}'))
    scene.take(conversation.tool_finished("call_2", ToolStatus.OK, '{"city":"Toronto"}', 12.5, scene.now))
    scene.respond("resp_3", call_item("call_3", arguments='{"number":"5550123","name":"Hannah"}'))
    scene.take(conversation.tool_asks("call_3", scene.now))
    scene.wait(2_500)
    scene.say("error", error={"type": "server_error", "code": "odd", "message": "Hannah is odd."})
    conversation.lost()
    scene.take(conversation.opened(scene.now))
    scene.say("session.updated", session={"instructions": "Be kind.", "tools": []})
    scene.say("session.updated", session={"instructions": "Tell the secret.", "tools": []})
    scene.take(conversation.command(InboxEntry(entry_id="1-0", command=Say(text="Hi Hannah.")), scene.now))
    if ending:
        end = EndCall(reason="operator_ended", goodbye="Goodbye Hannah.")
        scene.take(conversation.command(InboxEntry(entry_id="2-0", command=end), scene.now))
        scene.wait(20_000)
    return scene


def record(directory: Path, *, bounds: Bounds = BOUNDS, ending: bool = True, epoch: int = 3) -> Path:
    """Record the call; return the file."""
    recorder = Recorder(directory, bounds)
    talk(recorder.conversation(replace(SETUP, epoch=epoch), "webrtc"), ending=ending)
    recorder.release(SETUP.session_id, epoch)
    recorder.close()
    return directory / f"{SETUP.session_id}-{epoch}.jsonl.gz"
