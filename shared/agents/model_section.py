"""`model`, `reasoning_effort`, `speed`, `noise_reduction` and `transcription` of an agent's YAML."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.agents.model_settings import ModelSettings, Transcription


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TranscriptionSection(_Section):
    enabled: bool = True
    model: str = ""
    prompt: Annotated[str, StringConstraints(max_length=1_000)] = ""


class ModelFields(_Section):
    """The fields of an agent's file that are about the model."""

    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    reasoning_effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None
    speed: float = Field(default=1.0, ge=0.25, le=1.5)
    noise_reduction: Literal["near_field", "far_field"] | None = None
    transcription: TranscriptionSection = TranscriptionSection()

    def model_settings(self) -> ModelSettings:
        return ModelSettings(
            model=self.model or "",
            reasoning_effort=self.reasoning_effort,
            speed=self.speed,
            noise_reduction=self.noise_reduction,
            transcription=Transcription(
                enabled=self.transcription.enabled,
                model=self.transcription.model,
                prompt=self.transcription.prompt.strip(),
            ),
        )
