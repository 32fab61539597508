"""The effective session object: defaults, what a client sends, and what it then means."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from emulators.realtime.session.effects import Transport
from emulators.realtime.wire import Json, as_object, object_at, text_at

DEFAULT_INSTRUCTIONS = (
    "Your knowledge cutoff is 2023-10. You are a helpful, witty, and friendly AI. Act like a human, but "
    "remember that you aren't a human. Your voice and personality should be warm and engaging."
)
_SERVER_VAD: Json = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD: Json = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
# How long semantic turn detection waits here, where no model judges whether a sentence is complete.
_EAGERNESS_SILENCE_MS = {"high": 300, "medium": 600, "auto": 600, "low": 1200}


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnDetection:
    """How turns end: `silence_ms` after speech, with `padding_ms` of audio kept from before it."""

    threshold: float
    padding_ms: int
    silence_ms: int
    idle_timeout_ms: int | None
    create_response: bool
    interrupt_response: bool


class SessionConfiguration:
    """The session object that `session.created` shows and `session.update` changes."""

    def __init__(
        self,
        requested: Mapping[str, object],
        *,
        session_id: str,
        model: str,
        expires_at: int = 0,
        transport: Transport = "websocket",
    ) -> None:
        self.kind = text_at(requested, "type", default="realtime")
        self.data: Json = _defaults(self.kind, session_id, model, expires_at, transport)
        self.apply({key: value for key, value in requested.items() if key != "model"})

    def apply(self, patch: Mapping[str, object]) -> None:
        """Change the fields that `patch` has; null clears, objects merge, turn detection is replaced."""
        _merge(self.data, patch)
        audio_input = as_object(object_at(self.data, "audio").get("input"))
        detection = as_object(audio_input.get("turn_detection")) if audio_input is not None else None
        if audio_input is not None and detection is not None:
            base = _SEMANTIC_VAD if detection.get("type") == "semantic_vad" else _SERVER_VAD
            audio_input["turn_detection"] = {**base, **detection}

    def snapshot(self) -> Json:
        """Return a copy for an event."""
        return copy.deepcopy(self.data)

    @property
    def turn_detection(self) -> TurnDetection | None:
        """The turn detection in force, or None when the client commits by itself."""
        found = object_at(self.data, "audio", "input", "turn_detection")
        if not found:
            return None
        silence = found.get("silence_duration_ms", 500)
        if found.get("type") == "semantic_vad":
            silence = _EAGERNESS_SILENCE_MS[text_at(found, "eagerness", default="auto")]
        idle = found.get("idle_timeout_ms")
        return TurnDetection(
            threshold=float(_number(found.get("threshold"), 0.5)),
            padding_ms=int(_number(found.get("prefix_padding_ms"), 300)),
            silence_ms=int(_number(silence, 500)),
            idle_timeout_ms=int(_number(idle, 0)) if idle is not None else None,
            create_response=found.get("create_response") is not False and self.kind == "realtime",
            interrupt_response=found.get("interrupt_response") is not False,
        )

    @property
    def transcribes(self) -> bool:
        """Whether input transcription was asked for."""
        return bool(object_at(self.data, "audio").get("input")) and (
            object_at(self.data, "audio", "input").get("transcription") is not None
        )

    @property
    def voice(self) -> object:
        return object_at(self.data, "audio", "output").get("voice")

    @property
    def speed(self) -> float:
        return float(_number(object_at(self.data, "audio", "output").get("speed"), 1.0))

    @property
    def input_format(self) -> str:
        return text_at(self.data, "audio", "input", "format", "type", default="audio/pcm")


def _default_format(transport: Transport) -> Json:
    return {"type": "audio/pcmu"} if transport == "sip" else {"type": "audio/pcm", "rate": 24_000}


def _defaults(kind: str, session_id: str, model: str, expires_at: int, transport: Transport) -> Json:
    audio_input: Json = {
        "format": _default_format(transport),
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": dict(_SERVER_VAD),
    }
    if kind == "transcription":
        return {
            "type": "transcription",
            "object": "realtime.transcription_session",
            "id": session_id,
            "expires_at": expires_at,
            "include": None,
            "audio": {"input": audio_input},
        }
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": DEFAULT_INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {
            "input": audio_input,
            "output": {"format": _default_format(transport), "voice": "alloy", "speed": 1.0},
        },
        "include": None,
    }


_REPLACED_WHOLE = {"turn_detection", "transcription", "noise_reduction", "format", "tool_choice",
                   "truncation", "tracing", "prompt", "reasoning"}  # fmt: skip


def _merge(target: Json, patch: Mapping[str, object]) -> None:
    for key, value in patch.items():
        old = as_object(target.get(key))
        new = as_object(value)
        if old is not None and new is not None and key not in _REPLACED_WHOLE:
            _merge(old, new)
        elif key == "format" and new is not None and new.get("type") == "audio/pcm":
            target[key] = {"type": "audio/pcm", "rate": 24_000}
        elif value is None and key in ("instructions", "tools", "tool_choice", "model", "audio", "input",
                                       "output", "voice", "speed", "format", "output_modalities",
                                       "max_output_tokens", "truncation"):  # fmt: skip
            continue
        else:
            target[key] = copy.deepcopy(value)


def _number(value: object, default: float) -> float:
    return value if isinstance(value, (int, float)) else default
