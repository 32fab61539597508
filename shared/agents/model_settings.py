"""How the realtime model listens and speaks for one agent, beside its voice and how turns end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

NoiseReduction: TypeAlias = Literal["near_field", "far_field"]
ReasoningEffort: TypeAlias = Literal["minimal", "low", "medium", "high", "xhigh"]


@dataclass(frozen=True, kw_only=True)
class Transcription:
    """How callers' words are written down, for the log and for whoever watches; the model hears them itself.

    model: "" for the settings'. prompt: words to expect, such as names.
    """

    enabled: bool = True
    model: str = ""
    prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """model: the deployment, on Azure, or the model's name; "" for the settings'. A call keeps its model.

    reasoning_effort: of models that reason; None leaves it to them. speed: 1.0 is the voice's own.
    noise_reduction: for a microphone near the mouth, or across the room; None for none.
    """

    model: str = ""
    reasoning_effort: ReasoningEffort | None = None
    speed: float = 1.0
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription = Transcription()
