"""How an emulator behaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emulators.communication.phones import Behaviour
from emulators.communication.tokens import ISSUER

EventSchema = Literal["eventgrid", "cloudevents"]
RESOURCE_ID = "6f1c3d52-0a6e-4f43-9f0b-3a2f6d5c8e71"
TOPIC = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/"
    "Microsoft.Communication/CommunicationServices/emulator"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """Where Event Grid delivers to, and in which schema."""

    url: str
    schema: EventSchema = "eventgrid"
    name: str = "incoming-calls"


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsFiles:
    """A certificate (chain) and its key, as PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """Settings of one emulator process.

    `key` is base64. `speech_factor` makes call time faster than real time (tests). `recording_minutes` is how
    much of each call is kept as audio, 0 for none.
    """

    key: str = field(repr=False)
    accept_any_jwt: bool = False
    host: str = "127.0.0.1"
    port: int = 9010
    tls: TlsFiles | None = None
    tls_port: int = 0
    trusted: Path | None = None
    issuer: str = ISSUER
    resource_id: str = RESOURCE_ID
    subscriptions: tuple[Subscription, ...] = ()
    event_grid_attempts: int = 6
    event_grid_delay: float = 0.5
    callback_attempts: int = 4
    callback_delay: float = 0.5
    ring_seconds: float = 30.0
    phones: tuple[tuple[str, Behaviour], ...] = ()
    media_reconnects: int = 1
    media_reconnect_delay: float = 0.5
    speech: bool = True
    speech_factor: float = 1.0
    recording_minutes: float = 30.0
    keep_calls: int = 500
    event_log: int = 300
    seed: int | None = None
