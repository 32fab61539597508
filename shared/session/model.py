"""The session record: one conversation, from token or ring to summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


class SessionState(StrEnum):
    """Where a session is in its life. The order below is the only direction it moves in."""

    CREATED = "created"  # a token was given out, or a call is being set up; no call id yet
    CONNECTING = "connecting"  # the call id is known; a worker shall attach
    ACTIVE = "active"  # a worker holds the sideband
    ENDED = "ended"  # the call is over; archive and summary are under way
    ARCHIVED = "archived"  # the transcript is kept until it expires


LIVE_STATES = frozenset({SessionState.CREATED, SessionState.CONNECTING, SessionState.ACTIVE})


class Transport(StrEnum):
    """How the caller's audio reaches the model."""

    WEBRTC = "webrtc"
    SIP = "sip"
    ACS = "acs"
    WEBSOCKET = "websocket"

    @property
    def carries_media(self) -> bool:
        """Whether the worker's provider socket carries the audio too, instead of a sideband beside it."""
        return self in (Transport.ACS, Transport.WEBSOCKET)


class Direction(StrEnum):
    """Who called whom, in a phone call."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class EndReason(StrEnum):
    """Why a session ended; stable, for programs and reports."""

    CALLER_HUNG_UP = "caller_hung_up"  # the provider no longer knows the call
    AGENT_ENDED = "agent_ended"
    OPERATOR_ENDED = "operator_ended"  # the API's end
    CLIENT_ENDED = "client_ended"  # the caller's own client asked
    CLIENT_INTERFERED = "client_interfered"  # it kept replacing the agent's configuration
    NEVER_CONNECTED = "never_connected"
    MAX_DURATION = "max_duration"
    IDLE = "idle"
    BUDGET = "budget"
    MAX_TURNS = "max_turns"
    CONSENT_REFUSED = "consent_refused"  # the caller did not agree to what they were told first
    TRANSFERRED = "transferred"  # the caller now talks to somebody else
    NO_ANSWER = "no_answer"  # whom we called did not pick up
    BUSY = "busy"
    DECLINED = "declined"
    UNREACHABLE = "unreachable"
    ANSWERING_MACHINE = "answering_machine"
    PROVIDER_LIMIT = "provider_limit"  # the provider's session reached its longest time
    PROVIDER_FAILED = "provider_failed"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Token counts summed over the responses of a session (each response bills its whole context).

    cost_micros: what they cost, in millionths of the prices' currency; 0 while no prices are known.
    """

    responses: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0


FactValue: TypeAlias = str | int | float | bool
"""What the server may know of a session, under a name, as in member_verified: true."""


def holds(value: FactValue | None) -> bool:
    """Return whether a fact counts as known: false and an empty text say that it is not."""
    return value is not None and value is not False and value != ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a conversation stands beyond its words: who speaks for us, and what the server knows.

    agent, agent_version: who speaks now. previous_agent: who handed the call over, "" before that happened.
    facts: set by tools, never by the model's word.
    context: what the last handoff brought along. handoffs: how many there were.
    """

    agent: str
    agent_version: str
    facts: Mapping[str, FactValue] = field(default_factory=dict[str, FactValue], repr=False)
    previous_agent: str = ""
    context: Mapping[str, FactValue] = field(default_factory=dict[str, FactValue], repr=False)
    handoffs: int = 0


@dataclass(frozen=True, kw_only=True)
class Session:
    """What Redis keeps of one session. Times are Unix milliseconds; 0 means not yet.

    agent, agent_version: who began the call; the version covers everyone it can be handed to.
    standing: who speaks now and what is known, None until either has changed.
    principal: a digest of who started it, never the credential.
    epoch, owner: the lease's fencing number and the worker that holds it (0 and "" when nobody does).
    inbox_cursor: the id of the last inbox entry whose effects are recorded.
    variables: values for the agent's prompt, given at the start by the caller of the API.
    traceparent: W3C trace context of the request that created the session.
    direction: a Direction in a phone call, else "".
    answered_at_ms: when the carrier said that a phone call is up.
    """

    session_id: str
    state: SessionState
    transport: Transport
    agent: str
    agent_version: str
    principal: str
    created_at_ms: int
    call_id: str = ""
    provider: str = ""
    epoch: int = 0
    owner: str = ""
    inbox_cursor: str = "0-0"
    connected_at_ms: int = 0
    ended_at_ms: int = 0
    end_reason: str = ""
    max_duration_s: int = 0
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    usage: Usage = field(default_factory=Usage)
    summary: str = ""
    traceparent: str = ""
    direction: str = ""
    answered_at_ms: int = 0
    standing: Standing | None = None

    @property
    def live(self) -> bool:
        return self.state in LIVE_STATES

    @property
    def current_agent(self) -> str:
        """The name of the agent that speaks now."""
        return self.standing.agent if self.standing else self.agent
