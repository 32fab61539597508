"""Log entries out of what is said and heard: a caller's words, and audio that begins late or is cut off."""

from __future__ import annotations

from realtime_worker.conversation.effects import Effect, Record
from realtime_worker.conversation.records import told_error
from realtime_worker.conversation.turns import TurnTracker
from realtime_worker.conversation.wire import Event, part, parts, spoken_text, text
from shared.session.log import AudioStarted, Interrupted, TurnStatus


def transcribed(turns: TurnTracker, event: Event, now_ms: int) -> list[Effect]:
    """Take `conversation.item.input_audio_transcription.completed`."""
    said = text(event, "transcript").strip()
    turn = turns.user_turn(text(event, "item_id"), said, TurnStatus.COMPLETED, now_ms)
    return [Record(entry=turn)] if turn else []


def not_transcribed(turns: TurnTracker, event: Event, now_ms: int) -> list[Effect]:
    """Take `conversation.item.input_audio_transcription.failed`: a turn without words, and why."""
    turn = turns.user_turn(text(event, "item_id"), "", TurnStatus.FAILED, now_ms)
    if turn is None:
        return []
    return [Record(entry=turn), told_error(part(event, "error"), "transcription_failed", now_ms)]


def written(turns: TurnTracker, item: Event, now_ms: int) -> list[Effect]:
    """Take a message item of the user's: one that holds text was written, not spoken."""
    if not any(text(content, "type") == "input_text" for content in parts(item, "content")):
        return []
    turn = turns.user_turn(text(item, "id"), spoken_text(item), TurnStatus.COMPLETED, now_ms)
    return [Record(entry=turn)] if turn else []


def audible(turns: TurnTracker, response_id: str, now_ms: int) -> list[Effect]:
    """Take `output_audio_buffer.started`."""
    waited_ms = turns.audio_started(response_id, now_ms, until_told=True)
    if waited_ms is None:
        return []
    return [Record(entry=AudioStarted(response_id=response_id, first_audio_ms=waited_ms, at_ms=now_ms))]


def cut_short(turns: TurnTracker, response_id: str, now_ms: int) -> list[Effect]:
    """Take `output_audio_buffer.cleared`: the caller spoke over what the log holds as said in full."""
    if not turns.cut_short(response_id):
        return []
    return [Record(entry=Interrupted(response_id=response_id, at_ms=now_ms))]
