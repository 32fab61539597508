"""`requires`, `gates`, `handoffs`, `guardrails` and `environment` of an agent's YAML."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.agents.guardrail import Guardrail, phrase_pattern
from shared.agents.handoff import ContextField

AgentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
FactName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ContextName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,64}$")]
Spoken = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
# Prompts go to the model and into whatever it says: no place for what opens doors.
_SECRET = re.compile(r"(KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|CONNECTION_STRING)")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


def _harmless(name: str) -> str:
    if _SECRET.search(name):
        raise ValueError("looks like a secret, and a prompt is read by the model; leave it out")
    return name


Pattern = Annotated[str, StringConstraints(max_length=500), AfterValidator(_pattern)]
EnvironmentName = Annotated[
    str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$"), AfterValidator(_harmless)
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ContextFieldSection(_Section):
    """Something that the model tells the next agent."""

    type: Literal["string", "integer", "number", "boolean"] = "string"
    description: str = ""
    required: bool = True
    enum: list[str] = Field(default_factory=list[str])
    pattern: Pattern = ""

    def as_field(self) -> ContextField:
        return ContextField(
            type=self.type,
            description=self.description.strip(),
            required=self.required,
            choices=tuple(self.enum),
            pattern=self.pattern,
        )


class HandoffSection(_Section):
    """An agent that this one may hand the call to. Without `announce` it is silent."""

    to: AgentName
    description: str = ""
    requires: list[FactName] = Field(default_factory=list[str])
    context: dict[ContextName, ContextFieldSection] = Field(default_factory=dict[str, ContextFieldSection])
    announce: Spoken = ""


class GuardrailSection(_Section):
    """What the agent must not say; `say` is said instead."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    phrases: list[Annotated[str, StringConstraints(min_length=3, max_length=200)]] = Field(
        default_factory=list[str]
    )
    pattern: Pattern = ""
    say: Spoken = ""

    def as_guardrail(self) -> Guardrail:
        alternatives = [phrase_pattern(phrase) for phrase in self.phrases]
        if self.pattern:
            alternatives.append(f"(?:{self.pattern})")
        return Guardrail(name=self.name, pattern=re.compile("|".join(alternatives)), instead=self.say)


class TeamFields(_Section):
    """The fields of an agent's file that are about other agents, what must be known, and what not said."""

    requires: list[FactName] = Field(default_factory=list[str])
    gates: dict[ToolName, list[FactName]] = Field(default_factory=dict[str, list[str]])
    handoffs: list[HandoffSection] = Field(default_factory=list[HandoffSection])
    guardrails: list[GuardrailSection] = Field(default_factory=list[GuardrailSection])
    environment: list[EnvironmentName] = Field(default_factory=list[str])
