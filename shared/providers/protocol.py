"""What the product needs of a realtime model's service, whatever its dialect.

Event names are the GA Realtime API's; an adapter for another dialect translates.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias


@dataclass(frozen=True, kw_only=True)
class ClientSecret:
    """An ephemeral credential for a browser, bound to one session configuration. Unix seconds."""

    value: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, kw_only=True)
class CreatedCall:
    """A WebRTC call that the service has answered."""

    call_id: str
    sdp_answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioSource:
    """What a piece of the agent's audio belongs to: one content of one item of one response."""

    response_id: str
    item_id: str
    content_index: int


AudioSink: TypeAlias = Callable[[AudioSource, bytes], None]
"""Takes a piece of what the agent says, as base64."""

EventListener: TypeAlias = Callable[[Mapping[str, object]], None]
"""Is told of an event as soon as it came."""

EventTaker: TypeAlias = Callable[[Mapping[str, object]], bool]
"""Takes an event as soon as it came; returns False where there is no room for what it may cause."""


class ProviderSocket(Protocol):
    """A connection that carries a call's events. One reader, any number of senders."""

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code once the connection is over, else None."""
        ...

    async def send(self, event: Mapping[str, object]) -> None:
        """Send a client event. Raises SidetoneError `provider_disconnected` when the socket is gone."""
        ...

    @property
    def free(self) -> bool:
        """Whether the service keeps up: what is sent now leaves at once."""
        ...

    def send_audio(self, audio: bytes) -> None:
        """Send a piece of what the caller says, as base64 in the format of the session; else as `send`. It
        waits in this process where the service does not keep up."""
        ...

    def play_to(self, sink: AudioSink, listener: EventListener) -> None:
        """Give what the agent says to `sink` from now on, not as events; and each event to `listener` before
        it is yielded. Both are called in the order in which everything came, while somebody iterates."""
        ...

    def tell_words(self, wanted: bool) -> None:
        """Say whether `response.output_audio_transcript.delta` is wanted: at first it is not."""
        ...

    def give_to(self, taker: EventTaker | None) -> None:
        """Give events to `taker` from now on, in the step of the event loop in which they come.

        What it does not take is yielded by `events`, and so is what comes behind that until it was.
        """
        ...

    def events(self) -> AsyncIterator[dict[str, object]]:
        """Yield server events until the connection closes, for whatever reason; see `close_code`.

        What nothing in the product reads may be left out: deltas of text, which later events repeat.
        """
        ...

    async def close(self) -> None:
        """Close the connection; safe to call twice and from any task."""
        ...


class RealtimeProvider(Protocol):
    """A realtime model's service.

    Every method raises SidetoneError with one of the codes `provider_unauthorized`,
    `provider_rate_limited`, `provider_unavailable`, `provider_rejected`, `call_not_found`.
    """

    @property
    def name(self) -> str:
        """The dialect's name, as kept in the session record."""
        ...

    @property
    def calls_url(self) -> str:
        """The URL a browser posts its SDP offer to, with a client secret."""
        ...

    async def create_client_secret(self, session: Mapping[str, object], ttl_s: int) -> ClientSecret:
        """Mint a credential that can start calls with this session configuration for `ttl_s` seconds."""
        ...

    async def create_call(self, sdp_offer: str, session: Mapping[str, object]) -> CreatedCall:
        """Exchange an SDP offer for an answer."""
        ...

    async def accept_call(self, call_id: str, session: Mapping[str, object]) -> None:
        """Answer a SIP call that rings, with this session. It is sent once, and never repeated.

        After a failure that is retryable nobody knows whether the call was answered. A success does not
        mean that it is up either: the first sideband does. `call_not_found`: it rings no longer.
        """
        ...

    async def reject_call(self, call_id: str, status_code: int) -> bool:
        """Refuse a SIP call that rings, with a final SIP status; return False when it rings no longer."""
        ...

    async def refer_call(self, call_id: str, target_uri: str) -> None:
        """Transfer an accepted SIP call to a `tel:` or `sip:` URI. The call then leaves the service.

        A success means that the request was taken: whether the other side picks up is not told.
        """
        ...

    async def hang_up(self, call_id: str) -> bool:
        """End a call; return False when the service no longer knows it."""
        ...

    async def warm_up(self) -> None:
        """Do the slow part of a first request, without a request."""
        ...

    async def check(self) -> None:
        """Return if the service accepts our credential now; raise otherwise."""
        ...

    async def connect_sideband(self, call_id: str) -> ProviderSocket:
        """Attach to a running call. `call_not_found` is normal for some seconds after its creation."""
        ...

    async def connect_session(self, model: str = "") -> ProviderSocket:
        """Open a session of its own, whose audio this connection carries; its first event is
        `session.created`. It knows nothing of any other session, and ends with the connection.

        model: another one than the settings'.
        """
        ...

    async def close(self) -> None:
        """Give back sockets; safe to call twice."""
        ...
