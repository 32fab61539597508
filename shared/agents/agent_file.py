"""The schema of an agent's YAML, and its violations told by line and field."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from shared.agents.call_section import (
    CallFields,
    ConsentSection,
    DestinationSection,
    ParticipantSection,
    RecordingSection,
)
from shared.agents.mcp_section import McpServerSection, McpServersSection, told_of_server
from shared.agents.model_section import ModelFields, TranscriptionSection
from shared.agents.problems import Problem, did_you_mean
from shared.agents.team_section import (
    AgentName,
    ContextFieldSection,
    GuardrailSection,
    HandoffSection,
    TeamFields,
)
from shared.agents.yaml_source import Location, YamlDocument, field_name

# GA Realtime's built-in voices (openai/types/realtime/realtime_audio_config_output.py).
VoiceName = Literal["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"]
VariableName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ToolReference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ServerVadSection(_Section):
    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=10_000)
    silence_duration_ms: int = Field(default=500, ge=0, le=60_000)
    idle_timeout_ms: int | None = Field(default=None, ge=5_000, le=30_000)
    interrupt_response: bool = True


class SemanticVadSection(_Section):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    interrupt_response: bool = True


class LimitsSection(_Section):
    max_duration_s: int | None = Field(default=None, ge=10, le=3_600)
    idle_s: int = Field(default=120, ge=0, le=3_600)
    max_tokens: int | None = Field(default=None, ge=1_000)
    max_cost: float | None = Field(default=None, gt=0)
    max_turns: int | None = Field(default=None, ge=1)
    max_handoffs: int = Field(default=10, ge=0, le=100)


class VariableSection(_Section):
    description: str = ""
    default: str | None = None


class AgentFile(CallFields, ModelFields, TeamFields):
    """One agent, as written. shared.agents.schema tells what a field means."""

    name: AgentName
    description: Text
    prompt: Text | None = None
    instructions: Text | None = None
    voice: VoiceName = "marin"
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")] = "en"
    greeting: str = ""
    farewell: str = "Thank you for calling. Goodbye."
    variables: dict[VariableName, VariableSection] = Field(default_factory=dict[str, VariableSection])
    tools: list[ToolReference] = Field(default_factory=list[str])
    mcp_servers: McpServersSection = Field(default_factory=dict[str, McpServerSection])
    turn_detection: Annotated[ServerVadSection | SemanticVadSection, Field(discriminator="type")] = (
        ServerVadSection(type="server_vad")
    )
    limits: LimitsSection = LimitsSection()
    max_output_tokens: Annotated[int, Field(ge=1, le=4_096)] | Literal["inf"] = "inf"


_EXAMPLES = {
    "name": "name: member_services",
    "description": "description: Answers members' questions about claims.",
    "to": "to: billing",
    "type": "type: server_vad",
}
_SECTIONS: dict[str, type[BaseModel]] = {
    "server_vad": ServerVadSection,
    "semantic_vad": SemanticVadSection,
    "limits": LimitsSection,
    "variables": VariableSection,
    "handoffs": HandoffSection,
    "context": ContextFieldSection,
    "guardrails": GuardrailSection,
    "transcription": TranscriptionSection,
    "transfer_to": DestinationSection,
    "participants": ParticipantSection,
    "consent": ConsentSection,
    "recording": RecordingSection,
}
_FACTS = "facts are named in snake_case, such as member_verified."
_PATTERNS = {
    "requires": _FACTS,
    "gates": "must be tools' names, each with a list of facts: {claim_status: [member_verified]}.",
    "handoffs": "must be lower-case letters, digits and _, and begin with a letter.",
    "guardrails": "must be lower-case letters, digits and _, and begin with a letter.",
    "environment": "environment variables are named in upper case, such as CLINIC_NAME.",
    "model": "must be the name of a model or deployment, such as gpt-realtime.",
    "name": "must be lower-case letters, digits, _ and -, and begin with a letter.",
    "language": "must be a two-letter ISO 639-1 code in lower case, such as en.",
    "tools": "must be <module>.<function> of the tools folder, such as claims.claim_status.",
    "variables": "must be lower-case letters, digits and _, and begin with a letter.",
    "transfer_to": "must be lower-case letters, digits and _, and begin with a letter.",
    "participants": "must be lower-case letters, digits and _, and begin with a letter.",
}


def read_agent_file(document: YamlDocument, file: Path) -> tuple[AgentFile | None, list[Problem]]:
    """Return the agent as written, or None and everything that is wrong with it."""
    try:
        return AgentFile.model_validate(document.data), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
        return None, _distinct(_problem(details, document, file) for details in found)


def _problem(details: ErrorDetails, document: YamlDocument, file: Path) -> Problem:
    location = _written(details["loc"], document, absent=details["type"] == "missing")
    message, fix = _told(details, location)
    return Problem(
        file=file, line=document.line_of(location), field=field_name(location), message=message, fix=fix
    )


def _told(details: ErrorDetails, location: Location) -> tuple[str, str]:
    last = str(location[-1]) if location else ""
    if location[:1] == ("mcp_servers",):
        return told_of_server(details, last)
    if last == "max_output_tokens":
        return f"must be a number from 1 to 4096, or inf; not {_shown(details['input'])}.", ""
    match details["type"]:
        case "missing":
            example = _EXAMPLES.get(last)
            return "is required.", f"Write, for example: {example}" if example else ""
        case "extra_forbidden":
            return "is not a known field.", did_you_mean(last, _known_beside(details["loc"]))
        case "string_type":
            return f"must be text, not {_shown(details['input'])}.", "Put it in quotes."
        case "string_pattern_mismatch":
            return _PATTERNS.get(str(location[0]), "has the wrong form."), ""
        case "string_too_short":
            return "must not be empty.", ""
        case "value_error":
            return f"{(details.get('ctx') or {}).get('error', details['msg'])}.", ""
        case "literal_error":
            known = _expected(details)
            return (
                f"can't be {_shown(details['input'])}.",
                did_you_mean(str(details["input"]), known) or f"Expected: {', '.join(known)}.",
            )
        case "union_tag_invalid":
            return (
                f"type can't be {_shown((details.get('ctx') or {}).get('tag'))}.",
                "Known are: semantic_vad, server_vad.",
            )
        case "union_tag_not_found":
            return "needs a type.", "Write, for example: type: server_vad"
        case "model_type" | "dict_type" | "model_attributes_type":
            return "must be a mapping of fields.", ""
        case "list_type":
            return "must be a list.", "Begin each entry with a dash."
        case _:
            return f"{details['msg'].removeprefix('Input ')}, not {_shown(details['input'])}.", ""


def _written(location: Location, document: YamlDocument, *, absent: bool) -> Location:
    """Return pydantic's location without the parts that name a type of a union instead of a field."""
    result: Location = ()
    for at, part in enumerate(location):
        longer = (*result, part)
        if longer in document.lines or (absent and at == len(location) - 1):
            result = longer
    return result


def _known_beside(location: Location) -> list[str]:
    section: type[BaseModel] = AgentFile
    for part in location[:-1]:
        section = _SECTIONS.get(str(part), section)
    return list(section.model_fields)


def _expected(details: ErrorDetails) -> list[str]:
    listed = cast("str", (details.get("ctx") or {}).get("expected", ""))
    return [part.strip(" '") for part in listed.replace(" or ", ", ").split(",") if part.strip(" '")]


def _shown(value: object) -> str:
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _distinct(problems: Iterable[Problem]) -> list[Problem]:
    """Several branches of a union complain about one value: keep the first a line and field."""
    seen: dict[tuple[int, str], Problem] = {}
    for problem in problems:
        seen.setdefault((problem.line, problem.field), problem)
    return list(seen.values())
