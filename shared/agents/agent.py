"""An agent: who answers a call, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shared.agents.guardrail import Guardrail
from shared.agents.handoff import Handoff
from shared.agents.model_settings import ModelSettings
from shared.agents.phone import Consent, Destination
from shared.agents.prompt import Prompt
from shared.agents.scene import NOWHERE, PromptNames, Scene
from shared.errors import InvalidRequestError
from shared.mcp.server import McpServer
from shared.session.model import Transport
from shared.telephony.recording import Recording
from shared.tools.definition import Tool

# A variable comes from the application that starts the session and ends up in the prompt.
MAX_VARIABLE_LENGTH = 2_000


@dataclass(frozen=True, kw_only=True)
class ServerVad:
    """The caller's turn ends with silence. Times in milliseconds; `threshold` from 0 to 1."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    idle_timeout_ms: int | None = None
    interrupt_response: bool = True

    def as_session_field(self, transport: Transport) -> dict[str, object]:
        """Return `audio.input.turn_detection` of the GA Realtime session; SIP calls take no tuning."""
        tuning: dict[str, object] = {
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms,
        }
        idle: dict[str, object] = (
            {} if self.idle_timeout_ms is None else {"idle_timeout_ms": self.idle_timeout_ms}
        )
        return {
            "type": "server_vad",
            **({} if transport is Transport.SIP else tuning),
            **idle,
            "create_response": True,
            "interrupt_response": self.interrupt_response,
        }


@dataclass(frozen=True, kw_only=True)
class SemanticVad:
    """A model judges whether the caller has finished."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    interrupt_response: bool = True

    def as_session_field(self, transport: Transport) -> dict[str, object]:
        """Return `audio.input.turn_detection` of the GA Realtime session."""
        return {
            "type": "semantic_vad",
            "eagerness": self.eagerness,
            "create_response": True,
            "interrupt_response": self.interrupt_response,
        }


TurnDetection: TypeAlias = ServerVad | SemanticVad


@dataclass(frozen=True, kw_only=True)
class AgentLimits:
    """What ends a call from the server.

    max_duration_s: how long one call may last, in seconds; None leaves it to the settings.
    idle_s: how long neither side may say anything, in seconds; 0 lets them be silent.
    max_tokens: input and output tokens of all responses together, as billed; None is no budget.
    max_cost: what they cost, in the currency of the worker's TOKEN_PRICES; None is no budget.
    max_turns: how many responses the model may give, those that only call a tool included; None is no limit.
    max_handoffs: how often the call may be handed over. All of these are of the agent that began the call.
    """

    max_duration_s: int | None = None
    idle_s: int = 120
    max_tokens: int | None = None
    max_cost: float | None = None
    max_turns: int | None = None
    max_handoffs: int = 10


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A value that the prompt takes from whoever starts the session. `default` None: it must be given."""

    description: str = ""
    default: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Agent:
    """One agent, checked.

    version: digest of its YAML, its prompt with all it includes, and the tool modules; and of those of every
        agent that the call can be handed to.
    language: ISO 639-1 code, for the transcription.
    greeting: what it says first, word for word; "" lets the caller begin.
    farewell: what it says before the server ends the call for a limit; "" ends it without a word.
    max_output_tokens: per response, 1 to 4096, or "inf".
    transfer_to, participants: whom its telephone tools may call, by the names that the model knows.
    consent: what callers hear first, and may have to agree to; None where they hear the greeting.
    recording: None where calls are not recorded.
    mcp_servers: by name, where more tools come from; the worker finds them out.
    requires: facts that must be known before it may take over.
    handoffs: by the name of the tool, whom it may hand the call to.
    guardrails: what it must not say.
    names: what its prompt may know beside `variables`.
    model: how the model listens and speaks, beside the voice.
    """

    name: str
    version: str
    description: str
    voice: str
    language: str
    greeting: str
    prompt: Prompt = field(repr=False)
    variables: Mapping[str, Variable] = field(default_factory=dict[str, Variable])
    tools: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    mcp_servers: Mapping[str, McpServer] = field(default_factory=dict[str, McpServer])
    turn_detection: TurnDetection = field(default_factory=ServerVad)
    farewell: str = ""
    limits: AgentLimits = field(default_factory=AgentLimits)
    max_output_tokens: int | Literal["inf"] = "inf"
    transfer_to: Mapping[str, Destination] = field(default_factory=dict[str, Destination], repr=False)
    participants: Mapping[str, Destination] = field(default_factory=dict[str, Destination], repr=False)
    consent: Consent | None = None
    recording: Recording | None = None
    requires: tuple[str, ...] = ()
    handoffs: Mapping[str, Handoff] = field(default_factory=dict[str, Handoff])
    guardrails: tuple[Guardrail, ...] = ()
    names: PromptNames = field(default_factory=PromptNames, repr=False)
    model: ModelSettings = field(default_factory=ModelSettings)

    def taken(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return those of a session's variables that this agent declares: another one may have begun it."""
        return {name: value for name, value in variables.items() if name in self.variables}

    def instructions(self, variables: Mapping[str, str], scene: Scene = NOWHERE) -> str:
        """Return the prompt with `variables` in it, and what is known of the call.

        Raises InvalidRequestError "agent_variables" when one is missing, unknown, or too long.
        """
        declared = self.variables
        wrong = [f"{name} is not known" for name in variables if name not in declared]
        wrong += [
            f"{name} is missing"
            for name, variable in declared.items()
            if variable.default is None and name not in variables
        ]
        wrong += [
            f"{name} has {len(value)} characters, at most {MAX_VARIABLE_LENGTH}"
            for name, value in variables.items()
            if len(value) > MAX_VARIABLE_LENGTH
        ]
        if wrong:
            takes = ", ".join(sorted(declared)) or "none"
            raise InvalidRequestError(
                "agent_variables",
                f"The variables do not fit the agent {self.name}: {'; '.join(wrong)}. It takes: {takes}.",
            )
        defaults = {name: variable.default or "" for name, variable in declared.items()}
        told = {"name": self.name, "description": self.description, "language": self.language}
        return self.prompt.render({**defaults, **variables, **self.names.values(scene, told)})
