"""Drives a session core in tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from emulators.realtime.ids import IdSource
from emulators.realtime.session.core import SessionCore
from emulators.realtime.session.effects import Effect, Emit, Think, Transport

Event = dict[str, object]

TRANSCRIBING: Event = {"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}


def new_core(transport: Transport = "webrtc", session: Mapping[str, object] | None = None) -> SessionCore:
    """Return a session with reproducible ids."""
    return SessionCore(
        requested=session or TRANSCRIBING,
        session_id="sess_1",
        model="voice",
        transport=transport,
        ids=IdSource(7),
    )


def events(effects: Sequence[Effect]) -> list[Event]:
    """Return the server events among the effects."""
    return [effect.event for effect in effects if isinstance(effect, Emit)]


def types(effects: Sequence[Effect]) -> list[str]:
    """Return the server events' types."""
    return [str(event["type"]) for event in events(effects)]


def send(core: SessionCore, kind: str, **fields: object) -> list[Effect]:
    """Send a client event."""
    return core.handle(json.dumps({"type": kind, **fields}))


def error_of(effects: Sequence[Effect]) -> Event:
    """Return the one error among the effects."""
    (event,) = events(effects)
    assert event["type"] == "error", event
    error = event["error"]
    assert isinstance(error, dict)
    return error


def thinking(effects: Sequence[Effect]) -> str:
    """Return the id of the response that the mind is asked for."""
    (think,) = (effect for effect in effects if isinstance(effect, Think))
    return think.response_id


def user_says(core: SessionCore, text: str, *, at_ms: int = 1000, length_ms: int = 800) -> list[Effect]:
    """Let the caller speak a turn that is understood."""
    effects = list(core.speech_started(at_ms))
    effects += core.speech_stopped(at_ms + length_ms)
    item_id = next(str(e["item_id"]) for e in events(effects) if e["type"] == "input_audio_buffer.committed")
    return [*effects, *core.heard(item_id, text), *core.transcribed(item_id, text)]


def answer(core: SessionCore, response_id: str, text: str, *, audio_ms: float = 1000) -> list[Effect]:
    """Let the mind answer with one spoken sentence."""
    aloud, effects = core.said(response_id, text)
    assert aloud.strip() == text
    return [*effects, *core.spoke(response_id, audio_ms, None), *core.finished(response_id)]
